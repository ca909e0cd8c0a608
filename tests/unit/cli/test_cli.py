"""The command line says what it does, exits with the right code, and shows no traceback for an expected error."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from intel_agent import __main__ as entry
from intel_agent.cli import BROKEN_PIPE, INTERRUPTED, main
from intel_agent.cli.commands import COMMANDS
from intel_agent.cli.parser import Command, Values
from intel_agent.errors import ConfigError, KubeletError

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intel_agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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
