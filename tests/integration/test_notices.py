"""`kubernetesEvents`: pods and node hear of a device in use that breaks or heals, and nobody is held up by it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from anyio import to_thread

from intel_agent import notices
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Exclusion, Fault, Reason
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import NAME, ApiServer
from .log import Log
from .node import I915, I915_CARD, XE, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = pytest.mark.anyio

ON = {"enabled": True}


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "SLOWEST", 0.2)


@asynccontextmanager
async def holding(node: Node, server: ApiServer, kubelet: SimulatedKubelet, pods: int = 1) -> AsyncGenerator[Running]:
    """Run an agent whose i915 card a pod has, or several: `train`, `train1`..."""
    node.configure(events=ON, devices={"gpu": {"sharedDevNum": pods}} if pods > 1 else None)
    async with running(node, environment=server.environment, account=str(server.directory)) as agent:
        await agent.until_registered()
        for number in range(pods):
            await kubelet.admit(f"train{number or ''}", {I915: 1})
        yield agent


async def broken(node: Node, agent: Running, *, vendor: str = "nothing\n") -> None:
    await node.change(f"{I915_CARD}/vendor", vendor)
    agent.hint(["gpu"])


def of(server: ApiServer, kind: str) -> list[dict[str, Any]]:
    return [each for each in server.events if each["involvedObject"]["kind"] == kind]


async def test_pod_and_node_hear_what_broke_what_to_do_and_that_it_healed(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
    async with holding(node, server, kubelet) as agent:
        await broken(node, agent)
        await until(lambda: len(server.events) == 2, "the Events of the fault")
        (pod,), (machine,) = of(server, "Pod"), of(server, "Node")
        assert (pod["type"], pod["reason"], pod["metadata"]["namespace"]) == ("Warning", "DeviceUnhealthy", "default")
        involved = pod["involvedObject"]
        assert (involved["namespace"], involved["name"], involved["fieldPath"]) == (
            "default",
            "train",
            "spec.containers{c}",
        )
        assert involved["uid"]
        assert pod["message"].startswith(
            f"card1 of {I915} (0000:bb:00.0), which container c has, is unhealthy: unreadable"
        )
        assert pod["message"].endswith("Look at the kernel log for the device.")
        assert machine["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": NAME, "uid": NAME}
        assert "which default/train has, is unhealthy" in machine["message"]
        assert pod["source"] == {"component": "intel-agent", "host": NAME}

        await broken(node, agent, vendor=vendor)
        await until(lambda: len(server.events) == 4, "the Events of the recovery")
        assert [each["type"] for each in of(server, "Pod")] == ["Warning", "Normal"]
        assert of(server, "Node")[1]["message"].endswith("is healthy again")
    assert len({each["metadata"]["name"] for each in server.events}) == 4


async def test_a_device_that_is_pulled_out_and_put_back_is_told_of(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    async with holding(node, server, kubelet) as agent:
        pulled = await node.unplug(I915_CARD)
        agent.hint(["gpu"])
        await until(lambda: len(of(server, "Pod")) == 1, "the Event of the departure")
        assert "is unhealthy: gone: " in of(server, "Pod")[0]["message"]
        await node.plug(pulled)
        agent.hint(["gpu"])
        await until(lambda: len(of(server, "Pod")) == 2, "the Event of the return")
        assert of(server, "Pod")[1]["reason"] == "DeviceHealthy"


@pytest.mark.parametrize("fails", ["forbidden", "unavailable"])
async def test_what_the_api_server_does_not_take_is_tried_again_and_holds_nobody_up(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, fails: str
) -> None:
    server.fails = fails
    async with holding(node, server, kubelet) as agent:
        await broken(node, agent)
        await until(lambda: agent.health(I915) == {"card1-0": "Unhealthy"}, "the fault at kubelet")

        async def said() -> bool:
            return bool(await log.lines("cluster.unavailable"))

        await until_async(said, "complaint")
        assert server.events == []
        await kubelet.admit("other", {XE: 1})
        server.fails = ""
        await until(lambda: len(server.events) == 2, "the Events in the end")
    assert len(await log.lines("cluster.unavailable")) == 1
    assert len(await log.lines("cluster.available")) == 1


async def test_a_container_with_two_shares_of_a_device_hears_of_it_once(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    node.configure(events=ON, devices={"gpu": {"sharedDevNum": 3}})
    async with running(node, environment=server.environment, account=str(server.directory)) as agent:
        await agent.until_registered()
        await kubelet.admit("train", {I915: 2})
        await kubelet.admit("infer", {I915: 1})
        await broken(node, agent)
        await until(lambda: of(server, "Node"), "the Event of the node")
    assert sorted(each["involvedObject"]["name"] for each in of(server, "Pod")) == ["infer", "train"]


async def test_what_was_made_and_not_confirmed_is_not_told_twice(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    server.fails = "lost"
    async with holding(node, server, kubelet) as agent:
        await broken(node, agent)
        await until(lambda: len(server.events) == 2, "the Events whose answers are lost")
        server.fails = ""

        async def available() -> bool:
            return bool(await log.lines("cluster.available"))

        await until_async(available, "the end of the complaint")
    assert [len(of(server, kind)) for kind in ("Pod", "Node")] == [1, 1]
    assert await log.lines("notice.dropped") == []


async def test_they_are_rate_limited_and_bounded(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "BURST", 1)
    monkeypatch.setattr(notices, "PACE", 3600.0)
    monkeypatch.setattr(notices, "MOST", 1)
    vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
    async with holding(node, server, kubelet) as agent:
        for text in ("nothing\n", vendor):
            await broken(node, agent, vendor=text)
            wanted = "Healthy" if text == vendor else "Unhealthy"
            await until(lambda: agent.health(I915) == {"card1-0": wanted}, "the change")  # noqa: B023 - awaited here

        async def dropped() -> bool:
            return len(await log.lines("notice.dropped")) >= 2

        await until_async(dropped, "what does not fit")
        await until(lambda: bool(server.events), "the Event that fits")
    assert len(server.events) == 1


async def test_what_nobody_has_is_told_to_nobody(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    async with holding(node, server, kubelet) as agent:
        pulled = await node.unplug("/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0")
        agent.hint(["gpu"])
        await until(lambda: agent.health(XE) == {"card0-0": "Unhealthy"}, "the departure")
        await broken(node, agent)
        await until(lambda: len(server.events) == 2, "the Events of the other device")
        await node.plug(pulled)
    assert all("card1" in each["message"] for each in server.events)


async def test_off_means_that_the_api_server_is_not_asked(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    """What is told is told in its order: had the fault been told, it would have come before the recovery."""
    vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
    async with holding(node, server, kubelet) as agent:
        node.configure(events={"enabled": False})
        await agent.agent.reload()
        await broken(node, agent)
        await until(lambda: agent.health(I915) == {"card1-0": "Unhealthy"}, "the fault at kubelet")
        node.configure(events=ON)
        await agent.agent.reload()
        await broken(node, agent, vendor=vendor)
        await until(lambda: len(server.events) == 2, "the Events of the recovery")
    assert [each["type"] for each in server.events] == ["Normal"] * 2
    assert len(server.requests) == 2


async def test_what_waits_when_it_is_switched_off_is_not_told_later(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
    server.fails = "unavailable"
    async with holding(node, server, kubelet) as agent:

        async def said(event: str) -> bool:
            return bool(await log.lines(event))

        await broken(node, agent)
        await until_async(lambda: said("cluster.unavailable"), "complaint")
        node.configure(events={"enabled": False})
        await agent.agent.reload()
        await until_async(lambda: said("cluster.available"), "end of the complaint")
        server.stop()  # what was on its way until now comes to nothing
        server.fails = ""
        server.start()
        node.configure(events=ON)
        await agent.agent.reload()
        await broken(node, agent, vendor=vendor)
        await until(lambda: len(server.events) >= 2, "the Events of the recovery")
    assert {each["type"] for each in server.events} == {"Normal"}


CARD = Device("card0", XE, "/sys/a", NO_EDITS, "card0", 2)
HALTED = Fault(Reason.HALTED, "sysfs", "it stopped")
HOT = Fault(Reason.OVERHEATED, "hwmon", "it is hot")
RESERVED = Fault(Reason.RESERVED, "rule", "it is reserved")


def with_(*faults: Fault) -> Device:
    return Device("card0", XE, "/sys/a", NO_EDITS, "card0", 2, faults=frozenset(faults))


@pytest.mark.parametrize(
    ("before", "after", "known", "news"),
    [
        pytest.param(CARD, CARD, False, None, id="nothing"),
        pytest.param(CARD, with_(HALTED), False, {Reason.HALTED}, id="broke"),
        pytest.param(with_(HALTED), with_(HALTED, HOT), True, None, id="broke further: it is known as broken"),
        pytest.param(with_(HALTED, HOT), CARD, True, set[Reason](), id="healed"),
        pytest.param(CARD, with_(RESERVED), False, None, id="reserved"),
        pytest.param(with_(RESERVED), with_(RESERVED, HOT), False, {Reason.OVERHEATED}, id="reserved, and broke"),
        pytest.param(CARD, None, False, {Reason.GONE}, id="left"),
        pytest.param(with_(HOT), None, True, None, id="broke and left"),
        pytest.param(None, CARD, False, None, id="came"),
        pytest.param(None, CARD, True, set[Reason](), id="came back"),
        pytest.param(None, with_(HOT), True, None, id="came back, and is not well"),
    ],
)
def test_news_is_what_breaks_or_heals(
    before: Device | None, after: Device | None, *, known: bool, news: set[Reason] | None
) -> None:
    old, new = (Inventory.of({"gpu": Found(() if each is None else (each,))}) for each in (before, after))
    turns = notices.turned(old, new, frozenset({(XE, "card0")} if known else ()))
    assert [{fault.reason for fault in each.faults} for each in turns] == ([] if news is None else [news])


def test_what_was_switched_off_says_so() -> None:
    off = Exclusion(CARD.sysfs_path, "state", "it is down", "echo up > state", Reason.DISABLED)
    before, after = (Inventory.of({"gpu": each}) for each in (Found((CARD,)), Found((), (off,))))
    (turn,) = notices.turned(before, after, frozenset())
    (fault,) = turn.faults
    assert (fault.reason, fault.detail) == (Reason.DISABLED, "not offered any more: it is down: echo up > state")


@pytest.mark.parametrize("letter", ["x", "é", "\udcff"], ids=["a letter", "of two bytes", "no UTF-8"])
def test_a_message_is_not_longer_than_the_api_server_takes(letter: str) -> None:
    fault = Fault(Reason.HALTED, "sysfs", letter * 5000)
    length = len(notices.message(notices.Turn(CARD, (fault,)), "who").encode())
    assert notices.LONGEST - 1 <= length <= notices.LONGEST


async def test_text_that_is_no_utf_8_is_spelled(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    async with holding(node, server, kubelet) as agent:
        (before,) = [each for each in agent.agent.inventory.value.found["gpu"].devices if each.resource == I915]
        fault = Fault(Reason.HALTED, "sysfs", "the file \udcff is not there")
        after = replace(before, faults=frozenset({fault}))
        agent.agent.inventory.set(Inventory.of({"gpu": Found((after,))}))
        await until(lambda: len(server.events) == 2, "the Events of the fault")
    assert all("the file \\udcff is not there" in each["message"] for each in server.events)
