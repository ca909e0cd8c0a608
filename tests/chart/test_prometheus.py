"""What the chart has for Prometheus and Grafana, judged by Prometheus itself, which scrapes a running agent."""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from intel_agent.simulation import disk
from intel_agent.simulation.tree import node

from .helm import CHART, built
from .test_monitoring import QUERIES

T = TypeVar("T")

pytestmark = pytest.mark.chart

ALERTS = CHART / "files" / "alerts.yaml"
LISTENS = re.compile(r'"event":"http.started".*"port":([0-9]+)')
SERVES = re.compile(r'msg="Listening on" address=127.0.0.1:([0-9]+)')
DEADLINE = 60.0
ANSWERED = {"Agents ready", "Devices", "Ids by resource and health", "Not offered", "Memory of the agent"}
"""Panels that have something to show of an agent without kubelet."""


def eventually(what: str, look: Callable[[], T | None]) -> T:
    """Return the first true value.

    Raises:
        TimeoutError: there was none in time.
    """
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.05)
    raise TimeoutError(what)


@contextmanager
def running(command: list[str], log: Path) -> Generator[None]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="ia") as directory:
        yield Path(directory)


@pytest.fixture
def agent(place: Path) -> Iterator[str]:
    """Run an agent on the packaged machine with everything, without kubelet, and give its address."""
    disk.materialise(node("everything"), place / "node")
    (place / "plugins").mkdir()
    config = place / "agent.yaml"
    paths = {"devicePluginDirectory": f"{place}/plugins", "podResourcesSocket": f"{place}/none.sock"}
    config.write_text(json.dumps({"kubelet": paths, "http": {"host": "127.0.0.1", "port": 0}}))
    command = [sys.executable, "-m", "intel_agent", "run", "--config", str(config)]
    log = place / "agent.log"
    with running([*command, "--root", f"{place}/node", "--host-root", f"{place}/node"], log):
        yield f"127.0.0.1:{eventually('the agent listens', lambda: said(log, LISTENS))}"


def said(log: Path, pattern: re.Pattern[str]) -> str | None:
    """Return what the log says where the pattern has its group."""
    found = pattern.search(log.read_text())
    return None if found is None else found[1]


def asked(prometheus: str, query: str) -> list[object]:
    """Return what Prometheus answers.

    Raises:
        urllib.error.HTTPError: it does not understand the question.
    """
    question = urllib.parse.urlencode({"query": query})
    answer = json.loads(read(f"http://{prometheus}/api/v1/query?{question}"))
    result: list[object] = answer["data"]["result"]
    return result


def is_ready(prometheus: str) -> bool:
    with suppress(urllib.error.HTTPError):
        return bool(read(f"http://{prometheus}/-/ready"))
    return False


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return str(answer.read().decode())


def test_alerts_are_rules_that_prometheus_takes() -> None:
    subprocess.run([built("prometheus") / "promtool", "check", "rules", ALERTS], check=True)


