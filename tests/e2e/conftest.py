"""One kubelet for all tests, one machine and one agent for each."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from .agent import Agent
from .cluster import Cluster, running_cluster
from .machine import Machine
from .node import Node, binaries

TOOLS = ("busybox", "etcd", "nsenter", "openssl", "runc", "setpriv", "unshare")
"""Programs that have to be there; Kubernetes and containerd are built."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_here(item):
            item.add_marker(pytest.mark.e2e)
    items.sort(key=_turn)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: looks at the end for what began early")


def _turn(item: pytest.Item) -> int:
    """Return when a test runs: the cluster's come first, as one of them begins what takes five minutes.

    It leaves the cluster's node alone from then on, so other tests of the cluster come before.
    """
    if item.get_closest_marker("last") is not None:
        return 2
    early = dict.fromkeys(("test_own_node", "test_notices", "test_health_in_cluster"), -1)
    return {**early, "test_cluster": 0}.get(item.path.stem, 1)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what has to be built before the first test, so that no test's deadline is spent on it."""
    if any(_is_here(item) for item in session.items) and not _obstacle():
        for name in ("kubernetes", "containerd"):
            binaries(name)


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    """Skip where there is no kubelet to be had, and say why."""
    if obstacle := _obstacle():
        pytest.skip(obstacle)


def _is_here(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "needs root: containers, mount namespaces and device nodes"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
        return f"needs {', '.join(missing)}, see tests/e2e/README.md"
    return None


@pytest.fixture(scope="session")
def session_node(_able: None) -> Iterator[Node]:
    node = Node()
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture
def node(session_node: Node) -> Iterator[Node]:
    """Give a node without pods, and see that its kubelet never panicked."""
    start = session_node.kubelet.log.stat().st_size
    yield session_node
    session_node.remove_pods()
    log = session_node.kubelet.log_since(start)
    assert "panic: " not in log
    assert "Observed a panic" not in log


@pytest.fixture(scope="session")
def cluster(_able: None) -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


_numbers = count()


@pytest.fixture
def machine(node: Node) -> Iterator[Machine]:
    machine = Machine(node.base / f"machine{next(_numbers)}")
    yield machine
    machine.scrap()


@pytest.fixture
def start_agent(node: Node, machine: Machine) -> Iterator[Callable[..., Agent]]:
    """Start agents, each with a name of its own; all are stopped at the end."""
    started: list[Agent] = []
    with ExitStack() as agents:

        def start(name: str = "agent", **settings: Any) -> Agent:
            agent = Agent(node.place, machine, name)
            agent.configure(**settings)
            started.append(agent)
            agents.callback(agent.process.kill)
            return agent.start()

        yield start
    for agent in started:
        assert [line for line in agent.log() if line.level in {"error", "critical"}] == []


@pytest.fixture
def agent(start_agent: Callable[..., Agent]) -> Agent:
    """Give an agent whose devices kubelet knows."""
    return start_agent().until_offered()
