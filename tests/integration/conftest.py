"""A simulated node, its kubelet, and the agent on it."""

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from machines import MEMORY, removed

from intel_agent import control
from intel_agent import log as logs
from intel_agent.backends.gpu import Gpu
from intel_agent.cluster import api, membership
from intel_agent.health import xpumd
from intel_agent.publish import deviceplugin, grants, holdings, publisher, registration, terms
from intel_agent.publish import kubelet as kubelet_module
from intel_agent.reactions import observer
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import files, scan
from intel_agent.web import server as web_server

from .apiserver import ApiServer, apiserver
from .log import Log, unexpected
from .node import Node, made
from .running import Running, running
from .waiting import PATIENCE


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
    base = Path(tempfile.mkdtemp(prefix="ia", dir=MEMORY))
    yield made(base, machine)
    removed(base)


@pytest.fixture
async def kubelet(node: Node) -> AsyncIterator[SimulatedKubelet]:
    async with node.kubelet() as kubelet:
        yield kubelet


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Give an API server, which agents try again soon when it does not do what they want."""
    monkeypatch.setattr(membership, "SLOWEST", 0.2)
    with apiserver(tmp_path / "account") as server:
        yield server


@pytest.fixture
def swift_reactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent react at once to what is unhealthy."""
    monkeypatch.setattr(observer, "SLOWEST", 0.2)
    monkeypatch.setattr(observer, "SETTLING", 0.0)
    monkeypatch.setattr(observer, "TICK", 0.1)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Give the log of the agents that are started from now on; pytest shows it when the test fails."""
    log = Log(tmp_path / "log")
    with log.path.open("wb") as file:
        monkeypatch.setattr(logs, "configure", partial(logs.configure, descriptor=file.fileno()))
        yield log
    sys.stdout.write(log.path.read_text())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent let go of what is gone, and ask again who holds what, as soon as it may."""
    monkeypatch.setattr(publisher, "RECHECK", 0.05)
    monkeypatch.setattr(grants, "SETTLE", 0.1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent wait for others as long as tests do: whoever shows what a deadline does has one of his own."""
    monkeypatch.setattr(deviceplugin, "ALLOCATE_DEADLINE", PATIENCE)
    monkeypatch.setattr(kubelet_module, "IDENTIFY_DEADLINE", PATIENCE)
    monkeypatch.setattr(holdings, "DEADLINE", PATIENCE)
    monkeypatch.setattr(control, "DEADLINE", PATIENCE)
    monkeypatch.setattr(control, "PATIENCE", PATIENCE)
    monkeypatch.setattr(xpumd, "ASKING", PATIENCE)
    monkeypatch.setattr(api, "DEADLINE", PATIENCE)
    monkeypatch.setattr(registration, "LIST_DEADLINE", PATIENCE)
    monkeypatch.setattr(terms, "LAST_WRITE", PATIENCE)
    monkeypatch.setattr(web_server, "ANSWER_DEADLINE", PATIENCE)


@pytest.fixture(autouse=True)
def swift_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watch of files collect changes often: nothing here shows how calm it is, and every agent ends sooner."""
    monkeypatch.setattr(files, "STEP", 50)


@pytest.fixture
def no_later_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent look once when it starts, and then only when there is a hint."""
    monkeypatch.setattr(scan, "AGAIN", ())


@pytest.fixture
def only_hints(no_later_look: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent look when it is told to, and never while a device is being pulled out."""
    del no_later_look
    monkeypatch.setattr(Gpu, "directories", ())


@pytest.fixture
async def agent(node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent that kubelet has taken all resources of; nothing that it logs is an error."""
    del kubelet
    async with running(node) as it:
        yield await it.until_registered()
    assert unexpected(await log.lines()) == []
