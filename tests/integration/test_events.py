"""What the agent makes of events and signals, in this process: the kernel's side is played."""

import os
import signal
from collections.abc import Callable

import anyio
import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.model import Event
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import kernel, scan

from .log import Log
from .node import EVERYTHING, I915, XE, XE_CARD, Node
from .running import Running, running
from .waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


class Played:
    """Takes the place of `kernel.follow`."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self._end = anyio.Event()

    async def follow(self, on_event: Callable[[Event], None], on_missed: kernel.Missed) -> None:
        if self.error is not None:
            raise self.error
        self.happened, self.missed = on_event, on_missed
        on_missed(overrun=False)
        await self._end.wait()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(kernel, "follow", played.follow)
    monkeypatch.setattr(scan, "AGAIN", ())
    monkeypatch.setattr(Gpu, "directories", ())  # nothing else tells of a card
    return played


def event(subsystem: str) -> Event:
    return Event("remove", subsystem, "/devices/x")


async def test_only_events_of_our_subsystems_make_it_look(
    played: Played, agent: Running, kubelet: SimulatedKubelet
) -> None:
    await agent.node.unplug(XE_CARD)
    for subsystem in ("net", "block", "dsa", "misc"):
        played.happened(event(subsystem))
    await anyio.sleep(0.2)
    assert kubelet.resources()[XE].allocatable == 1
    played.happened(event("drm"))
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)


async def test_an_overrun_is_logged_and_everything_is_looked_at(
    played: Played, agent: Running, kubelet: SimulatedKubelet, log: Log
) -> None:
    await agent.node.unplug(XE_CARD)
    played.missed(overrun=True)
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    assert len(await log.lines("events.overrun")) == 1


async def test_without_events_the_agent_serves_all_the_same(
    played: Played, node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    played.error = PermissionError(1, "Operation not permitted")
    async with running(node) as agent:
        await agent.until_registered()
        assert len(await log.lines("events.unavailable")) == 1
    assert kubelet.violations == []


async def test_signals(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        node.config.write_text(
            node.config.read_text().replace('"devices": {}', '"devices": {"gpu": {"sharedDevNum": 4}}')
        )
        os.kill(os.getpid(), signal.SIGHUP)
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 4)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: not any(node.socket(each).exists() for each in EVERYTHING), "end")
        await log.until_logged("agent.stopped")


async def test_a_lock_that_cannot_be_opened_is_logged_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    lock = node.plugins / ".intel-agent.lock"
    lock.mkdir()
    async with running(node) as agent:
        with anyio.fail_after(PATIENCE):
            while not [line for line in await log.lines() if line.level in {"warning", "error"}]:
                await anyio.sleep(0.01)
        assert agent.registered == frozenset()
        lock.rmdir()
        await agent.until_registered()
    assert kubelet.violations == []
