"""`eviction`: pods that hold what has been unhealthy for long are evicted, one by one and no others."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest

from intel_agent.reactions import eviction
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import ApiServer
from .log import Log
from .node import I915, I915_CARD, XE, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = pytest.mark.anyio

CARD = "0000:bb:00.0"
"""The card that i915 drives."""
OTHER_CARD = "0000:3b:00.0"
"""The card that xe drives."""
ON: dict[str, object] = {"enabled": True, "reasons": ["marked"], "perMinute": 100, "afterSeconds": 1}


@pytest.fixture(autouse=True)
def swift(swift_reactions: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del swift_reactions
    monkeypatch.setattr(eviction, "AGE", 0.0)
    monkeypatch.setattr(eviction, "FIRST", 0.1)
    monkeypatch.setattr(eviction, "SLOWEST", 0.2)


@asynccontextmanager
async def holding(
    node: Node, server: ApiServer, kubelet: SimulatedKubelet, *pods: str, **section: object
) -> AsyncGenerator[Running]:
    """Run an agent whose i915 card these pods have; the simulated kubelet calls their ids as they are called."""
    node.configure(top={"eviction": {**ON, **section}}, devices={"gpu": {"sharedDevNum": len(pods)}})
    async with running(node, environment=server.environment, account=str(server.directory)) as agent:
        await agent.until_registered()
        for pod in pods:
            await kubelet.admit(pod, {I915: 1})
        await kubelet.admit("other-0", {XE: 1})
        for pod in (*pods, "other-0"):
            server.pods[f"default/{pod}"] = {"uid": pod, **server.pods.get(f"default/{pod}", {})}
        yield agent


async def marked(agent: Running, word: str = "unhealthy") -> None:
    await agent.mark(CARD, word, "loud fan")


def evicted(server: ApiServer) -> list[str]:
    return [each["metadata"]["name"] for each in server.evictions]


async def logged(log: Log, event: str, times: int = 1) -> None:
    async def there() -> bool:
        return len(await log.lines(event)) >= times

    await until_async(there, f"{times} times {event}")


async def test_a_pod_whose_card_stays_unhealthy_is_evicted_and_nobody_else(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    async with holding(node, server, kubelet, "train-0") as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
        await logged(log, "pod.evicted")
    (eviction_,) = server.evictions
    assert eviction_ == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "train-0", "namespace": "default"},
        "deleteOptions": {"preconditions": {"uid": "train-0"}},
    }
    (line,) = await log.lines("pod.evicted")
    assert (line.pod, line.dry_run) == ("default/train-0", False)
    assert line.faults == (f"card1 of {I915} ({CARD}): marked",)
    assert {each.path.split("/")[6] for each in server.requests} == {"train-0"}


async def test_a_pod_whose_card_left_is_evicted(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    async with holding(node, server, kubelet, "train-0", reasons=["gone"]) as agent:
        pulled = await node.unplug(I915_CARD)
        agent.hint(["gpu"])
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
        await node.plug(pulled)


async def test_a_pod_whose_card_lost_its_driver_is_evicted(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    """As after `rmmod`: the function is there, and a rule says why it is not offered."""
    async with holding(node, server, kubelet, "train-0", reasons=["gone"]) as agent:
        (node.root / f"{I915_CARD}/driver".removeprefix("/")).unlink()
        (node.root / f"sys/bus/pci/drivers/i915/{CARD}").unlink()
        await node.unplug(f"{I915_CARD}/drm")
        agent.hint(["gpu"])
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
        assert "driver" in {each.rule for each in agent.agent.inventory.value.exclusions if CARD in each.path}
        await logged(log, "pod.evicted")
    (line,) = await log.lines("pod.evicted")
    assert line.faults == (f"card1 of {I915} ({CARD}): gone",)


async def test_a_disruption_budget_is_honoured_and_asked_again(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    server.budgets = {"default/train-0": 3}
    async with holding(node, server, kubelet, "train-0") as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
        await logged(log, "pod.evicted")
        assert agent.agent.membership.problems == ()
    (line,) = await log.lines("eviction.postponed")
    assert "429" in line.problem
    assert "disruption budget" in line.problem
    assert await log.lines("cluster.unavailable") == []


@pytest.mark.parametrize(
    "objection",
    [
        pytest.param((500, "InternalError"), id="two disruption budgets"),
        pytest.param((403, "Forbidden"), id="a webhook"),
        pytest.param((400, "BadRequest"), id="a webhook with another code"),
        pytest.param((422, "Invalid"), id="an admission policy"),
        pytest.param((409, "Conflict"), id="a budget that changes"),
    ],
)
async def test_what_is_answered_about_one_pod_delays_that_one_only(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, objection: tuple[int, str]
) -> None:
    """The pod that is tried first does not use up one of the two evictions of the minute."""
    server.objections = {"default/a-0": objection}
    async with holding(node, server, kubelet, "a-0", "b-0", perMinute=2) as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["b-0"], "the eviction of the other")
        assert agent.agent.membership.problems == ()
        server.objections = {}
        await until(lambda: evicted(server) == ["b-0", "a-0"], "the eviction of the first")
        await logged(log, "pod.evicted", 2)
    (line,) = await log.lines("eviction.postponed")
    assert line.pod == "default/a-0"
    assert f": {objection[0]} " in line.problem
    assert "somebody objects" in line.problem
    assert await log.lines("cluster.unavailable") == []


async def test_what_heals_while_the_api_server_is_asked_evicts_nobody(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    """The pod of another card comes after it, and goes."""
    server.gate = Event()
    async with holding(node, server, kubelet, "train-0") as agent:
        await marked(agent)
        await until(lambda: len(server.requests) == 1, "the question about the pod")
        await marked(agent, "auto")
        await until(lambda: set(agent.health(I915).values()) == {"Healthy"}, "recovery")
        server.gate.set()
        await agent.mark(OTHER_CARD, "unhealthy", "loud fan")
        await until(lambda: evicted(server) == ["other-0"], "the eviction of the other")


async def test_a_problem_is_over_when_nobody_has_to_go_any_more(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    async with holding(node, server, kubelet, "train-0") as agent:
        server.fails = "unavailable"
        await marked(agent)
        await until(lambda: len(agent.agent.membership.problems) == 1, "the problem")
        await marked(agent, "auto")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")


DAEMON = {
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a", "uid": "b", "controller": True}]
}
JOB = {"ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "b", "controller": True}]}


@pytest.mark.parametrize(
    "excuse",
    [
        pytest.param((DAEMON, "it belongs to a DaemonSet, which would make it here again"), id="DaemonSet"),
        pytest.param(({"annotations": {"kubernetes.io/config.mirror": "x"}}, "it is a static pod"), id="mirror"),
        pytest.param(({"uid": "another"}, "another pod has its name now"), id="another"),
        pytest.param(({"deletionTimestamp": "2026-01-31T12:00:00Z"}, "it ends already"), id="ends"),
    ],
)
async def test_pods_that_are_no_use_to_evict_are_left_alone(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, excuse: tuple[dict[str, Any], str]
) -> None:
    """The other pod of the card comes after it, and goes."""
    server.pods["default/a-0"], problem = excuse
    server.pods["default/b-0"] = JOB
    async with holding(node, server, kubelet, "a-0", "b-0") as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["b-0"], "the eviction of the other")
        await logged(log, "eviction.skipped")
    (line,) = await log.lines("eviction.skipped")
    assert (line.pod, line.problem) == ("default/a-0", problem)


async def test_a_static_pod_is_left_alone_unasked(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    """Kubelet's id of a static pod has no dash; the API server knows it by another one."""
    async with holding(node, server, kubelet, "static", "b-0") as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["b-0"], "the eviction of the other")
        await logged(log, "eviction.skipped")
    assert [each.path for each in server.requests if "static" in each.path] == []


