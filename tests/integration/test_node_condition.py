"""`nodeCondition`: the node says whether a device is unhealthy, beside what others say of it."""

from contextlib import AbstractAsyncContextManager

import pytest

from intel_agent.reactions import condition, leftovers, observer
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import ApiServer
from .log import Log
from .node import I915_CARD, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = pytest.mark.anyio

TYPE = "IntelDeviceUnhealthy"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
ON = {"nodeCondition": {"enabled": True}}


@pytest.fixture
def server(server: ApiServer) -> ApiServer:
    server.conditions = [dict(READY)]
    return server


@pytest.fixture(autouse=True)
def swift(swift_reactions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del swift_reactions
    monkeypatch.setattr(observer, "LEAST", 0.0)


def on(node: Node, server: ApiServer) -> AbstractAsyncContextManager[Running]:
    return running(node, environment=server.environment, account=str(server.directory))


def ours(server: ApiServer) -> dict[str, str]:
    """Return our condition, or nothing; all others must be as they were."""
    assert [each for each in server.conditions if each["type"] != TYPE] == [READY]
    return next((each for each in server.conditions if each["type"] == TYPE), dict[str, str]())


def said(server: ApiServer) -> tuple[str | None, str | None]:
    known = ours(server)
    return known.get("status"), known.get("reason")


WELL, ILL = ("False", "DevicesHealthy"), ("True", "DevicesUnhealthy")


async def marked(agent: Running, word: str) -> None:
    await agent.mark("0000:bb:00.0", word, "loud fan")


async def test_it_says_what_is_unhealthy_and_since_when(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    del kubelet
    node.configure(top=ON)
    server.conditions.append({"type": TYPE, "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"})
    async with on(node, server) as agent:
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        assert ours(server)["lastTransitionTime"] == "2020-01-01T00:00:00Z"
        assert ours(server)["lastHeartbeatTime"] > "2020-01-01T00:00:00Z"
        await marked(agent, "unhealthy")
        await until(lambda: said(server) == ILL, "the condition of a node with a marked card")
        broken = ours(server)
        assert broken["message"].endswith("is unhealthy: card1 of gpu.intel.com/i915 (0000:bb:00.0): marked"), broken[
            "message"
        ]
        assert broken["lastTransitionTime"] == broken["lastHeartbeatTime"] > "2020-01-01T00:00:00Z"
        await marked(agent, "auto")
        await until(lambda: said(server) == WELL, "the end of the condition")


async def test_a_device_that_left_is_named_until_nobody_can_have_it(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    del kubelet
    node.configure(top=ON, health={"lingerSeconds": 3600})
    async with on(node, server) as agent:
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        pulled = await node.unplug(I915_CARD)
        agent.hint(["gpu"])
        await until(lambda: said(server) == ILL, "the condition of a node without its card")
        assert "card1 of gpu.intel.com/i915 (0000:bb:00.0): gone" in ours(server)["message"]
        await node.plug(pulled)
        agent.hint(["gpu"])
        await until(lambda: said(server) == WELL, "the end of the condition")


async def test_what_the_configuration_takes_away_is_not_unhealthy(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    """Had the hidden card counted, the marked one would not be the only one that is named."""
    del kubelet
    hidden = {"gpu": {"rules": [{"match": {"driver": "xe"}, "hide": True}]}, "npu": {"enabled": False}}
    node.configure(top=ON, health={"lingerSeconds": 3600})
    async with on(node, server) as agent:
        await agent.until_registered()
        node.configure(top=ON, health={"lingerSeconds": 3600}, devices=hidden)
        await agent.agent.reload()
        await until(lambda: "Unhealthy" in agent.health("gpu.intel.com/xe").values(), "the departure")
        await marked(agent, "unhealthy")
        await until(lambda: said(server) == ILL, "the condition of a node with a marked card")
        assert ours(server)["message"].startswith("1 of ")


async def test_a_kind_that_cannot_be_looked_at_is_unknown_and_not_healthy(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(condition, "PATIENCE", 0.3)
    cards = node.root / "sys/class/drm"
    cards.rename(cards.with_name("away"))
    cards.write_text("no directory")
    node.configure(top=ON)
    async with on(node, server) as agent:
        await until(lambda: said(server) == ("Unknown", "DevicesUnknown"), "the condition of a node nobody knows")
        assert ours(server)["message"].startswith("gpu: ")
        cards.unlink()
        cards.with_name("away").rename(cards)
        agent.hint()
        await until(lambda: said(server) == WELL, "the condition of a healthy node")


async def test_a_heartbeat_says_the_same_again_and_repairs_what_somebody_took_away(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(condition, "HEARTBEAT", 0.2)
    node.configure(top=ON)
    async with on(node, server):
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        server.conditions = [dict(READY)]
        await until(lambda: said(server) == WELL, "the condition once more")


@pytest.mark.parametrize("fails", ["forbidden", "unavailable", "nonsense"])
async def test_what_the_api_server_does_not_take_is_said_once_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, fails: str
) -> None:
    del kubelet
    server.fails = fails
    node.configure(top=ON)
    async with on(node, server) as agent:
        await until(lambda: len(server.requests) >= 3, "tries")
        assert len(agent.agent.membership.problems) == 1
        await agent.until_registered()
        server.fails = ""
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")

        async def told() -> bool:
            return bool(await log.lines("cluster.available"))

        await until_async(told, "the end of the complaint")
    assert len(await log.lines("cluster.unavailable")) == 1


async def test_a_patch_that_is_never_taken_is_said(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    """A few conflicts are none: others write into the node, too."""
    del kubelet
    server.rejects = True
    node.configure(top=ON)
    async with on(node, server) as agent:
        await agent.until_registered()
        await log.until_logged("cluster.unavailable")
        assert (len(server.patches) >= 3, len(agent.agent.membership.problems)) == (True, 1)
        server.rejects = False
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
    (line,) = await log.lines("cluster.unavailable")
    assert "ValidatingAdmissionPolicy 'calm' denied" in line.problem


async def test_it_goes_when_it_is_switched_off(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    del kubelet
    node.configure(top=ON)
    async with on(node, server) as agent:
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        node.configure()
        await agent.agent.reload()
        await until(lambda: ours(server) == {}, "the end of the condition")


async def test_what_cannot_be_taken_back_is_said_and_taken_back_later(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(leftovers, "WITHDRAWAL", 0.3)
    node.configure(top=ON)
    async with on(node, server) as agent:
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        server.fails = "forbidden"
        node.configure()
        await agent.agent.reload()

        async def told() -> bool:
            return bool(await log.lines("withdrawal.failed"))

        await until_async(told, "the complaint")
        assert len(agent.agent.membership.problems) == 1
        server.fails = ""
        await until(lambda: ours(server) == {}, "the end of the condition")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
    (line,) = await log.lines("withdrawal.failed")
    assert line.what == f"condition {TYPE}"
    assert "403 Forbidden" in line.problem


async def test_an_agent_that_stops_leaves_what_it_said(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(condition, "HEARTBEAT", 0.2)  # times are in whole seconds
    node.configure(top=ON)
    async with on(node, server) as agent:
        await until(lambda: said(server) == WELL, "the condition of a healthy node")
        await marked(agent, "unhealthy")
        await until(lambda: said(server) == ILL, "the condition of a node with a marked card")
    before = ours(server)
    async with on(node, server):
        await until(lambda: ours(server)["lastHeartbeatTime"] > before["lastHeartbeatTime"], "the next agent's word")
        assert ours(server) == {**before, "lastHeartbeatTime": ours(server)["lastHeartbeatTime"]}


async def test_without_it_nobody_is_asked(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    del kubelet
    node.configure()
    async with on(node, server) as agent:
        await agent.until_registered()
        await marked(agent, "unhealthy")
        await until(lambda: agent.health("gpu.intel.com/i915") == {"card1-0": "Unhealthy"}, "the mark at kubelet")
    assert server.requests == []
