"""What the agent answers when devices are handed out: rows of the conformance list."""

import random
import stat
import threading
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent._proto import v1beta1
from intel_agent.publish import deviceplugin
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet
from intel_agent.sources import scan

from .client import RefusedError
from .node import DEDICATED_DSA, ENCLAVE, EVERYTHING, I915, SHARED_DSA, XE, XE_CARD, Node, mended
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

BENCH = pytest.mark.parametrize("machine", ["bench"])
"""A machine with eight cards of one resource."""

CARDS = [f"card{card}-{share}" for card in range(8) for share in range(10)]


@pytest.mark.parametrize("policy", ["none", "balanced", "packed"])
@BENCH
async def test_row_33_preferred_ids_are_as_many_as_asked_for(
    node: Node, kubelet: SimulatedKubelet, policy: str
) -> None:
    del kubelet
    node.configure(devices={"gpu": {"sharedDevNum": 10, "preferredAllocationPolicy": policy}})
    shuffle = random.Random(33)
    async with running(node) as agent:
        await agent.until_registered([XE])
        with agent.client(XE) as client:
            for _ in range(100):
                available = shuffle.sample(CARDS, shuffle.randint(1, len(CARDS)))
                size = shuffle.randint(1, len(available))
                included = shuffle.sample(available, shuffle.randint(0, size))
                answer = await client.preferred(available, included, size)
                assert len(answer) == len(set(answer)) == size
                assert set(included) <= set(answer) <= set(available)
                assert await client.preferred(available, included, size) == answer


@pytest.mark.parametrize(
    ("available", "included", "size"),
    [
        pytest.param([], [], 0, id="row 34: nothing at all"),
        pytest.param(["card0-0"], [], 0, id="row 34: size 0"),
        pytest.param(["card0-0"], [], -1, id="row 34: size below 0"),
        pytest.param(["card0-0"], [], 2, id="row 34: more than available"),
        pytest.param(["card0-0"], ["card0-0", "card9-9"], 1, id="row 34: more included than wanted"),
        pytest.param(["card0-0"], ["card9-9"], 1, id="row 34: included but not available"),
        pytest.param(["", "\N{SNOWMAN}", "no device", "-", "--"], [""], 3, id="row 34: garbage"),
        pytest.param(["card0-0", "card0-0"], [], 2, id="row 34: the same twice"),
    ],
)
async def test_row_34_preference_never_fails(
    agent: Running, available: list[str], included: list[str], size: int
) -> None:
    with agent.client(XE) as client:
        answer = await client.preferred(available, included, size)
    assert answer == [] or (len(set(answer)) == size and set(included) <= set(answer) <= set(available))


async def test_row_34_answers_every_request_of_a_message(agent: Running) -> None:
    empty = v1beta1.PreferredAllocationRequest(container_requests=[])
    with agent.client(XE) as client:
        answer = await client.call("GetPreferredAllocation", bytes(empty))
        assert v1beta1.PreferredAllocationResponse.parse(answer).container_responses == []


async def test_row_35_is_asked_only_where_there_is_a_policy(agent: Running, kubelet: SimulatedKubelet) -> None:
    options: dict[str, bool] = {}
    for resource in EVERYTHING:
        with agent.client(resource) as client:
            options[resource] = (await client.options()).get_preferred_allocation_available
    assert {resource for resource, asked in options.items() if asked} == {I915, XE, "qat.intel.com/cy"}
    await kubelet.admit("worker", dict.fromkeys(EVERYTHING, 1))
    asked = {each.resource for each in kubelet.transcript if each.what == "prefer"}
    assert asked == {I915, XE, "qat.intel.com/cy"}


async def test_row_35_without_a_policy_there_is_no_opinion(agent: Running) -> None:
    with agent.client(ENCLAVE) as client:
        assert await client.preferred(["sgx-enclave-0", "sgx-enclave-1"], [], 1) == []


