"""The command: forms of output, exit codes, its table of checks in the documentation, and what it costs others."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from intel_agent.cli import main
from intel_agent.doctor import cluster
from intel_agent.doctor.checks import CHECKS, Check, diagnosed
from intel_agent.doctor.finding import Diagnosis, Finding, Severity
from intel_agent.doctor.node import Node
from intel_agent.errors import SysfsError
from intel_agent.simulation.disk import materialise

from .conftest import Place
from .nodes import small

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


@pytest.fixture
def arguments(tmp_path: Path, kubelet: Place) -> list[str]:
    """Return the command for a sound machine with a kubelet."""
    materialise(small(), tmp_path / "node")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"kubelet": kubelet.section}))
    return ["doctor", "--root", str(tmp_path / "node"), "--config", str(config)]


def test_tables_answer_for_accelerators_and_sections(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    accelerators, sections, verdict, notes = capsys.readouterr().out.split("\n\n")
    assert accelerators.splitlines()[1].split()[:2] == ["0000:3b:00.0", "8086:56c0"]
    assert ["gpu", "on", "1", "gpu.intel.com/xe,", "1", "gpu.intel.com/i915", "-"] in [
        line.split() for line in sections.splitlines()
    ]
    assert verdict == "NOTHING IS WRONG"
    assert [line.split()[:2] for line in notes.splitlines()] == [["SEVERITY", "CHECK"], ["note", "agent"]]


def test_findings_are_a_table(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node/dev/dri/renderD128").unlink()
    assert main(arguments) == 1
    head, *rows = capsys.readouterr().out.split("\n\n")[2].splitlines()
    assert head.split() == ["SEVERITY", "CHECK", "ABOUT", "PROBLEM", "EVIDENCE", "REMEDY"]
    assert [row.split()[:3] for row in rows] == [
        ["warning", "left-out", "renderD128"],
        ["warning", "left-out", "/dev/dri/by-path/pci-0000:3b:00.0-render"],
        ["note", "agent", "agent"],
    ]
    assert "/dev/dri/renderD128 is not there" in rows[0]


def test_yaml_says_what_json_says(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "-o", "yaml"]) == 0
    report = yaml.safe_load(capsys.readouterr().out)
    assert set(report) == {"sound", "accelerators", "sections", "findings", "couldNotLook"}
    assert report["sections"][0] == {
        "section": "gpu",
        "state": "on",
        "offered": "1 gpu.intel.com/xe, 1 gpu.intel.com/i915",
        "leftOut": "-",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--root", "/nowhere"], "/nowhere: no such directory (--root)"),
        (["--config", "/nowhere"], "/nowhere: no such file or directory"),
    ],
    ids=["no node", "no configuration"],
)
def test_who_cannot_look_says_so(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *options]) == 2
    assert capsys.readouterr() == ("", f"intel-agent: {said}\n")


def test_a_bus_that_cannot_be_listed_is_no_answer(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node/sys/bus/pci/devices").rename(tmp_path / "away")
    (tmp_path / "node/sys/bus/pci/devices").write_text("")
    assert main(arguments) == 2
    assert "sys/bus/pci/devices: not a directory" in capsys.readouterr().err


def test_a_check_that_cannot_look_is_told(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node/proc/self/uid_map").mkdir(parents=True)
    assert main([*arguments, "-o", "json"]) == 2
    out, err = capsys.readouterr()
    assert [each["check"] for each in json.loads(out)["couldNotLook"]] == ["user-namespace"]
    assert err.startswith("intel-agent: user-namespace: could not look: ")


def test_a_check_that_fails_harms_no_other() -> None:
    finding = Finding(Severity.ERROR, "it", "is", "seen", "so")

    def unreadable(_node: Node) -> list[Finding]:
        raise SysfsError("/sys/x", "input/output error")

    def wrong(_node: Node) -> list[Finding]:
        raise ZeroDivisionError("a bug")

    nobody = object.__new__(Node)
    checks = [Check("a", "", unreadable), Check("b", "", wrong), Check("c", "", lambda _: [finding])]
    found = diagnosed(nobody, checks)
    assert [(each.check, each.finding) for each in found.told] == [("c", finding)]
    assert found.blind == (("a", "/sys/x: input/output error"), ("b", "unexpected: ZeroDivisionError('a bug')"))
    assert Diagnosis(()).sound


def test_every_check_is_documented() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Checks")[2]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(each.name, each.about) for each in CHECKS]


def test_the_agent_does_not_import_it() -> None:
    code = (
        "import sys\nimport intel_agent.agent, intel_agent.cli.commands, intel_agent.cli.service\n"
        "print(*(name for name in sys.modules if 'doctor' in name or name.endswith('probe')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_labels_are_those_of_the_chart() -> None:
    rules = yaml.safe_load((PAGE.parents[1] / "charts/intel-agent/files/node-feature-rules.yaml").read_text())
    made = {name.removeprefix(cluster.LABELS) for rule in rules for name in rule.get("labels", {})}
    assert {name for name in made if "/" not in name} == {*cluster.KINDS, *cluster.CARDS.values()}


@pytest.mark.parametrize(("before", "found"), [(["unshare", "--net"], [True]), ([], [])], ids=["own", "the node's"])
def test_the_network_namespace_of_this_machine_is_told_from_another(
    before: list[str], found: list[bool], tmp_path: Path
) -> None:
    if os.geteuid() != 0 or set(os.listdir("/sys/class/net")) <= {"lo"}:
        pytest.skip("needs root, and an interface")
    config = tmp_path / "config.yaml"
    config.write_text("devices: {nic: {pools: [{resource: intel.com/x, selectors: {drivers: [iavf]}}]}}")
    command = [*before, sys.executable, "-m", "intel_agent", "doctor", "--config", str(config), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    told = [each["evidence"] for each in json.loads(done.stdout)["findings"] if each["check"] == "network-namespace"]
    assert [each.startswith("/proc/self/net/dev: lo; /sys/class/net: ") for each in told] == found
