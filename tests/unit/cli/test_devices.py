"""`intel-agent devices`: what is offered, left out and decided, for people and for programs."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
import yaml

from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.cli import devices, main
from intel_agent.cli.sight import look
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Fault, Reason
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.tree import node
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

CARD0 = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"


@pytest.fixture
def machine(tmp_path: Path) -> str:
    root = tmp_path / "node"
    materialise(node("everything"), root)
    return str(root)


@pytest.fixture
def broken(machine: str) -> str:
    """Return a node one of whose cards cannot be read."""
    (vendor, *_) = sorted(Path(machine).glob("sys/devices/pci*/**/drm/../vendor"))
    vendor.write_bytes(b"\xff")
    return machine


def test_devices_are_listed_in_stable_columns(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--root", machine]) == 0
    head, *rows = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert head.split() == ["RESOURCE", "ID", "SHARES", "HEALTH", "NUMA", "NODES"]
    assert ["gpu.intel.com/xe", "card0", "1", "Healthy", "0"] in [row.split()[:5] for row in rows]
    assert {row.index("Healthy") for row in rows} == {head.index("HEALTH")}


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_devices_are_listed_for_programs(machine: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--root", machine, "--host-root", "/h", "-o", form]) == 0
    out = capsys.readouterr().out
    report = json.loads(out) if form == "json" else yaml.safe_load(out)
    assert set(report) == {"devices", "excluded", "ignoredRules", "problems"}
    (card,) = [each for each in report["devices"] if each["id"] == "card0"]
    assert card["backend"] == "gpu"
    assert card["nodes"][0] == {"path": "/dev/dri/card0", "hostPath": "/h/dev/dri/card0", "permissions": "rw"}


RULES = """\
devices:
  gpu:
    rules:
      - {match: {name: card0}, hide: true}
      - {match: {driver: i915}, shares: 3, resource: shared, preferLast: true, reasons: {hung: ignore}}
      - {match: {driver: nouveau}, reserve: true}
"""


@pytest.fixture
def ruled(tmp_path: Path) -> str:
    """Return a configuration file with rules."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return str(file)


def test_rules_that_decided_are_listed(machine: str, ruled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--root", machine, "--config", ruled]) == 0
    offered, left_out, ignored = capsys.readouterr().out.split("\n\n")
    rows = {row.split()[0]: row.split() for row in offered.splitlines()}
    assert rows["RESOURCE"][-2:] == ["DECIDED", "BY"]
    assert "gpu.intel.com/xe" not in rows
    assert rows["gpu.intel.com/shared"][1:3] == ["card1", "3"]
    assert rows["gpu.intel.com/shared"][-1] == "devices.gpu.rules[1]"
    assert rows["sgx.intel.com/enclave"][-1] == "-"
    assert "devices.gpu.rules[0] hides card0 of gpu.intel.com/xe" in left_out
    assert [row.split("  ") for row in ignored.splitlines()[1:]] == [
        ["devices.gpu.rules[2]", "matches no device of this node"]
    ]


def test_rules_that_decided_are_listed_for_programs(
    machine: str, ruled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", "--root", machine, "--config", ruled, "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    devices = {each["id"]: (each["decidedBy"], each["preferLast"], each["reasons"]) for each in report["devices"]}
    assert devices["card1"] == ("devices.gpu.rules[1]", True, {"hung": "ignore"})
    assert devices["sgx-enclave"] == (None, False, {})
    assert [each["path"] for each in report["excluded"] if each["rule"] == "hidden"] == [CARD0]
    assert report["ignoredRules"] == [
        {"backend": "gpu", "setting": "devices.gpu.rules[2]", "problem": "matches no device of this node"}
    ]


def test_what_is_left_out_is_listed_with_its_remedy(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--root", broken]) == 0
    left_out = capsys.readouterr().out.partition("\n\n")[2]
    assert left_out.startswith("NOT OFFERED")
    assert "unreadable" in left_out
    assert "look at the kernel log" in left_out


def test_a_kind_that_cannot_be_looked_at_is_a_problem(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    drm = Path(machine, "sys/class/drm")
    drm.rename(drm.with_name("away"))
    drm.write_text("no directory")
    assert main(["devices", "--root", machine]) == 1
    out, err = capsys.readouterr()
    assert "sgx.intel.com/enclave" in out
    assert err.startswith(f"intel-agent: gpu: {drm}: ")
    assert main(["devices", "--root", machine, "-o", "json"]) == 1
    assert [each["backend"] for each in json.loads(capsys.readouterr().out)["problems"]] == ["gpu"]


def test_a_terminal_gets_a_table_that_fits(broken: str) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "intel_agent", "devices", "--root", broken]
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "COLUMNS": "100", "TERM": "xterm"}) as running:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 1 << 16):
                text += chunk
        except OSError:  # how a terminal says that nobody is left on the other side
            pass
    os.close(ours)
    assert running.returncode == 0
    assert b"\x1b[1m" in text
    assert b"gpu.intel.com/i915" in text
    assert all(len(re.sub(rb"\x1b\[[0-9;]*m", b"", line)) <= 101 for line in text.splitlines())


