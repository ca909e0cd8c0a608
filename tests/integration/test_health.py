"""Health from end to end: what is told, remembered and kept over restarts of the agent."""

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from intel_agent.health import monitor, state
from intel_agent.health.record import Record
from intel_agent.model import Event
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import XE, XE_CARD, Node
from .running import Running, running
from .waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

CARD = XE_CARD.removeprefix("/sys")


def happen(agent: Running, action: str, path: str, subsystem: str, **keys: str) -> None:
    """Have the agent hear a message, as from the kernel (test_kernel_events.py has the kernel say it)."""
    agent.agent._happened(Event(action, subsystem, path, keys))  # pyright: ignore[reportPrivateUsage]  # the kernel's part


async def until_health(agent: Running, health: str) -> None:
    await until(lambda: set(agent.health(XE).values()) == {health}, f"{XE} to be {health}")


async def wedged(agent: Running) -> None:
    happen(agent, "change", f"{CARD}/drm/card0", "drm", WEDGED="rebind")
    await until_health(agent, "Unhealthy")
    await until(lambda: b'"wedged"' in kept(agent.node), "the record to be kept")


def kept(node: Node) -> bytes:
    """Return what the agent has kept for the next one; nothing yet where there is no file."""
    file = node.runtime / state.FILE
    return file.read_bytes() if file.exists() else b""


@pytest.fixture
async def first(node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent that another one will follow."""
    del kubelet, log
    async with running(node) as it:
        yield await it.until_registered()


async def test_a_wedged_card_is_unhealthy_after_a_restart(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    del kubelet
    async with running(node) as agent:
        await wedged(await agent.until_registered())
    async with running(node) as agent:
        await agent.until_registered([XE])
        await until_health(agent, "Unhealthy")
        happen(agent, "bind", CARD, "pci", DRIVER="xe")
        await until_health(agent, "Healthy")
    assert "state.refused" not in await log.events()


async def test_what_is_told_as_the_agent_ends_is_kept(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet, log
    monkeypatch.setattr(monitor, "LAST_WRITE", PATIENCE)
    async with running(node) as agent:
        await agent.until_registered()
        happen(agent, "change", f"{CARD}/drm/card0", "drm", WEDGED="rebind")
        agent.stop()  # before anything else had its turn
    assert b'"wedged"' in kept(node)
    async with running(node) as agent:
        await agent.until_registered([XE])
        await until_health(agent, "Unhealthy")


async def test_a_driver_bound_anew_while_no_agent_ran_is_recognised(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    del kubelet, log
    async with running(node) as agent:
        await wedged(await agent.until_registered())
        await until(lambda: b'"life":[' in kept(node), "the binding to be known")
    link = node.root / XE_CARD.removeprefix("/") / "driver"
    draft = link.with_suffix(".draft")  # made before the old one goes: another number for sure
    draft.symlink_to(os.readlink(link))
    draft.replace(link)
    async with running(node) as agent:
        await agent.until_registered([XE])
        await until_health(agent, "Healthy")


async def test_what_ended_while_no_agent_ran_is_over_although_a_look_is_faster_than_the_record(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet, log
    config = Path(node.root, XE_CARD.removeprefix("/"), "config")
    async with running(node) as agent:
        await agent.until_registered()
        config.write_bytes(b"\xff" * 64)
        agent.hint(["gpu"])
        await until_health(agent, "Unhealthy")
        await until(lambda: b"off-bus" in kept(node), "the record to be kept")
    config.write_bytes(b"\x86\x80" + bytes(62))
    read, looked = state.read, threading.Event()

    def late(directory: str, boot: str) -> Record:
        assert looked.wait(60)
        return read(directory, boot)

    monkeypatch.setattr(state, "read", late)
    async with running(node) as agent:
        await until(lambda: agent.looked, "a look at everything")
        looked.set()
        await agent.until_registered()
        await until_health(agent, "Healthy")


@pytest.mark.parametrize("content", [b"{", b'{"version": 99, "boot": "x"}'])
async def test_a_record_that_is_no_good_is_ignored_with_a_warning(
    node: Node, kubelet: SimulatedKubelet, log: Log, content: bytes
) -> None:
    del kubelet
    node.runtime.mkdir()
    (node.runtime / state.FILE).write_bytes(content)
    async with running(node) as agent:
        await agent.until_registered()
        await until_health(agent, "Healthy")
    assert "state.refused" in await log.events()


async def test_without_a_place_for_the_record_the_agent_serves(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    del kubelet
    node.runtime.write_text("no directory")
    async with running(node) as agent:
        await agent.until_registered()
        happen(agent, "change", f"{CARD}/drm/card0", "drm", WEDGED="rebind")
        await until_health(agent, "Unhealthy")
    assert "state.failed" in await log.events()


async def test_a_recovery_has_to_last(node: Node, first: Running) -> None:
    node.configure(health={"recoverySeconds": 0.5})
    await until(lambda: first.agent.config.value.health.recovery_seconds == 0.5, "the new configuration")
    await wedged(first)
    bound = anyio.current_time()
    happen(first, "bind", CARD, "pci", DRIVER="xe")
    await until_health(first, "Healthy")
    assert anyio.current_time() - bound >= 0.5


async def test_a_device_off_the_bus_is_looked_at_again_until_it_is_sure(node: Node, first: Running) -> None:
    config = Path(node.root, XE_CARD.removeprefix("/"), "config")
    config.write_bytes(b"\xff" * 64)
    first.hint(["gpu"])
    await until_health(first, "Unhealthy")
    config.write_bytes(b"\x86\x80" + bytes(62))
    first.hint(["gpu"])
    await until_health(first, "Healthy")


async def test_another_treatment_takes_effect_without_a_restart(node: Node, first: Running) -> None:
    await wedged(first)
    node.configure(devices={"gpu": {"reasons": {"wedged": "warning"}}})
    await until_health(first, "Healthy")
    node.configure()
    await until_health(first, "Unhealthy")
