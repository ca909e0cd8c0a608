"""How the agent registers, and again: rows of the conformance list for device plugins on kubelet.sock."""

import os
import socket
from collections.abc import AsyncIterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
from anyio import to_thread
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from machines import removed

from intel_agent._proto import v1beta1
from intel_agent.backoff import BackOff
from intel_agent.publish import registration
from intel_agent.publish.deviceplugin import DevicePlugin, Listener
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.kubelet.rules import is_resource_name

from .log import Log
from .node import EVERYTHING, I915, ONE_CARD, XE, Node
from .other_kubelet import Seen, other_kubelet
from .rival import register, rival
from .running import Running, running, taken
from .waiting import until

pytestmark = pytest.mark.anyio

ONE = pytest.mark.parametrize("machine", [pytest.param(ONE_CARD, id="one card")])
"""A machine with one resource, `gpu.intel.com/i915`."""


def names(seen: list[Seen]) -> frozenset[str]:
    return frozenset(each.request.resource_name for each in seen)


def renew(agent: Running, kubelet: SimulatedKubelet) -> None:
    """Make kubelet's socket look like that of a new kubelet, and have the agent look, as inotify does a bit later."""
    os.chmod(kubelet.socket, 0o700)
    agent.agent.kubelet.look()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between tries be short."""
    monkeypatch.setattr(registration, "BackOff", partial(BackOff, 0.01, 0.02))


@pytest.fixture
async def seen(node: Node) -> AsyncIterator[list[Seen]]:
    """Give what a kubelet made with another library saw of every registration."""
    with other_kubelet(node.plugins) as kubelet:
        async with running(node):
            await until(lambda: names(kubelet.seen) == EVERYTHING, "registrations")
        yield kubelet.seen


async def test_row_1_listens_before_it_registers(seen: list[Seen]) -> None:
    assert all(each.listening for each in seen)


async def test_row_2_answers_while_its_register_call_is_outstanding(seen: list[Seen]) -> None:
    # The other kubelet answers Register only after it has the options: all of them got through.
    assert {each.request.resource_name for each in seen} == EVERYTHING


async def test_row_3_registrations_are_well_formed(seen: list[Seen], node: Node) -> None:
    for each in seen:
        assert each.request.version == "v1beta1"
        assert is_resource_name(each.request.resource_name)
        assert each.request.endpoint == node.socket(each.request.resource_name).name


async def test_row_4_options_are_the_same_in_both_places(seen: list[Seen]) -> None:
    assert all(each.request.options == each.options for each in seen)


async def test_row_5_register_has_a_deadline_that_kubelet_can_keep(seen: list[Seen]) -> None:
    assert all(10 < each.seconds <= 60 for each in seen)


async def test_rows_1_to_5_as_the_simulated_kubelet_sees_them(agent: Running, kubelet: SimulatedKubelet) -> None:
    assert {call.resource for call in kubelet.registrations} == EVERYTHING
    assert all(call.answer is None for call in kubelet.registrations)
    assert all(10 < (call.deadline or 0) <= 60 for call in kubelet.registrations)
    assert kubelet.violations == []
    assert agent.registered == EVERYTHING


async def test_row_6_waits_for_a_kubelet_that_is_not_there(node: Node) -> None:
    node.plugins.rmdir()
    async with running(node) as agent:
        await until(lambda: agent.agent.inventory.revision, "first look")
        async with node.kubelet():
            await agent.until_registered()


@ONE
async def test_row_6_tries_again_when_it_is_refused(node: Node, kubelet: SimulatedKubelet) -> None:
    kubelet.refuse("not today", 2)
    async with running(node) as agent:
        await agent.until_registered([I915])
    assert [call.answer for call in kubelet.registrations] == ["not today", "not today", None]


@ONE
@pytest.mark.usefixtures("impatient")
async def test_row_8_logs_a_refusal_once_for_each_change(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    kubelet.refuse("not today", 20)
    kubelet.refuse("nor tomorrow", 20)
    async with running(node) as agent:
        await agent.until_registered([I915])
        assert len(kubelet.registrations) == 41
        refusals = [line.problem for line in await log.lines("resource.refused")]
    assert refusals == ["not today", "nor tomorrow"]


async def test_row_9_binds_again_before_it_tries_again(agent: Running, kubelet: SimulatedKubelet) -> None:
    await kubelet.stop()
    await until(lambda: not agent.registered, "loss of kubelet")
    served = agent.node.socket(XE)
    await until(served.is_socket, "socket, though only a stale kubelet.sock is there")
    served.unlink()
    del kubelet.registrations[:]
    await kubelet.start()
    await agent.until_registered()
    # A try that met the new kubelet's clean-up is given up at once; none waits until kubelet fails to dial.
    assert {call.answer for call in kubelet.registrations} <= {None, "cancelled"}


async def test_row_10_registers_again_with_a_new_kubelet(agent: Running, kubelet: SimulatedKubelet) -> None:
    await kubelet.restart()
    await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
    await agent.until_registered()
    assert taken(kubelet) == 2 * len(EVERYTHING)
    assert kubelet.violations == []


async def test_row_11_registers_again_after_kubelet_was_killed(node: Node) -> None:
    async with running(node) as agent:
        for _ in range(3):  # none of them says goodbye, each finds what the last one left
            async with node.kubelet() as kubelet:
                await agent.until_registered()
                await kubelet.stop()
            await until(lambda: not agent.registered, "loss of kubelet")


async def test_row_12_survives_a_stale_socket_of_kubelet(node: Node, log: Log) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(node.plugins / "kubelet.sock"))
    async with running(node) as agent:
        await until(lambda: all(node.socket(each).exists() for each in EVERYTHING), "sockets")
        async with node.kubelet():
            await agent.until_registered()
    # A kubelet that starts removes what is there, and then makes its own.
    refused = {"connection refused", "no such file or directory"}
    assert {line.problem for line in await log.lines("resource.refused")} <= refused


async def test_row_13_does_not_rely_on_the_inode_of_kubelets_socket(agent: Running, kubelet: SimulatedKubelet) -> None:
    before = kubelet.socket.stat()
    renew(agent, kubelet)  # another change time, as a new socket has, under the same number
    assert kubelet.socket.stat().st_ino == before.st_ino
    await until(lambda: taken(kubelet) == 2 * len(EVERYTHING), "second registration of all")
    await agent.until_registered()


async def test_row_14_notices_a_socket_that_was_renamed(agent: Running, kubelet: SimulatedKubelet) -> None:
    await kubelet.stop(leave_socket=False)
    await until(lambda: not agent.registered, "loss of kubelet")
    elsewhere = agent.node.plugins / "draft.sock"
    with other_kubelet(agent.node.base) as other:
        other.directory = agent.node.plugins
        (agent.node.base / "kubelet.sock").rename(elsewhere)
        elsewhere.rename(kubelet.socket)
        await until(lambda: names(other.seen) == EVERYTHING, "registrations")
    kubelet.socket.unlink()
    await kubelet.start()
    await agent.until_registered()


async def test_row_14_serves_in_a_directory_that_was_made_anew(agent: Running, kubelet: SimulatedKubelet) -> None:
    await kubelet.stop()
    await to_thread.run_sync(removed, agent.node.plugins)
    await until(lambda: not agent.registered, "loss of kubelet")
    await kubelet.start()
    await agent.until_registered()
    assert (agent.node.plugins / ".intel-agent.lock").exists()


async def test_row_15_takes_a_cancelled_stream_for_an_order_to_register(
    agent: Running, kubelet: SimulatedKubelet
) -> None:
    """The end of a rival's stream makes kubelet cancel ours (facts about kubelet, 6.2)."""
    async with rival(agent.node.plugins / "rival.sock"):
        await register(kubelet.socket, "rival.sock", XE)
        await kubelet.wait_for(lambda seen: seen[XE].device("rival0") is not None)
    await kubelet.wait_for(lambda seen: "card0-0" in seen[XE].healthy)


