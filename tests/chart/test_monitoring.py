"""What watches the agent asks for metrics that there are, and finds the pods."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from intel_agent.web.metrics import Name

from .helm import CHART, Helm, RefusedError

FILES = CHART / "files"
VALUES = Path(__file__).parent / "values" / "monitoring.yaml"
METRIC = re.compile(r"\b(?:intel_agent|process)_[a-z_]+\b")
LABEL = re.compile(r"\b([a-z_]+)\s*(?:=~|!=|!~|=)")
PROCESS = {"process_resident_memory_bytes"}
POD_MONITORS = {"node", "pod", "namespace", "container"}
"""Labels that the PodMonitor adds."""


def queries() -> Iterator[tuple[str, str]]:
    """Yield every question of alerts and dashboard, and who asks."""
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


QUERIES = tuple(queries())


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[who for who, _ in QUERIES])
def test_every_query_is_about_metrics_and_labels_that_there_are(query: str) -> None:
    known = {name.full: name.value.labels for name in Name}
    metrics = METRIC.findall(query)

    assert metrics
    assert set(metrics) <= known.keys() | PROCESS
    labels = {label for metric in metrics for label in known.get(metric, ())}
    assert set(LABEL.findall(query.replace("==", ""))) <= labels | POD_MONITORS


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"].endswith(".")
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_monitor_finds_the_pods_by_label_and_port(helm: Helm) -> None:
    rendered = helm.render("--values", str(VALUES))
    monitor = rendered.one("PodMonitor")["spec"]

    assert monitor["selector"]["matchLabels"].items() <= rendered.agent["metadata"]["labels"].items()
    container = rendered.agent["spec"]["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": 9999, "protocol": "TCP"}]
    assert monitor["podMetricsEndpoints"][0]["port"] == "http"
    assert rendered.one("PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_alerts_and_dashboard_arrive_as_they_are(helm: Helm) -> None:
    rendered = helm.render("--values", str(VALUES))

    assert rendered.one("PrometheusRule")["spec"] == yaml.safe_load((FILES / "alerts.yaml").read_text())
    maps = [each for each in rendered if each["kind"] == "ConfigMap" and "intel-agent.json" in each["data"]]
    assert [json.loads(each["data"]["intel-agent.json"]) for each in maps] == [
        json.loads((FILES / "dashboard.json").read_text())
    ]


def test_without_http_there_are_no_probes_and_nothing_to_watch(helm: Helm) -> None:
    container = helm.render("--set", "http.host=").agent["spec"]["containers"][0]
    assert not {"ports", "livenessProbe", "readinessProbe"} & container.keys()
    with pytest.raises(RefusedError, match=r"monitoring: there is nothing to watch without http\.host"):
        helm.render("--values", str(VALUES), "--set", "http.host=")
