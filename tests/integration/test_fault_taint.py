"""`faultTaint`: the node has a taint while a device is unhealthy, beside the taints of others."""

from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from intel_agent.reactions import observer, taint
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import ApiServer, Taint
from .log import Log
from .node import I915, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = pytest.mark.anyio

KEY = "intel.com/device-unhealthy"
OURS: Taint = {"key": KEY, "effect": "NoSchedule"}
OTHER: Taint = {"key": "example.com/other", "effect": "NoSchedule"}
ON = {"enabled": True}


@pytest.fixture(autouse=True)
def swift(swift_reactions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del swift_reactions
    monkeypatch.setattr(observer, "LEAST", 0.0)


def on(node: Node, server: ApiServer, **section: object) -> AbstractAsyncContextManager[Running]:
    node.configure(top={"faultTaint": {**ON, **section}})
    return running(node, environment=server.environment, account=str(server.directory))


async def marked(agent: Running, word: str = "unhealthy") -> None:
    await until(lambda: agent.looked, "a look at every kind")
    await agent.mark("0000:bb:00.0", word, "loud fan")


async def until_taints(server: ApiServer, *taints: Taint) -> None:
    await until(lambda: server.taints == list(taints), f"{taints}")


@pytest.mark.parametrize("others", [[], [OTHER]], ids=["no other taint", "another taint"])
async def test_it_is_there_while_a_device_is_unhealthy(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, others: list[Taint]
) -> None:
    del kubelet
    server.taints = list(others)
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, *others, OURS)
        await marked(agent, "auto")
        await until_taints(server, *others)

        async def said() -> bool:
            return bool(await log.lines("taint.removed"))

        await until_async(said, "the end of the taint in the log")
    assert [line.taint for line in await log.lines("taint.added")] == [KEY]


async def test_what_others_taint_meanwhile_stays(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    del kubelet
    server.on_patch = [[OTHER]]
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, OTHER, OURS)