@ONE
async def test_row_15_backs_off_when_kubelet_keeps_cancelling(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        for _ in range(3):
            await agent.until_registered([I915])
            kubelet.registrations.clear()
            renew(agent, kubelet)
            await until(lambda: kubelet.registrations, "new registration")
        await agent.until_registered([I915])
    assert kubelet.violations == []


async def test_row_16_ends_the_old_stream_before_it_registers_anew(agent: Running, kubelet: SimulatedKubelet) -> None:
    kubelet.behave(never_cancel=True)
    for _ in range(2):
        kubelet.registrations.clear()
        renew(agent, kubelet)  # this one knows of nothing
        await until(lambda: taken(kubelet) == len(EVERYTHING), "new registrations")
        await agent.until_registered()
    assert kubelet.violations == []
    assert {kubelet.streams(resource) for resource in EVERYTHING} == {1}


async def test_row_17_registers_one_way_only(agent: Running, kubelet: SimulatedKubelet) -> None:
    assert sorted(call.resource for call in kubelet.registrations) == sorted(EVERYTHING)
    assert sorted(path.name for path in agent.node.base.iterdir()) == ["dp", "etc", "node", "pr", "run"]
    sources = Path(str(files("intel_agent"))).rglob("*.py")
    assert [path for path in sources if "pluginregistration" in path.read_text()] == []


@ONE
@pytest.mark.usefixtures("impatient")
async def test_row_69_recovers_from_failing_options(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = DevicePlugin.get_device_plugin_options
    calls = 0

    async def moody(plugin: DevicePlugin, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise GRPCError(Status.INTERNAL, "no options today")
        return await sound(plugin, message)

    monkeypatch.setattr(DevicePlugin, "get_device_plugin_options", moody)
    async with running(node) as agent:
        await agent.until_registered([I915])
    refused = [call.answer for call in kubelet.registrations]
    text = "failed to get device plugin options: rpc error: code = Internal desc = no options today"
    assert refused == [text, text, text, None]


@ONE
@pytest.mark.usefixtures("impatient")
async def test_row_70_registers_again_when_the_first_stream_failed(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = DevicePlugin.list_and_watch
    calls = 0

    async def moody(plugin: DevicePlugin, message: v1beta1.Empty) -> AsyncIterator[v1beta1.ListAndWatchResponse]:
        nonlocal calls
        calls += 1
        if calls == 1:
            plugin.newest.set(failed := Listener())  # as if it had begun, and ended
            failed.ended.set()
            raise GRPCError(Status.INTERNAL, "no list today")
        async for each in sound(plugin, message):
            yield each

    monkeypatch.setattr(DevicePlugin, "list_and_watch", moody)
    async with running(node) as agent:
        await agent.until_registered([I915])
        await kubelet.wait_for(lambda seen: I915 in seen and seen[I915].allocatable == 1)
    assert calls == 2


@ONE
async def test_a_kubelet_that_never_asks_for_the_list_is_told_again(
    node: Node, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(registration, "LIST_DEADLINE", 0.05)
    with other_kubelet(node.plugins) as kubelet:
        async with running(node):
            await until(lambda: len(kubelet.seen) >= 2, "second registration")
            lines = await log.until_logged("resource.refused")
    assert "did not ask for the list" in lines[0].problem


async def test_somebody_else_who_listens_does_not_hide_that_kubelet_has_gone(
    agent: Running, kubelet: SimulatedKubelet
) -> None:
    with agent.client(XE) as client:
        watch = client.watch(within=100)
        assert await watch.message() != []
        async with rival(agent.node.plugins / "rival.sock"):
            await register(kubelet.socket, "rival.sock", XE)
            await kubelet.wait_for(lambda seen: seen[XE].device("rival0") is not None)
        await kubelet.wait_for(lambda seen: "card0-0" in seen[XE].healthy)
        watch.close()
