"""`kubernetesEvents` when not all of it can be had: what is refused, waits too long, or kubelet does not tell."""

import pytest
from anyio import to_thread

from intel_agent import notices
from intel_agent.simulation.kubelet import SimulatedKubelet, podresources

from .apiserver import ApiServer
from .log import Log
from .node import I915, I915_CARD, Node
from .test_notices import broken, holding, of, swift
from .waiting import until, until_async

pytestmark = pytest.mark.anyio
__all__ = ["swift"]

ELSEWHERE = "elsewhere"


@pytest.fixture
def pods_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pods in another namespace than the node's Events."""
    monkeypatch.setattr(podresources, "NAMESPACE", ELSEWHERE)


def asked(server: ApiServer, namespace: str) -> int:
    return sum(each.path.split("/")[4] == namespace for each in server.requests)


async def test_kubelet_is_asked_once_more(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "AGAIN", 3.0)  # long enough to put kubelet back meanwhile
    monkeypatch.setattr(notices, "AGE", 0.0)
    away = node.pod_resources.with_suffix(".away")
    async with holding(node, server, kubelet) as agent:
        holders = agent.agent.notices._holders  # pyright: ignore[reportPrivateUsage]  # nobody else tells when
        assert (await holders.holdings(0.0)).known
        node.pod_resources.rename(away)
        await broken(node, agent)
        await until(lambda: not holders.last.known, "a question in vain")
        away.rename(node.pod_resources)
        await until(lambda: len(server.events) == 2, "the Events of the fault")
    assert await log.lines("notice.dropped") == []


async def test_what_kubelet_does_not_tell_of_is_said_in_the_log(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "AGAIN", 0.1)
    monkeypatch.setattr(notices, "AGE", 0.0)
    async with holding(node, server, kubelet) as agent:
        node.pod_resources.unlink()
        await broken(node, agent)

        async def dropped() -> list[tuple[str, str, str]]:
            return [(each.device, each.resource, each.problem) for each in await log.lines("notice.dropped")]

        said = await until_async(dropped, "word of the device")
    assert said == [("card1", I915, "kubelet does not tell who has it, if anybody")]
    assert server.requests == []


@pytest.mark.usefixtures("pods_elsewhere")
@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param((403, "NamespaceTerminating"), id="its namespace is going"),
        pytest.param((404, ""), id="its namespace is gone"),
        pytest.param((422, "FieldValueInvalid"), id="it is invalid"),
    ],
)
async def test_what_can_never_be_taken_is_given_up_at_once(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, refusal: tuple[int, str]
) -> None:
    vendor = await to_thread.run_sync((node.root / f"{I915_CARD[1:]}/vendor").read_text)
    server.refuses[ELSEWHERE] = refusal
    async with holding(node, server, kubelet) as agent:
        for times, text in enumerate(("nothing\n", vendor), 1):
            await broken(node, agent, vendor=text)
            await until(lambda: len(server.events) == times, "the Event of the node")  # noqa: B023 - awaited here
    dropped = await log.lines("notice.dropped")
    assert [(each.device, f"events: {refusal[0]} " in each.problem) for each in dropped] == [("card1", True)] * 2
    assert asked(server, ELSEWHERE) == 2
    assert await log.lines("cluster.unavailable") == []


@pytest.mark.usefixtures("pods_elsewhere")
async def test_a_refused_namespace_is_no_broken_cluster(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuses[ELSEWHERE] = (403, "")
    async with holding(node, server, kubelet) as agent:
        await broken(node, agent)
        told = "the Event of the node, and tries of the other"
        await until(lambda: len(of(server, "Node")) == 1 and asked(server, ELSEWHERE) > 1, told)
        monkeypatch.setattr(notices, "OLD", 0.0)

        async def dropped() -> list[str]:
            return [each.problem for each in await log.lines("notice.dropped")]

        (problem,) = await until_async(dropped, "the notice given up")
    assert "/elsewhere/events: 403 Forbidden: refused here" in problem
    assert asked(server, ELSEWHERE) > 1
    assert len(of(server, "Node")) == 1
    assert [each for each in await log.events() if each.startswith("cluster.")] == []


async def test_whatever_is_too_old_is_given_up_and_not_only_what_was_tried(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries are about 0, 0.5, 1.5, 3.5 and 7.5 s after the fault: one by one, three notices would take 7.5 s."""
    monkeypatch.setattr(notices, "SLOWEST", 3600.0)
    monkeypatch.setattr(notices, "OLD", 1.0)
    server.fails = "unavailable"
    async with holding(node, server, kubelet, pods=4) as agent:
        await broken(node, agent)

        async def dropped() -> bool:
            return len(await log.lines("notice.dropped")) == 5

        await until_async(dropped, "all notices given up")
    problems = [each.problem for each in await log.lines("notice.dropped")]
    assert {each.partition(":")[0] for each in problems} == {
        "POST /api/v1/namespaces/default/events",
        "too many were before it",
    }
    assert len(server.requests) < len(problems)