def test_the_metrics_are_clean(agent: str) -> None:
    judged = subprocess.run(
        [built("prometheus") / "promtool", "check", "metrics"],
        input=read(f"http://{agent}/metrics"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    """Each alert has a story: series, and who is told of when."""
    labels = '{node="n", resource="r", device="d"'
    held = f'intel_agent_allocated{labels}, id="d-0", namespace="ns", pod="p", container="c"}}'
    stories = {
        "IntelDeviceFaulty": [(f'intel_agent_device_fault{labels}, reason="halted"}}', "1x9")],
        "IntelDeviceFaultyInUse": [(f'intel_agent_device_fault{labels}, reason="halted"}}', "1x9"), (held, "1x9")],
        "IntelAgentNotReady": [('intel_agent_ready{node="n", pod="a"}', "0x9")],
        "IntelAgentScanFailing": [('intel_agent_scan_failures_total{node="n", kind="gpu"}', "0+1x9")],
        "IntelAgentNotScanning": [('intel_agent_last_scan_timestamp_seconds{node="n", kind="gpu"}', "-8000x9")],
        "IntelAgentClusterProblems": [('intel_agent_cluster_problems{node="n", pod="a"}', "1x9")],
        "IntelAgentLogLinesLost": [('intel_agent_log_lines_lost_total{pod="a"}', "0+1x9")],
    }
    waiting = f'intel_agent_device_fault{labels}, reason="held"}}'
    reserved = f'intel_agent_device_fault{labels}, reason="reserved"}}'
    well = [('intel_agent_ready{pod="a"}', "1x9"), ('intel_agent_cluster_problems{pod="a"}', "0x3 1x3 0x3")]
    quiet = [(waiting, "1x9"), (reserved, "1x9"), (held, "1x9"), *well]
    assert set(stories) == {rule["alert"] for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
    for alert, series in stories.items():
        fires = fired(tmp_path, alert, series)
        assert [each["alertname"] for each in fires] == [alert], alert
        assert fired(tmp_path, alert, quiet) == []


def fired(tmp_path: Path, alert: str, series: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the labels of the alerts that Prometheus raises after eight minutes of these series."""
    test: dict[str, object] = {
        "rule_files": [str(ALERTS)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series],
                "alert_rule_test": [{"eval_time": "8m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    file = tmp_path / "story.yaml"
    file.write_text(yaml.safe_dump(test))
    told = subprocess.run(
        [built("prometheus") / "promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )
    if told.returncode == 0:
        return []
    (got,) = re.findall(r"got:\[(.*?)\s*\]\s*$", told.stdout + told.stderr, re.DOTALL)
    return [dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', each)) for each in re.findall(r"Labels:\{(.*?)\}", got)]


@pytest.mark.parametrize(
    ("reasons", "unhealthy"),
    [
        pytest.param({}, 0, id="no fault"),
        pytest.param({"d": ["reserved"]}, 0, id="reserved, as it is meant"),
        pytest.param({"d": ["reserved", "halted"]}, 1, id="reserved and ill"),
        pytest.param({"d": ["hot", "halted"], "e": ["halted"]}, 2, id="each once"),
    ],
)
def test_the_dashboard_counts_devices_that_are_ill(
    tmp_path: Path, reasons: dict[str, list[str]], unhealthy: int
) -> None:
    query = next(query for who, query in QUERIES if who == "Unhealthy devices").replace("$node", ".*")
    series = [
        {
            "series": f'intel_agent_device_fault{{node="n",resource="r",device="{device}",reason="{each}"}}',
            "values": "1",
        }
        for device, several in reasons.items()
        for each in several
    ]
    expected = [{"labels": "{}", "value": unhealthy}]
    question = {"expr": query, "eval_time": "0m", "exp_samples": expected}
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"tests": [{"input_series": series, "promql_expr_test": [question]}]}))
    subprocess.run([built("prometheus") / "promtool", "test", "rules", file], check=True)


def test_every_query_is_answered_by_prometheus(agent: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    target = {"targets": [agent], "labels": {"node": "n", "pod": "a"}}
    scrape = {"job_name": "agent", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [target]}
    config.write_text(json.dumps({"scrape_configs": [scrape], "rule_files": [str(ALERTS)]}))
    with running(
        [
            str(built("prometheus") / "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            "--web.listen-address=127.0.0.1:0",
        ],
        log := tmp_path / "prometheus.log",
    ):
        prometheus = f"127.0.0.1:{eventually('Prometheus listens', lambda: said(log, SERVES))}"
        eventually("Prometheus is ready", lambda: is_ready(prometheus))
        eventually("two scrapes", lambda: asked(prometheus, "count_over_time(intel_agent_ready[1m]) >= 2"))
        for who, query in QUERIES:
            plain = query.replace("$node", ".*").replace("$__rate_interval", "1m")
            answer = partial(asked, prometheus, plain)
            if not answer() and who in ANSWERED:
                eventually(who, answer)  # a scrape may have come too late for its second