async def test_another_effect_of_the_key_is_replaced(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    del kubelet
    server.taints = [{**OURS, "effect": "PreferNoSchedule"}, OTHER]
    async with on(node, server, effect="NoExecute") as agent:
        await marked(agent)
        await until_taints(server, OTHER, {**OURS, "effect": "NoExecute"})


async def test_the_agent_before_is_followed(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    """What an agent left stays as long as it is true, and goes when it is not."""
    del kubelet
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, OURS)
    assert server.taints == [OURS]
    patches = len(server.patches)
    async with on(node, server) as agent:
        await until(lambda: server.requests[-1].method == "GET", "the next agent's look")
        await until(lambda: agent.health(I915) == {"card1-0": "Unhealthy"}, "the mark at kubelet")
        assert (server.taints, len(server.patches)) == ([OURS], patches)
        await marked(agent, "auto")
        await until_taints(server)


async def test_what_is_not_known_changes_nothing(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    del kubelet
    cards = node.root / "sys/class/drm"
    cards.rename(cards.with_name("away"))
    cards.write_text("no directory")
    server.taints = [OURS]
    async with on(node, server) as agent:
        await agent.until_registered(["npu.intel.com/accel"])
        assert (server.taints, server.requests) == ([OURS], [])
        cards.unlink()
        cards.with_name("away").rename(cards)
        agent.hint()
        await until_taints(server)


@pytest.mark.usefixtures("no_later_look")
async def test_devices_that_cannot_be_read_are_unknown_unless_that_is_a_reason(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    """All cards are unreadable at once, as after a bad rule of SELinux: this says nothing of any of them."""
    del kubelet
    cards = node.root / "sys/class/drm"
    node.configure(top={"faultTaint": ON, "nodeCondition": ON}, health={"graceSeconds": 0})
    async with running(node, environment=server.environment, account=str(server.directory)) as agent:
        await agent.until_registered()
        await until(lambda: {each["status"] for each in server.conditions} == {"False"}, "the word of a healthy node")
        cards.rename(cards.with_name("away"))
        cards.write_text("no directory")
        agent.hint()
        await until(lambda: agent.health(I915) == {"card1-0": "Unhealthy"}, "that kubelet hears of it")
        await until(lambda: {each["status"] for each in server.conditions} == {"True"}, "that the condition says it")
        assert [each for each in server.patches if isinstance(each, list)] == []
        node.configure(top={"faultTaint": {**ON, "reasons": ["unreadable"]}}, health={"graceSeconds": 0})
        await agent.agent.reload()
        await until_taints(server, OURS)


async def test_while_labels_are_unknown_nothing_changes(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    del kubelet
    server.taints, server.hides_labels = [OURS], True
    overrides = [{"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 2}}}]
    node.configure(top={"faultTaint": ON}, overrides=overrides)
    async with running(node, environment=server.environment, account=str(server.directory)) as agent:
        await until(lambda: len(server.requests) >= 3, "looks at the labels")
        assert agent.looked
        assert [each.path for each in server.requests if "?" not in each.path] == []
        server.hides_labels = False
        await until_taints(server)


async def test_only_the_kinds_and_reasons_that_are_named_count(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    """Both kinds are unhealthy; with the second file only one of them counts, and not for its reason."""
    del kubelet
    async with on(node, server, kinds=["gpu"], reasons=["marked"]) as agent:
        await marked(agent)
        await until_taints(server, OURS)
        node.configure(top={"faultTaint": {**ON, "kinds": ["npu"], "reasons": ["marked"]}})
        await agent.agent.reload()
        await until_taints(server)
        requests = len(server.requests)
        node.configure(top={"faultTaint": {**ON, "kinds": ["gpu"], "reasons": ["wedged", "off-bus"]}})
        await agent.agent.reload()
        await until(lambda: len(server.requests) > requests, "a look at the node")
        node.configure(top={"faultTaint": {**ON, "kinds": ["gpu", "npu"]}})
        await agent.agent.reload()
        await until_taints(server, OURS)


async def test_it_is_put_back_when_somebody_takes_it_away(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(taint, "PERIOD", 0.1)
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, OURS)
        server.taints = []
        await until_taints(server, OURS)


@pytest.mark.parametrize("fails", ["forbidden", "unavailable"])
async def test_what_the_api_server_does_not_take_is_said_once_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, fails: str
) -> None:
    del kubelet
    server.fails = fails
    async with on(node, server) as agent:
        await marked(agent)
        await until(lambda: len(server.requests) >= 3, "tries")
        server.fails = ""
        await until_taints(server, OURS)
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
    assert len(await log.lines("cluster.unavailable")) == 1


async def test_a_patch_that_is_never_taken_is_said(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    """A few conflicts are none: others write into the node, too."""
    del kubelet
    server.rejects = True
    async with on(node, server) as agent:
        await marked(agent)
        await log.until_logged("cluster.unavailable")
        assert (len(server.patches) >= 3, len(agent.agent.membership.problems)) == (True, 1)
        server.rejects = False
        await until(lambda: server.taints == [OURS], "the taint")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
    (line,) = await log.lines("cluster.unavailable")
    assert "ValidatingAdmissionPolicy 'calm' denied" in line.problem


async def test_what_is_wanted_again_is_not_taken_back(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(taint, "PERIOD", 0.1)
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, OURS)
        server.fails = "unavailable"
        node.configure()
        await agent.agent.reload()
        await until(lambda: len(agent.agent.membership.problems) == 1, "the failure to take it back")
        node.configure(top={"faultTaint": ON})
        await agent.agent.reload()
        server.fails = ""
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
        requests = len(server.requests)
        await until(lambda: len(server.requests) > requests, "a look at the node")
        assert server.taints == [OURS]


async def test_it_goes_when_it_is_switched_off_or_called_otherwise(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    del kubelet
    async with on(node, server) as agent:
        await marked(agent)
        await until_taints(server, OURS)
        node.configure(top={"faultTaint": {**ON, "key": "example.com/broken"}})
        await agent.agent.reload()
        await until_taints(server, {"key": "example.com/broken", "effect": "NoSchedule"})
        node.configure()
        await agent.agent.reload()
        await until_taints(server)


async def test_two_writes_have_a_pause_between_them(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(observer, "LEAST", 3.0)
    begin = anyio.current_time()
    async with on(node, server) as agent:
        await until(lambda: [each.method for each in server.requests] == ["GET"], "the look at a healthy node")
        await marked(agent)
        await until_taints(server, OURS)
    assert anyio.current_time() - begin >= observer.LEAST
    assert [each.method for each in server.requests] == ["GET", "GET", "PATCH"]
