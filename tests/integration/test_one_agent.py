"""One agent serves a node, whatever is or was there before it."""

import signal
import socket

import anyio
import pytest
from anyio import to_thread
from machines import removed

from intel_agent.backoff import BackOff
from intel_agent.publish import kubelet as kubelet_module
from intel_agent.publish import registration
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import EVERYTHING, I915, XE, Node
from .process import process
from .rival import register, rival
from .running import running, taken
from .waiting import until

pytestmark = pytest.mark.anyio


async def test_row_59_a_second_agent_waits_for_the_first_and_then_serves(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    async with running(node) as first:
        await first.until_registered()
        async with running(node) as second:
            await until(lambda: second.looked, "looks of the second agent")
            for _ in range(3):
                await anyio.sleep(0.05)
                assert second.registered == frozenset()
                assert first.registered == EVERYTHING
            assert len(await log.until_logged("agent.waiting")) == 1
            first.stop()
            await second.until_registered()
            assert {call.answer for call in kubelet.registrations} == {None}
            assert taken(kubelet) == 2 * len(EVERYTHING)
            # The first one is gone and has taken no socket of the second one with it.
            assert all(node.socket(resource).is_socket() for resource in EVERYTHING)
    assert kubelet.violations == []


async def test_row_60_after_an_overlap_the_new_agents_list_is_in_force(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as old:
        await old.until_registered()
        node.configure(devices={"gpu": {"sharedDevNum": 3}})
        async with running(node) as new:
            await until(lambda: new.looked, "looks of the new agent")
            old.stop()
            await new.until_registered()
            await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)
            assert [kubelet.streams(resource) for resource in EVERYTHING] == [1] * len(EVERYTHING)


async def test_a_killed_agents_sockets_are_replaced(node: Node, kubelet: SimulatedKubelet) -> None:
    with process(node) as old:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        old.popen.send_signal(signal.SIGKILL)
        await old.wait()
    assert all(node.socket(resource).is_socket() for resource in EVERYTHING)
    async with running(node) as new:
        await new.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
    assert {call.answer for call in kubelet.registrations} == {None}


async def test_a_stopped_agent_that_hangs_keeps_nobody_waiting_once_it_is_killed(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    with process(node) as old:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        old.popen.send_signal(signal.SIGSTOP)
        async with running(node) as new:
            await until(lambda: new.looked, "looks of the new agent")
            assert new.registered == frozenset()
            old.popen.send_signal(signal.SIGKILL)
            await new.until_registered()


async def test_a_socket_that_another_plugin_serves_is_left_to_it(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "BackOff", lambda: BackOff(0.02, 0.05))
    async with rival(node.socket(I915)) as other:
        await register(kubelet.socket, node.socket(I915).name, I915)
        async with running(node) as agent:
            await agent.until_registered(EVERYTHING - {I915})
            asked = other.asked
            await until(lambda: other.asked >= asked + 5, "tries")
            assert [each.id for each in kubelet.resources()[I915].devices] == ["rival0", "rival1"]
            assert [line.resource for line in await log.lines("resource.refused")] == [I915]
            other.end.set()
            await anyio.sleep(0.05)
            node.socket(I915).unlink()
            await agent.until_registered()
            await kubelet.wait_for(lambda seen: [each.id for each in seen[I915].devices] == ["card1-0"])


async def test_a_socket_that_takes_connections_and_never_answers_is_replaced(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet_module, "IDENTIFY_DEADLINE", 0.2)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(node.socket(XE)))
        dead.listen()
        async with running(node) as agent:
            await agent.until_registered()
    assert kubelet.violations == []


async def test_what_is_no_socket_is_replaced(node: Node, kubelet: SimulatedKubelet) -> None:
    node.socket(XE).write_text("left behind")
    async with running(node) as agent:
        await agent.until_registered()
    assert kubelet.violations == []


async def test_a_directory_in_the_way_is_logged_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    node.socket(XE).mkdir()
    async with running(node) as agent:
        await agent.until_registered(EVERYTHING - {XE})
        lines = await log.until_logged("resource.refused")
        assert [line.resource for line in lines] == [XE]
        node.socket(XE).rmdir()
        await agent.until_registered()
    assert not [path for path in node.plugins.iterdir() if path.name.startswith(".") and path.is_socket()]
    assert kubelet.violations == []


async def test_the_lock_is_taken_again_in_a_new_directory(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as first:
        await first.until_registered()
        await kubelet.stop()
        await to_thread.run_sync(removed, node.plugins)
        await kubelet.start()
        await first.until_registered()
        async with running(node) as second:
            await until(lambda: second.looked, "looks of the second agent")
            await anyio.sleep(0.2)
            assert second.registered == frozenset()


async def test_a_lock_that_cannot_be_taken_is_logged_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    lock = node.plugins / ".intel-agent.lock"
    lock.mkdir()
    async with running(node) as agent:
        await until(lambda: agent.looked, "looks")
        await log.until_logged("agent.waiting")
        assert agent.registered == frozenset()
        lock.rmdir()
        await agent.until_registered()
        assert [line.problem for line in await log.lines("agent.waiting")] == ["is a directory"]
    assert kubelet.violations == []


async def test_a_slash_at_the_end_of_the_directory_changes_nothing(node: Node, kubelet: SimulatedKubelet) -> None:
    node.write_config(node.config.read_text().replace(f'"{node.plugins}"', f'"{node.plugins}/"'))
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.restart()
        await until(lambda: taken(kubelet) == 2 * len(EVERYTHING), "second registrations")
        await agent.until_registered()
    assert kubelet.violations == []
