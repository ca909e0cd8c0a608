"""A simulated node, its kubelet, and the agent on it."""

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from intel_agent import log as logs
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import files

from .log import Log, unexpected
from .node import Node, made
from .running import Running, running


@pytest.fixture(autouse=True)
def measured(no_blocking_call: BlockBuster) -> None:
    """Let coverage, when it measures, take its own lock wherever it is called."""
    no_blocking_call.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})


@pytest.fixture
def machine() -> str:
    """Return the name of the packaged machine; tests give another one by parameter."""
    return "everything"


@pytest.fixture
def node(machine: str) -> Iterator[Node]:
    # A socket's path has room for 107 letters only: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ia") as base:
        yield made(Path(base), machine)


@pytest.fixture
async def kubelet(node: Node) -> AsyncIterator[SimulatedKubelet]:
    async with node.kubelet() as kubelet:
        yield kubelet


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Give the log of the agents that are started from now on; pytest shows it when the test fails."""
    log = Log(tmp_path / "log")
    with log.path.open("wb") as file:
        monkeypatch.setattr(logs, "configure", partial(logs.configure, descriptor=file.fileno()))
        yield log
    sys.stdout.write(log.path.read_text())


@pytest.fixture(autouse=True)
def swift_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watch of files collect changes often: nothing here shows how calm it is, and every agent ends sooner."""
    monkeypatch.setattr(files, "STEP", 50)


@pytest.fixture
async def agent(node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent that kubelet has taken all resources of; nothing that it logs is an error."""
    del kubelet
    async with running(node) as it:
        yield await it.until_registered()
    assert unexpected(await log.lines()) == []
