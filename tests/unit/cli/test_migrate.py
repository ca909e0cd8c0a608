"""`intel-agent migrate`: files and standard input, what goes where, and the exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from intel_agent.cli import main
from intel_agent.config.document import LIMIT

GPU = "apiVersion: deviceplugin.intel.com/v1\nkind: GpuDevicePlugin\nmetadata: {name: a}\nspec: {sharedDevNum: 2}\n"
LEVEL = "intel-agent: stdin:4: GpuDevicePlugin a: spec.logLevel: found x; left out: allowed a whole number\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gpu.yaml"
    path.write_text("\ufeff" + GPU, encoding="utf-8")
    return path


def test_values_go_to_standard_output(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(file), "--hardware-labels", "keep"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert yaml.safe_load(out)["devices"]["gpu"] == {"sharedDevNum": 2}
    assert f"    sharedDevNum: 2  # {file}:4: spec.sharedDevNum\n" in out


def test_what_has_no_equivalent_goes_to_standard_error_and_into_a_comment() -> None:
    command = [sys.executable, "-m", "intel_agent", "migrate", "-"]
    text = GPU.replace("sharedDevNum: 2", "logLevel: x")
    ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (1, LEVEL)
    assert ended.stdout.splitlines()[3] == "#   " + LEVEL.removeprefix("intel-agent: ").rstrip()


def test_several_files_are_one_agent(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("sharedDevNum: 3\nnodeFeatureRule: false\ninitImage: {}\n")
    assert main(["migrate", str(file), str(values), "--chart", "npu"]) == 1
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["devices"]["gpu"] == {"sharedDevNum": 2}
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [str(values)] * len(err.splitlines())


@pytest.mark.parametrize("arguments", [[], ["--chart", "fpga", "-"], ["--hardware-labels", "x", "-"]], ids=str)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *arguments])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"a: 1\nb: \xff\n", ":2: found bytes that are no text; allowed UTF-8", id="not UTF-8"),
        pytest.param(b"#" * (LIMIT + 1), f": found more than {LIMIT} bytes; allowed {LIMIT}: give it", id="too large"),
        pytest.param(b"a: [\n", ":1: found no YAML", id="no YAML"),
    ],
)
def test_what_cannot_be_read_is_an_error(
    tmp_path: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    assert main(["migrate", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"intel-agent: {file}{said}")


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "/nowhere"]) == 1
    assert capsys.readouterr() == ("", "intel-agent: /nowhere: no such file or directory\n")
