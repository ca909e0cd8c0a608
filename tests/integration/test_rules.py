"""Rules for single devices, from a changed file to kubelet: what pods hold is never given out twice."""

from collections.abc import Mapping

import anyio
import pytest

from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .client import RefusedError
from .log import Log
from .node import DEDICATED_DSA, EVERYTHING, I915, I915_CARD, XE, XE_CARD, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("impatient")]

FLEX = "gpu.intel.com/flex"
BENCH = pytest.mark.parametrize("machine", ["bench"])
"""A machine with eight cards of one resource."""


def configure(node: Node, *rules: Mapping[str, object], **section: object) -> None:
    node.configure(devices={"gpu": {"rules": rules, **section}}, health={"lingerSeconds": 0.2})


async def counted(kubelet: SimulatedKubelet, resource: str, capacity: int, allocatable: int) -> None:
    """Wait until kubelet counts so many devices."""
    await kubelet.wait_for(
        lambda seen: (
            resource in seen and (seen[resource].capacity, seen[resource].allocatable) == (capacity, allocatable)
        )
    )


async def started(agent: Running, kubelet: SimulatedKubelet) -> None:
    await agent.until_registered()
    await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))


async def test_a_held_card_that_gets_another_name_is_given_to_nobody(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await started(agent, kubelet)
        await kubelet.admit("alone", {XE: 1})
        configure(node, {"match": {"driver": "xe"}, "resource": "flex", "shares": 2})
        await counted(kubelet, FLEX, 2, 0)
        await counted(kubelet, XE, 1, 0)
        held = pytest.raises(RefusedError, match=r"held on other terms by (default/alone/c|a pod)")
        with agent.client(FLEX) as client, held:
            await client.allocate(["card0-0"])
        kubelet.release("alone")
        await counted(kubelet, FLEX, 2, 2)
        await counted(kubelet, XE, 0, 0)
        answer = await kubelet.admit("shared", {FLEX: 1})
        assert answer.device_nodes[0].path == "/dev/dri/card0"
    assert kubelet.violations == []


async def test_a_held_card_that_gets_shared_is_given_to_nobody_else(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await started(agent, kubelet)
        await kubelet.admit("alone", {XE: 1})
        configure(node, {"match": {"name": "card0"}, "shares": 3})
        await counted(kubelet, XE, 3, 1)
        kubelet.release("alone")
        await counted(kubelet, XE, 3, 3)
        assert kubelet.resources()[I915].capacity == 1


async def test_a_held_card_that_gets_hidden_departs_when_its_pod_is_gone(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    async with running(node) as agent:
        await started(agent, kubelet)
        await kubelet.admit("alone", {XE: 1})
        configure(node, {"match": {"pciAddress": "0000:3b:00.0"}, "hide": True})
        await counted(kubelet, XE, 1, 0)
        await anyio.sleep(0.5)  # more than it lingers and more than kubelet is asked
        assert agent.health(XE) == {"card0-0": "Unhealthy"}
        kubelet.release("alone")
        await counted(kubelet, XE, 0, 0)
        configure(node)
        await counted(kubelet, XE, 1, 1)
    hidden = [each.device for each in await log.lines("device.excluded") if each.rule == "hidden"]
    assert hidden == [XE_CARD]
    assert kubelet.violations == []


async def test_a_reserved_card_stays_with_its_pod_and_is_counted(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await started(agent, kubelet)
        await kubelet.admit("alone", {XE: 1})
        configure(node, {"match": {"driver": "xe"}, "reserve": True})
        await counted(kubelet, XE, 1, 0)
        kubelet.release("alone")
        with pytest.raises(AdmissionError):
            await kubelet.admit("next", {XE: 1})
        reserved = pytest.raises(RefusedError, match=r"reserved: devices\.gpu\.rules\[0\] keeps it from containers")
        with agent.client(XE) as client, reserved:
            await client.allocate(["card0-0"])
        configure(node)
        await counted(kubelet, XE, 1, 1)
        await kubelet.admit("next", {XE: 1})


@BENCH
async def test_some_cards_are_shared_some_exclusive_one_reserved_and_one_hidden(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    configure(
        node,
        {"match": {"name": "card0"}, "hide": True},
        {"match": {"name": "card1"}, "reserve": True},
        {"match": {"name": ["card2", "card3"]}, "resource": "exclusive", "shares": 1},
        sharedDevNum=10,
    )
    async with running(node) as agent:
        await agent.until_registered([XE, "gpu.intel.com/exclusive"])
        await counted(kubelet, XE, 50, 40)
        await counted(kubelet, "gpu.intel.com/exclusive", 2, 2)


@BENCH
async def test_a_card_that_is_preferred_last_is_given_last(node: Node, kubelet: SimulatedKubelet) -> None:
    configure(node, {"match": {"name": ["card0", "card1"]}, "preferLast": True})
    async with running(node) as agent:
        await agent.until_registered([XE])
        await counted(kubelet, XE, 8, 8)
        first = await kubelet.admit("first", {XE: 6})
        last = await kubelet.admit("last", {XE: 2})
    assert first.ids == {XE: tuple(f"card{number}-0" for number in range(2, 8))}
    assert last.ids == {XE: ("card0-0", "card1-0")}


async def test_kubelet_learns_that_a_kind_without_policy_has_a_preference(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    async with running(node) as agent:
        await started(agent, kubelet)
        before = len(kubelet.registrations)
        queue = {"match": {"name": "wq-user-dedicated-wq0.1"}, "preferLast": True}
        node.configure(devices={"dsa": {"rules": [queue]}})
        await until(lambda: len(kubelet.registrations) > before, "new registration")
        await kubelet.wait_for(lambda seen: seen[DEDICATED_DSA].allocatable > 1)
        await agent.until_registered()
        assert [each.resource for each in kubelet.registrations[before:]] == [DEDICATED_DSA]
        answer = await kubelet.admit("worker", {DEDICATED_DSA: 1})
        assert answer.ids != {DEDICATED_DSA: ("wq-user-dedicated-wq0.1-0",)}
        assert {each.resource for each in kubelet.transcript if each.what == "prefer"} == {DEDICATED_DSA}
        # That there is no preference any more need not be learnt: the answer is then that there is none.
        node.configure()
        await until_async(lambda: logged(log, "config.reloaded", 2), "second reload")
        await anyio.sleep(0.2)
        assert len(kubelet.registrations) == before + 1
    assert kubelet.violations == []


async def logged(log: Log, event: str, times: int) -> bool:
    return len(await log.lines(event)) >= times


async def test_a_rule_that_does_nothing_is_logged_once_for_each_change(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    idle = {"match": {"driver": "nouveau"}, "hide": True}
    shared = {"match": {"driver": "xe"}, "shares": 2}
    configure(node, idle)
    async with running(node) as agent:
        await agent.until_registered()
        await node.change(f"{I915_CARD}/numa_node", "0")  # another look, which finds something else
        agent.hint(["gpu"])
        await until(lambda: agent.agent.inventory.value.resources[I915][0].numa_nodes == (0,), "look")
        configure(node, shared, idle)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
        await until_async(lambda: logged(log, "rule.ignored", 2), "second line, which comes after the list")
        assert [(each.level, each.setting, each.problem) for each in await log.lines("rule.ignored")] == [
            ("warning", "devices.gpu.rules[0]", "matches no device of this node"),
            ("warning", "devices.gpu.rules[1]", "matches no device of this node"),
        ]
        assert [(each.device, each.decided_by) for each in await log.lines("device.changed")] == [
            ("card1", ""),
            ("card0", "devices.gpu.rules[0]"),
        ]


async def test_a_device_that_cannot_be_read_any_more_keeps_what_rules_made_of_it(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    configure(node, {"match": {"resource": XE}, "resource": "flex"})
    async with running(node) as agent:
        await agent.until_registered([FLEX, *(EVERYTHING - {XE})])
        await counted(kubelet, FLEX, 1, 1)
        await node.change(f"{XE_CARD}/vendor", "?")
        agent.hint(["gpu"])
        await counted(kubelet, FLEX, 1, 0)
        await node.change(f"{I915_CARD}/numa_node", "0")  # one look more
        agent.hint(["gpu"])
        await until(lambda: agent.agent.inventory.value.resources[I915][0].numa_nodes == (0,), "look")
        assert agent.health(FLEX) == {"card0-0": "Unhealthy"}
        assert XE not in agent.published


@pytest.mark.usefixtures("no_later_look")
async def test_the_last_list_of_a_kind_that_cannot_be_looked_at_is_what_rules_made_of_it(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    configure(node, {"match": {"resource": XE}, "resource": "flex"}, {"match": {}, "hide": True})
    async with running(node) as agent:
        await agent.until_registered([FLEX])
        await counted(kubelet, FLEX, 1, 1)
        drm = node.root / "sys/class/drm"
        drm.rename(drm.with_name("away"))
        drm.write_text("no directory")
        agent.hint(["gpu"])
        await until(lambda: agent.agent.inventory.value.found["gpu"].problem, "failed look")
        assert agent.health(FLEX) == {"card0-0": "Healthy"}
        assert I915 not in agent.published
