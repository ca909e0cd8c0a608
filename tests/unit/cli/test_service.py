"""However the agent ends, the exit code and what is said are right."""

import ctypes
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


HEAP = """
import ctypes, sys, threading
from pathlib import Path
from intel_agent import agent
if sys.argv[1] == "shared":
    agent.share_heap()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
places = []
thread = threading.Thread(target=lambda: places.append(library.malloc(1000)))
thread.start()
thread.join()
(heap,) = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[heap]")]
low, high = (int(each, 16) for each in heap.split("-"))
print(low <= places[0] < high)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has one heap anyway")
@pytest.mark.parametrize(("heap", "on_the_first"), [("shared", "True\n"), ("its own", "False\n")])
def test_threads_take_memory_from_one_heap(heap: str, on_the_first: str) -> None:
    command = [sys.executable, "-c", HEAP, heap]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == on_the_first
