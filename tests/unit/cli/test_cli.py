"""The command line says what it does, exits with the right code, and shows no traceback for an expected error."""

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

from intel_agent import __main__ as entry
from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.cli import BROKEN_PIPE, INTERRUPTED, devices, main
from intel_agent.cli.commands import COMMANDS
from intel_agent.cli.parser import Command, Values
from intel_agent.errors import ConfigError, KubeletError, SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Fault, Reason
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.tree import node
from intel_agent.sysfs import Host

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


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


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intel_agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "first steps:"),
        ([], "exit codes:"),
        (["run"], "until SIGTERM"),
        (["devices"], "--host-root DIR"),
        (["demo"], "--seconds N"),
        (["config"], "check"),
        (["config", "check"], "FILE"),
        (["completion"], "source <(intel-agent completion bash)"),
    ],
    ids=str,
)
def test_help_teaches(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"intel-agent \S+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [[], ["config"], ["fly"], ["devices", "-o", "xml"], ["config", "check"], ["run", "--conf", "x"], ["demo", "-s"]],
    ids=str,
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_sound_file_is_checked_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("log: {level: debug}\n")
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr() == ("", "")


def test_every_problem_of_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("log: {level: loud}\nx: 1\n")
    assert main(["config", "check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["intel-agent", f"{file}:1", "log.level"],
        ["intel-agent", f"{file}:2", "x"],
    ]


def test_the_configuration_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("log: {level: debug}\n")
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f"level: debug  # {file}:1" in shown
    assert main(["config", "show", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["origins"]["log.level"] == "default"
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "intel-agent"


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
    assert set(report) == {"devices", "excluded", "problems"}
    (card,) = [each for each in report["devices"] if each["id"] == "card0"]
    assert card["backend"] == "gpu"
    assert card["nodes"][0] == {"path": "/dev/dri/card0", "hostPath": "/h/dev/dri/card0", "permissions": "rw"}


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
    found = anyio.run(devices.look, (Kind(device=BROKEN),), Host(), 5.0)
    (described,) = devices.report(found)["devices"]
    assert described["faults"] == [{"reason": "halted", "source": "idxd", "detail": "state is halted"}]
    devices.print_tables(found)
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
        inventory = anyio.run(devices.look, (Kind(), Other(), Stuck(), sound), Host("/nowhere"), 0.3)
    finally:
        GATE.set()
    assert {name: found.problem for name, found in inventory.found.items()} == {
        "dsa": "/sys/x: input/output error",
        "iaa": "unexpected: ZeroDivisionError('a bug')",
        "sgx": "looking for devices took longer than 0.3 s",
        "gpu": None,
    }


def test_a_device_that_does_not_answer_is_left_out(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    attribute = min(Path(machine).glob("sys/devices/pci*/**/drm/../vendor"))
    attribute.unlink()
    os.mkfifo(attribute)
    config = Path(machine) / "agent.yaml"
    config.write_text("health: {readDeadlineSeconds: 0.3}")
    assert main(["devices", "--root", machine, "--config", str(config), "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["evidence"].partition(": ")[2] for each in report["excluded"] if each["rule"] == "unreadable"] == [
        "a read of it has not come back for 0.3 s"
    ]
    assert "gpu.intel.com/i915" in {each["resource"] for each in report["devices"]}
    with attribute.open("wb") as writer:
        writer.write(b"0x8086")


def raising(error: BaseException) -> Command:
    def run(_values: Values) -> int:
        raise error

    return Command(name="fail", summary="", run=run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(["a", "b"]), 1, "intel-agent: a\nintel-agent: b\n"),
        (KubeletError("no kubelet"), 1, "intel-agent: no kubelet\n"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
    ids=str,
)
def test_errors_have_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("intel_agent.cli.COMMANDS", (raising(error),))
    assert main(["fail"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("option", "begin"), [("--help", "usage: intel-agent "), ("--version", "intel-agent ")])
def test_what_the_parser_prints_reaches_a_pipe(option: str, begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    assert process(option).stdout.startswith(begin)


@pytest.mark.parametrize("arguments", [["config", "schema"], ["--help"]], ids=str)
def test_a_reader_that_went_away_ends_it_quietly(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "intel_agent", *arguments]
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE) as running:
        os.close(writer)
        assert running.stderr is not None
        assert running.stderr.read() == b""
    assert running.returncode == BROKEN_PIPE


@pytest.mark.parametrize(
    ("arguments", "code"), [(["config", "show"], 0), (["config", "check", "/nowhere"], 1), (["fly"], 2)], ids=str
)
def test_the_process_ends_with_the_code(arguments: list[str], code: int) -> None:
    assert process(*arguments).returncode == code


def test_the_entry_point_ends_the_process_with_what_argparse_says(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    for arguments in (["--version"], ["fly"], ["config", "schema"]):
        monkeypatch.setattr("sys.argv", ["intel-agent", *arguments])
        entry.main()
    assert codes == [0, 2, 0]


def test_run_refuses_a_wrong_file_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("devices: {gpu: {sharedDevNum: 0}}\n")
    ended = process("run", "--config", str(file))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"intel-agent: {file}:1: devices.gpu.sharedDevNum: found 0; allowed a whole number from 1 to 10000\n"
    )


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"])
def test_completion_is_a_script(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", script]) == 0
    text = capsys.readouterr().out
    assert all(command.name.split()[-1] in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["de"], ["devices", "demo"]),
        (["config", ""], ["check", "show", "schema"]),
        (["config", "show", "-o", ""], ["yaml", "json"]),
        (["devices", "--h"], ["--host-root", "--help"]),
        (["devices", "--output", "t"], ["table"]),
        (["completion", "z"], ["zsh"]),
        (["run", "--root", "/proc/self/ns"], ["/proc/self/ns"]),
        (["run", "--config", "/proc/self/status"], ["/proc/self/status"]),
        (["config", "check", "/proc/self/status"], ["/proc/self/status"]),
    ],
    ids=str,
)
def test_bash_completes(words: list[str], offered: list[str], tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(process("completion", "bash").stdout)
    quoted = " ".join(f"'{word}'" for word in ["intel-agent", *words])
    test = f'. {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _intel_agent; echo "${{COMPREPLY[@]}}"'
    ended = subprocess.run(["bash", "-c", test], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == offered


def test_every_command_and_option_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for command in COMMANDS:
        section = text.partition(f"## intel-agent {command.name}\n")[2].partition("\n## ")[0]
        assert section, command.name
        for option in command.options:
            assert all(f"`{name}" in section for name in option.names if name.startswith("-")), option.names