def test_a_root_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--root", "/nowhere"]) == 1
    assert capsys.readouterr().err == "intel-agent: /nowhere: no such directory (--root)\n"


BROKEN = Device(
    id="wq0.0",
    resource="dsa.intel.com/wq",
    sysfs_path="/sys/x",
    edits=ContainerEdits(device_nodes=(DeviceNode("/dev/dsa/wq0.0", "/dev/dsa/wq0.0"),)),
    cdi_name="wq0.0",
    numa_nodes=(0, 1),
    faults=frozenset({Fault(Reason.HALTED, "idxd", "state is halted")}),
)


class Kind(Backend, frozen=True, kw_only=True):
    """A kind that knows one device, or cannot be looked at."""

    name: ClassVar[str] = "dsa"
    subsystems: ClassVar[frozenset[str]] = frozenset()
    device: Device | None = None

    def discover(self, host: Host) -> Iterator[Device]:
        if self.device is None:
            raise SysfsError("/sys/x", "input/output error")
        yield self.device


def test_faults_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = anyio.run(look, (Kind(device=BROKEN),), Looker(Host(), lambda: 60.0, lambda: None))
    (described,) = devices.report(found)["devices"]
    assert described["faults"] == [{"reason": "halted", "source": "idxd", "detail": "state is halted"}]
    devices.show(found, "table")
    assert "wq0.0  -       Unhealthy, halted: state is halted  0,1   /dev/dsa/wq0.0" in capsys.readouterr().out


class Other(Kind, frozen=True, kw_only=True):
    name: ClassVar[str] = "iaa"

    def discover(self, host: Host) -> Iterator[Device]:
        raise ZeroDivisionError("a bug")


class Stuck(Kind, frozen=True, kw_only=True):
    name: ClassVar[str] = "sgx"

    def discover(self, host: Host) -> Iterator[Device]:
        GATE.wait(60)
        return iter(())


GATE = threading.Event()


def test_a_failed_look_harms_no_other() -> None:
    sound = Gpu(enabled=True)
    try:
        # One after the other asks how long it may take: only the one that does not answer is to be waited for.
        deadlines = iter((60.0, 60.0, 2.0, 60.0))
        inventory = anyio.run(
            look, (Kind(), Other(), Stuck(), sound), Looker(Host("/nowhere"), lambda: next(deadlines), lambda: None)
        )
    finally:
        GATE.set()
    assert {name: found.problem for name, found in inventory.found.items()} == {
        "dsa": "/sys/x: input/output error",
        "iaa": "unexpected: ZeroDivisionError('a bug')",
        "sgx": "looking for devices took longer than 2 s",
        "gpu": None,
    }


def test_a_device_that_does_not_answer_is_left_out(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    attribute = min(Path(machine).glob("sys/devices/pci*/**/drm/../vendor"))
    attribute.unlink()
    os.mkfifo(attribute)
    config = Path(machine) / "agent.yaml"
    config.write_text("health: {readDeadlineSeconds: 2}")
    assert main(["devices", "--root", machine, "--config", str(config), "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["evidence"].partition(": ")[2] for each in report["excluded"] if each["rule"] == "unreadable"] == [
        "a read of it has not come back for 2 s"
    ]
    assert "gpu.intel.com/i915" in {each["resource"] for each in report["devices"]}
    with attribute.open("wb") as writer:
        writer.write(b"0x8086")