async def test_row_36_one_answer_for_each_container_in_order(agent: Running) -> None:
    queues = ["wq-user-dedicated-wq0.1-0", "wq-user-dedicated-wq0.2-0"]
    with agent.client(DEDICATED_DSA) as client:
        assert await client.allocate() == []
        one = await client.allocate([queues[0]])
        assert [_queues(answer) for answer in one] == [["/dev/dsa/wq0.1"]]
        three = await client.allocate([queues[1]], [], [queues[0]])
        assert [_queues(answer) for answer in three] == [["/dev/dsa/wq0.2"], [], ["/dev/dsa/wq0.1"]]


def _queues(answer: v1beta1.ContainerAllocateResponse) -> list[str]:
    return [node.container_path for node in answer.devices if node.container_path.startswith("/dev/dsa/")]


@pytest.mark.parametrize("identifier", ["card7-0", "", "card0", "card0-00", "card1-0", "../card0-0", "\N{SNOWMAN}"])
async def test_row_37_unknown_ids_are_refused_by_name(agent: Running, identifier: str) -> None:
    with agent.client(XE) as client:
        with pytest.raises(RefusedError, match=f"has no device {identifier}") as refusal:
            await client.allocate([identifier])
        assert refusal.value.code == "FAILED_PRECONDITION"
        with pytest.raises(RefusedError):
            await client.allocate(["card0-0"], [identifier])


async def test_row_38_unhealthy_ids_are_refused_with_the_reason(agent: Running, kubelet: SimulatedKubelet) -> None:
    await agent.node.unplug(XE_CARD)
    agent.hint()
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    refused = pytest.raises(RefusedError, match=r"card0-0 of gpu\.intel\.com/xe is unhealthy: gone")
    with agent.client(XE) as client, refused:
        await client.allocate(["card0-0"])
    with pytest.raises(AdmissionError, match="no healthy devices present"):
        await kubelet.admit("late", {XE: 1})


async def test_row_39_allocate_is_idempotent(agent: Running, kubelet: SimulatedKubelet) -> None:
    with agent.client(SHARED_DSA) as client:
        first = await client.allocate(["wq-user-shared-wq0.0-0"])
        assert first == await client.allocate(["wq-user-shared-wq0.0-0"])
        assert first == await client.allocate(["wq-user-shared-wq0.0-0", "wq-user-shared-wq0.0-0"])
    got = await kubelet.admit("worker", {SHARED_DSA: 1}, "init")
    assert [node.path for node in got.device_nodes] == [node.container_path for node in first[0].devices]


async def test_row_40_a_node_that_does_not_answer_costs_one_call(
    agent: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deviceplugin, "ALLOCATE_DEADLINE", 0.3)
    answers = threading.Event()

    def stuck(*_: object) -> None:
        answers.wait(60)

    monkeypatch.setattr(deviceplugin, "_check_nodes", stuck)
    try:
        with agent.client(XE) as client, agent.client(I915) as other:
            watch = client.watch()
            assert await watch.health() == {"card0-0": "Healthy"}
            async with anyio.create_task_group() as group:

                async def refused() -> None:
                    with pytest.raises(RefusedError, match="did not answer in time") as refusal:
                        await client.allocate(["card0-0"])
                    assert refusal.value.code == "DEADLINE_EXCEEDED"

                group.start_soon(refused)
                assert await other.watch().health() == {"card1-0": "Healthy"}
                await agent.node.unplug(XE_CARD)
                agent.hint()
                await watch.until({"card0-0": "Unhealthy"})
            assert not answers.is_set()  # all that, and the node has not answered
    finally:
        answers.set()


