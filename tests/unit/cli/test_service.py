"""However the agent ends, the exit code and what is said are right."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from intel_agent.cli import service
from intel_agent.errors import AgentError, DirectoryGoneError, KubeletError
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.tree import node


async def end(error: BaseException | None) -> None:
    """End as the agent does: from within a task group."""
    await anyio.lowlevel.checkpoint()
    if error is not None:
        raise error


def test_a_good_end() -> None:
    assert service.served(end, None) == 0


GONE = DirectoryGoneError("the directory is gone")
REFUSED = KubeletError("kubelet refuses")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GONE, "the directory is gone"),
        (ExceptionGroup("", [GONE]), "the directory is gone"),
        (ExceptionGroup("", [ExceptionGroup("", [GONE]), REFUSED]), "the directory is gone\nkubelet refuses"),
    ],
    ids=str,
)
def test_expected_errors_are_said_in_one(error: Exception, said: str) -> None:
    with capture_logs() as logged, pytest.raises(AgentError) as caught:
        service.served(end, error)
    assert str(caught.value) == said
    assert logged == []


@pytest.mark.parametrize("error", [KeyError("x"), ExceptionGroup("", [GONE, KeyError("x")])], ids=repr)
def test_unexpected_ones_are_logged_with_their_traceback(error: Exception) -> None:
    with capture_logs() as logged:
        assert service.served(end, error) == 1
    assert [(each["event"], each["exc_info"]) for each in logged] == [("agent.failed", True)]


def test_run_logs_what_it_does_and_ends_on_a_signal(tmp_path: Path) -> None:
    root = tmp_path / "node"
    materialise(node("everything"), root)
    directory = Path("/tmp") / f"intel-agent-{os.getpid()}"
    directory.mkdir()
    file = tmp_path / "agent.yaml"
    file.write_text(f"kubelet:\n  devicePluginDirectory: {directory}\n  podResourcesSocket: {directory}/none.sock\n")
    command = [sys.executable, "-m", "intel_agent", "run", "--config", str(file), "--root", str(root)]
    command += ["--runtime-directory", str(tmp_path / "run"), "--state-directory", str(tmp_path / "state")]
    events: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            events.append(json.loads(line)["event"])
            if events.count("device.added") == 1 and events[-1] == "device.added":
                running.send_signal(signal.SIGTERM)  # once: a second one ends it at once
        assert running.stderr.read() == ""
    assert running.returncode == 0
    assert events[:2] == ["config.loaded", "agent.started"]
    assert events[-1] == "agent.stopped"
    for left in directory.iterdir():
        left.unlink()
    directory.rmdir()