async def test_pods_of_daemon_sets_go_where_that_is_configured(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    server.pods["default/a-0"] = DAEMON
    async with holding(node, server, kubelet, "a-0", daemonSets=True) as agent:
        await marked(agent)
        await until(lambda: evicted(server) == ["a-0"], "the eviction")


async def test_no_more_go_in_a_minute_than_configured(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third one would have come with the first two: what is evicted in one look is evicted in one go."""
    async with holding(node, server, kubelet, "a-0", "b-0", "c-0", perMinute=2) as agent:
        await marked(agent)
        await until(lambda: len(server.evictions) >= 2, "two evictions")
        await logged(log, "pod.evicted", 2)
        assert len(server.evictions) == 2
        monkeypatch.setattr(eviction, "MINUTE", 0.0)
        await until(lambda: sorted(evicted(server)) == ["a-0", "b-0", "c-0"], "the third")


async def test_a_dry_run_says_once_what_would_go(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    async with holding(node, server, kubelet, "a-0", "b-0", dryRun=True) as agent:
        await marked(agent)
        await logged(log, "pod.evicted", 2)
        assert [each["deleteOptions"].get("dryRun") for each in server.evictions] == [["All"], ["All"]]
        await marked(agent, "auto")
        await until(lambda: set(agent.health(I915).values()) == {"Healthy"}, "recovery")
        await marked(agent)
        await logged(log, "pod.evicted", 4)
    assert {line.dry_run for line in await log.lines("pod.evicted")} == {True}


@pytest.mark.parametrize("fails", ["forbidden", "unavailable", "lost"])
async def test_what_the_api_server_does_not_take_is_said_once_and_tried_again(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, fails: str
) -> None:
    async with holding(node, server, kubelet, "train-0") as agent:
        server.fails = fails
        await marked(agent)
        await until(lambda: len(agent.agent.membership.problems) == 1, "the problem")
        await logged(log, "cluster.unavailable")
        server.fails = ""
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
        await until(lambda: agent.agent.membership.problems == (), "the end of the problem")
    assert len(await log.lines("cluster.unavailable")) == 1


async def test_nobody_goes_while_kubelet_does_not_say_who_holds_what(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    """What kubelet is asked in vain, it is asked when somebody would have to go."""
    async with holding(node, server, kubelet, "train-0") as agent:
        there = node.pod_resources
        away = there.with_name("away.sock")
        there.rename(away)
        await marked(agent)
        await logged(log, "eviction.waiting")
        assert server.requests == []
        away.rename(there)
        await until(lambda: evicted(server) == ["train-0"], "the eviction")
