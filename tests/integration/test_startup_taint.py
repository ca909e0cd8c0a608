"""`startupTaint`: the node's own taint goes when pods can get what the node has, and no other taint is touched."""

from contextlib import AbstractAsyncContextManager

import pytest

from intel_agent.cluster import membership
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import PATH, ApiServer, Taint
from .log import Log
from .node import EVERYTHING, XE, Node
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

KEY = "intel.com/agent-not-ready"
OURS = [{"key": KEY, "effect": "NoSchedule"}, {"key": KEY, "value": "true", "effect": "NoExecute"}]
OTHERS = [
    {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
    {"key": f"{KEY}-yet", "effect": "NoSchedule"},
]
TAINTS: list[Taint] = [OURS[0], OTHERS[0], OURS[1], OTHERS[1]]
ON = {"enabled": True}


@pytest.fixture
def server(server: ApiServer) -> ApiServer:
    server.taints = list(TAINTS)
    return server


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "PERIOD", 0.1)


def on(node: Node, server: ApiServer) -> AbstractAsyncContextManager[Running]:
    return running(node, environment=server.environment, account=str(server.directory))


async def until_removed(server: ApiServer) -> None:
    await until(lambda: server.taints == OTHERS, "removal of our taints alone")


async def test_it_goes_when_kubelet_has_every_list_and_not_before(node: Node, server: ApiServer, log: Log) -> None:
    node.configure(taint=ON)
    async with on(node, server) as agent:
        waiting = tuple(f"{each}: not registered with kubelet" for each in EVERYTHING)
        await until(lambda: set(agent.agent.unready) == set(waiting), "all that is missing")
        assert server.requests == []
        async with node.kubelet() as kubelet:
            await until_removed(server)
            await log.until_logged("taint.removed")
            assert agent.agent.unready == ()
            assert {name for name, each in kubelet.resources().items() if each.healthy} == EVERYTHING
    assert len(server.patches) == 1
    assert [line.taint for line in await log.lines("taint.removed")] == [KEY]
    assert await log.lines("library.logged") == []


@pytest.mark.parametrize("machine", ["empty"])
async def test_a_node_without_devices_is_ready_when_it_was_looked_at(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    node.configure(taint=ON)
    async with on(node, server):
        await until_removed(server)
    assert kubelet.resources() == {}


async def test_a_kind_that_cannot_be_looked_at_keeps_it(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    cards = node.root / "sys/class/drm"
    cards.rename(cards.with_name("away"))
    cards.write_text("no directory")
    node.configure(taint=ON)
    async with on(node, server) as agent:
        await agent.until_registered(each for each in EVERYTHING if not each.startswith("gpu"))
        await until(
            lambda: [each.partition(":")[0] for each in agent.agent.unready] == ["gpu"], "only the GPUs missing"
        )
        assert server.requests == []
        cards.unlink()
        cards.with_name("away").rename(cards)
        agent.hint()
        await until_removed(server)
        assert kubelet.resources()[XE].allocatable == 1


async def test_unready_names_what_is_missing_after_kubelet_left(node: Node, server: ApiServer) -> None:
    del server
    async with running(node) as agent:
        async with node.kubelet():
            await agent.until_registered()
            await until(lambda: agent.agent.unready == (), "readiness")
        await until(lambda: len(agent.agent.unready) == len(EVERYTHING), "loss of kubelet")
        async with node.kubelet():
            await until(lambda: agent.agent.unready == (), "readiness with the new kubelet")


async def test_taints_that_others_change_meanwhile_stay_as_they_want(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    del kubelet
    server.on_patch = [[*OTHERS[:1], *OURS], [*OURS, *OTHERS]]
    node.configure(taint=ON)
    async with on(node, server):
        await until_removed(server)
    assert len(server.patches) == 3
    assert await log.lines("cluster.unavailable") == []


async def test_a_refusal_is_said_once_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    del kubelet
    server.fails = "forbidden"
    node.configure(taint=ON)
    async with on(node, server):
        await until(lambda: len(server.requests) >= 3, "three tries")
        assert server.taints == TAINTS
        server.fails = ""
        await until_removed(server)
        await log.until_logged("cluster.available")
    assert len(await log.lines("cluster.unavailable")) == 1


async def test_it_goes_again_when_it_comes_back(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    del kubelet
    node.configure(taint=ON)
    async with on(node, server):
        await until_removed(server)
        server.taints = [*OTHERS, *OURS]  # as when kubelet registers the node anew
        await until_removed(server)
        await log.until_logged("taint.removed", times=2)


async def test_it_is_switched_on_and_renamed_while_the_agent_runs(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    del kubelet
    async with on(node, server) as agent:
        await agent.until_registered()
        await until(lambda: agent.agent.unready == (), "readiness")
        assert server.requests == []
        node.configure(taint={"enabled": True, "key": f"{KEY}-yet"})
        await until(lambda: server.taints == [OURS[0], OTHERS[0], OURS[1]], "removal of the other taint")
        node.configure(taint=ON)
        await until(lambda: server.taints == OTHERS[:1], "removal of ours")
        assert {each.path for each in server.requests} == {PATH}