async def test_row_40_a_driver_that_hangs_does_not_keep_allocate_waiting(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"readDeadlineSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_registered()
        pipe = node.block(f"{XE_CARD}/numa_node")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        with agent.client(XE) as client, agent.client(I915) as other:
            with pytest.raises(RefusedError, match="unreadable"):
                await client.allocate(["card0-0"])
            assert (await other.allocate(["card1-0"]))[0].devices != []
        await to_thread.run_sync(mended, pipe)


async def test_row_41_every_path_is_a_device_node_that_exists(agent: Running, kubelet: SimulatedKubelet) -> None:
    for resource in EVERYTHING:
        ids = [each.id for each in kubelet.resources()[resource].devices]
        with agent.client(resource) as client:
            for answer in await client.allocate(*([each] for each in ids), ids):
                assert answer.devices
                for node in answer.devices:
                    assert node.host_path.startswith(str(agent.node.root))
                    assert node.container_path.startswith("/dev/")
                    assert ".." not in node.host_path + node.container_path
                    mode = Path(node.host_path).stat().st_mode
                    assert stat.S_ISCHR(mode) or agent.node.root.joinpath(".intel-agent-simulation").exists()
                assert all(Path(mount.host_path).exists() for mount in answer.mounts)


@pytest.mark.parametrize(
    ("instead", "problem"),
    [
        pytest.param(None, "/dev/dri/renderD128 is not there", id="gone"),
        pytest.param("../../sys", "not a character device", id="something else"),
    ],
)
@pytest.mark.usefixtures("only_hints")
async def test_row_41_a_node_that_is_gone_is_not_handed_out(agent: Running, instead: str | None, problem: str) -> None:
    node = agent.node.root / "dev/dri/renderD128"
    node.unlink()
    if instead is not None:
        node.symlink_to(instead)
    with agent.client(XE) as client, pytest.raises(RefusedError, match=problem):
        await client.allocate(["card0-0"])


async def test_row_42_all_resources_fit_into_one_container(agent: Running, kubelet: SimulatedKubelet) -> None:
    got = await kubelet.admit("worker", dict.fromkeys(EVERYTHING, 1))
    assert set(got.ids) == EVERYTHING == agent.registered
    assert kubelet.violations == []  # among them: container paths that are there twice, permissions that are none
    assert len({node.path for node in got.device_nodes}) == len(got.device_nodes) >= len(EVERYTHING)


@BENCH
async def test_row_42_many_shares_of_a_card_are_its_nodes_once(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 10}})
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == len(CARDS))
        got = await kubelet.admit("worker", {XE: len(CARDS)})
    assert len(got.device_nodes) == 16
    assert kubelet.violations == []


@BENCH
async def test_row_43_a_partial_failure_fails_the_call_and_updates_the_list(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "AGAIN", ())  # only Allocate can tell
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == 8)
        for name in ("card3", "renderD131"):  # without one of them it still has the other
            (node.root / "dev/dri" / name).unlink()
        refused = pytest.raises(RefusedError, match=r"/dev/dri/(card3|renderD131) is not there")
        with agent.client(XE) as client, refused:
            await client.allocate(["card2-0", "card3-0"])
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (8, 7))


async def test_row_57_start_needs_nothing(agent: Running) -> None:
    for resource in EVERYTHING:
        with agent.client(resource) as client:
            assert not (await client.options()).pre_start_required
            assert await client.call("PreStartContainer") == b""
            request = v1beta1.PreStartContainerRequest(devices_ids=["no device"])
            assert await client.call("PreStartContainer", bytes(request)) == b""


@pytest.mark.parametrize("machine", ["bench", "xeon", "gpu-server"])
async def test_row_71_what_is_healthy_is_accepted_and_nothing_else(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 2}, "dsa": {"sharedDevNum": 3}})
    async with running(node) as agent:
        await until(lambda: agent.looked, "first looks")
        resources = agent.agent.inventory.value.resources
        await agent.until_registered(resources)
        await kubelet.wait_for(lambda seen: resources.keys() <= seen.keys())
        for resource, seen in kubelet.resources().items():
            with agent.client(resource) as client:
                for device in seen.devices:
                    if device.health == "Healthy":
                        assert len(await client.allocate([device.id])) == 1
                    else:
                        with pytest.raises(RefusedError):
                            await client.allocate([device.id])
