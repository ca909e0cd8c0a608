"""A simulated kubelet in a directory of its own."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet


@pytest.fixture
def directory() -> Iterator[Path]:
    # A socket's path has room for 107 letters only: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ia") as name:
        yield Path(name)


@pytest.fixture
def dial_seconds() -> float:
    """Return how long kubelet tries to connect; tests in which nobody is there have less patience."""
    return 30.0


@pytest.fixture
def grace_seconds() -> float:
    """Return how long kubelet remembers a resource that nobody serves."""
    return 300.0


@pytest.fixture
async def kubelet(directory: Path, dial_seconds: float, grace_seconds: float) -> AsyncIterator[SimulatedKubelet]:
    sockets = directory / "dp", directory / "pr" / "kubelet.sock"
    async with SimulatedKubelet(*sockets, dial_seconds=dial_seconds, grace_seconds=grace_seconds) as it:
        yield it
