"""What the agent lists, and when: rows of the conformance list for device plugins on kubelet.sock."""

import threading
from collections.abc import Iterator

import anyio
import pytest
from anyio import to_thread

from intel_agent.backends.gpu import Gpu
from intel_agent.model import Device, Exclusion, Reason
from intel_agent.publish import deviceplugin, publisher, wire
from intel_agent.simulation import disk
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import scan
from intel_agent.sysfs import Host

from .client import Client
from .log import Log
from .node import DEDICATED_DSA, ENCLAVE, EVERYTHING, I915, XE, XE_CARD, Node
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

LAPTOP_CARD = "/sys/devices/pci0000:00/0000:00:02.0"


class Looks:
    """Counts the looks for cards."""

    def __init__(self) -> None:
        self.count = 0

    async def pass_by(self, agent: Running, times: int = 1) -> None:
        """Hint, and wait until that many looks began and ended."""
        for _ in range(times):
            agent.hint()
            await self._another()

    async def _another(self) -> None:
        before = self.count
        await until(lambda: self.count > before, "look")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks, discover = Looks(), Gpu.discover

    def counted(backend: Gpu, host: Host) -> Iterator[Device | Exclusion]:
        yield from discover(backend, host)
        looks.count += 1

    monkeypatch.setattr(Gpu, "discover", counted)
    return looks


def lists(kubelet: SimulatedKubelet, resource: str) -> list[str]:
    return [each.detail for each in kubelet.transcript if (each.what, each.resource) == ("list", resource)]


async def test_row_18_sends_the_first_list_at_once(agent: Running) -> None:
    """At once: nothing has to happen first, and here nothing does."""
    with agent.client(XE) as client:
        assert await client.watch().health() == {"card0-0": "Healthy"}


async def test_row_18_sends_the_first_list_even_when_it_is_empty(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"lingerSeconds": 0})
    async with running(node) as agent:
        await agent.until_registered()
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].capacity == 0)
        with agent.client(XE) as client:
            assert await client.watch().message() == []
        assert kubelet.streams(XE) == 1


@pytest.mark.usefixtures("impatient", "only_hints")
async def test_row_19_every_message_alone_is_the_whole_list(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 2}}, health={"lingerSeconds": 0.3})
    async with running(node) as agent:
        await agent.until_registered()
        with agent.client(XE) as client:
            watch = client.watch()
            assert await watch.health() == {"card0-0": "Healthy", "card0-1": "Healthy"}
            card = await node.unplug(XE_CARD)
            agent.hint()
            assert await watch.health() == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}
            assert await watch.health() == {}
            await node.plug(card)
            agent.hint()
            assert await watch.health() == {"card0-0": "Healthy", "card0-1": "Healthy"}
    assert kubelet.violations == []


@pytest.mark.usefixtures("only_hints")
async def test_row_20_sends_nothing_without_a_change(agent: Running, kubelet: SimulatedKubelet, looks: Looks) -> None:
    with agent.client(XE) as client:
        watch = client.watch()
        assert await watch.health() == {"card0-0": "Healthy"}
        await looks.pass_by(agent, 10)
        await agent.node.unplug(XE_CARD)
        agent.hint()
        assert await watch.health() == {"card0-0": "Unhealthy"}  # the very next message
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    assert lists(kubelet, XE) == ["1 of 1 healthy", "0 of 1 healthy"]
    assert len(lists(kubelet, I915)) == 1


async def test_row_21_a_burst_of_changes_is_few_messages(agent: Running, kubelet: SimulatedKubelet) -> None:
    def burst() -> None:
        for number in range(100):
            disk.change(agent.node.root, f"{XE_CARD}/numa_node", str(number % 2))

    before, began = len(lists(kubelet, XE)), anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(to_thread.run_sync, burst)
        for _ in range(100):
            agent.hint()
            await anyio.sleep(0.001)
    agent.hint()
    await kubelet.wait_for(lambda seen: [each.numa for each in seen[XE].devices] == [(1,)])
    looks = (anyio.current_time() - began) / scan.GAP
    assert len(lists(kubelet, XE)) - before <= looks + 1


async def test_row_22_ids_are_the_same_after_a_restart(node: Node, kubelet: SimulatedKubelet) -> None:
    seen: list[dict[str, tuple[str, ...]]] = []
    for _ in range(2):
        async with running(node) as agent:
            await agent.until_registered()
            there = await kubelet.wait_for(lambda now: all(each.allocatable for each in now.values()))
            seen.append({name: tuple(each.id for each in resource.devices) for name, resource in there.items()})
    assert seen[0] == seen[1]
    assert kubelet.violations == []  # among them: ids that are empty, too long or there twice


async def test_row_23_health_is_one_of_two_words(agent: Running, kubelet: SimulatedKubelet) -> None:
    await agent.node.unplug(XE_CARD)
    agent.hint()
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    words = {device.health for resource in kubelet.resources().values() for device in resource.devices}
    assert words == {"Healthy", "Unhealthy"}


async def test_row_24_an_unknown_numa_node_is_not_told(agent: Running, kubelet: SimulatedKubelet) -> None:
    await agent.node.change(f"{XE_CARD}/numa_node", "-1")
    agent.hint()
    await kubelet.wait_for(lambda seen: [each.numa for each in seen[XE].devices] == [None])
    assert kubelet.violations == []


@pytest.mark.parametrize("machine", ["bench"])
async def test_row_25_all_devices_of_a_resource_have_a_numa_node_or_none(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and {each.numa for each in seen[XE].devices} == {(0,), (1,)})
        card = await to_thread.run_sync((node.root / "sys/class/drm/card3/device").resolve)
        await node.change(f"/{card.relative_to(node.root.resolve())}/numa_node", "-1")
        agent.hint()
        await kubelet.wait_for(lambda seen: {each.numa for each in seen[XE].devices} == {None})
    assert kubelet.violations == []


@pytest.mark.usefixtures("impatient")
async def test_row_26_a_vanished_device_leaves_when_its_pod_is_gone(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"lingerSeconds": 0.1})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.admit("worker", {XE: 1})
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (1, 0))
        await anyio.sleep(0.5)  # several times the linger time
        assert kubelet.resources()[XE].capacity == 1
        kubelet.release("worker")
        await kubelet.wait_for(lambda seen: seen[XE].capacity == 0)
    assert kubelet.violations == []


@pytest.mark.usefixtures("impatient")
async def test_row_27_no_id_is_dropped_while_an_allocate_is_open(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubelet would die of it (facts about kubelet, 11.1)."""
    node.configure(health={"lingerSeconds": 0})
    gate, entered = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        gate.wait(60)

    monkeypatch.setattr(deviceplugin, "_check_nodes", slow)
    monkeypatch.setattr(deviceplugin, "ALLOCATE_DEADLINE", 60.0)
    async with running(node) as agent, anyio.create_task_group() as group:
        await agent.until_registered()
        group.start_soon(kubelet.admit, "worker", {XE: 1})
        await until(entered.is_set, "open Allocate")
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (1, 0))
        await anyio.sleep(0.3)
        assert kubelet.resources()[XE].capacity == 1
        gate.set()
    assert [each for each in kubelet.violations if "dropped" in each] == []


async def test_row_28_a_list_that_kubelet_would_not_take_is_refused(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LIMIT", 1000)  # 110 enclaves are more
    async with running(node) as agent:
        await agent.until_registered(EVERYTHING - {"sgx.intel.com/enclave", "sgx.intel.com/provision"})
        refused = {line.resource: line.problem for line in await log.until_logged("resource.refused", times=2)}
    assert set(refused) == {"sgx.intel.com/enclave", "sgx.intel.com/provision"}
    assert all("4 MiB" in problem for problem in refused.values())
    assert "sgx.intel.com/enclave" not in {call.resource for call in kubelet.registrations}


async def test_row_28_a_list_that_grows_too_long_still_tells_what_becomes_of_the_known_ids(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 3}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)
        monkeypatch.setattr(publisher, "RECHECK", 0.1)
        monkeypatch.setattr(wire, "LIMIT", 200)
        node.configure(devices={"gpu": {"sharedDevNum": 10}}, health={"lingerSeconds": 0.2})
        await until(lambda: len(agent.agent.publisher.refused) == 2, "lists that are too long")
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (3, 0))
        assert kubelet.resources()[I915].allocatable == 3
        node.configure(devices={"gpu": {"sharedDevNum": 4}}, health={"lingerSeconds": 0.2})
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 4)
        refused = [line.resource for line in await log.lines("resource.refused")]
    assert {each: refused.count(each) for each in (XE, I915)} == {XE: 1, I915: 1}
    assert kubelet.violations == []


@pytest.mark.parametrize("machine", ["laptop"])
async def test_row_29_ten_thousand_ids(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 10_000}})
    async with running(node) as agent:
        await agent.until_registered([I915])
        await kubelet.wait_for(lambda seen: I915 in seen and seen[I915].allocatable == 10_000)
        with agent.client(I915) as client:
            assert len(await client.watch().message()) == 10_000
        await node.unplug(LAPTOP_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 0)
    assert kubelet.violations == []


@pytest.mark.usefixtures("only_hints")
async def test_a_second_stream_misses_nothing(agent: Running, kubelet: SimulatedKubelet) -> None:
    """Two streams never share a queue: a leftover of an old kubelet cannot eat the new one's changes."""
    with agent.client(XE) as one, Client(agent.node.socket(XE)) as other:
        watches = [one.watch(), other.watch()]
        for watch in watches:
            assert await watch.health() == {"card0-0": "Healthy"}
        await agent.node.unplug(XE_CARD)
        agent.hint()
        for watch in watches:
            assert await watch.health() == {"card0-0": "Unhealthy"}
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)


@pytest.mark.usefixtures("impatient")
async def test_a_queue_that_is_switched_off_under_its_pod_is_unhealthy_as_long_as_the_pod_has_it(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(health={"lingerSeconds": 0.1})
    async with running(node) as agent:
        await agent.until_registered()
        capacity = kubelet.resources()[DEDICATED_DSA].capacity
        got = await kubelet.admit("worker", {DEDICATED_DSA: 1})
        queue = next(each.path for each in got.device_nodes if each.path.startswith("/dev/dsa/")).rpartition("/")[2]
        directory = await to_thread.run_sync((node.root / f"sys/bus/dsa/devices/{queue}").resolve)
        path = f"/{directory.relative_to(node.root.resolve())}"
        await node.change(f"{path}/state", "disabled")
        agent.hint(["dsa"])
        await kubelet.wait_for(lambda seen: seen[DEDICATED_DSA].allocatable == capacity - 1)
        lines = agent.published[DEDICATED_DSA].listing.value.lines
        assert {fault.reason for line in lines for fault in line.faults} == {Reason.DISABLED}
        await anyio.sleep(0.5)  # several times the linger time
        assert kubelet.resources()[DEDICATED_DSA].capacity == capacity
        await node.change(f"{path}/state", "enabled")
        agent.hint(["dsa"])
        await kubelet.wait_for(lambda seen: seen[DEDICATED_DSA].allocatable == capacity)
    assert kubelet.violations == []


async def test_enclaves_are_unhealthy_when_their_node_is_lost_and_say_why(
    node: Node, kubelet: SimulatedKubelet, agent: Running
) -> None:
    path = node.root / "dev/sgx_enclave"
    capacity = kubelet.resources()[ENCLAVE].capacity
    await to_thread.run_sync(path.rename, node.base / "lost")
    agent.hint(["sgx"])
    await kubelet.wait_for(lambda seen: (seen[ENCLAVE].capacity, seen[ENCLAVE].allocatable) == (capacity, 0))
    (fault,) = {fault for line in agent.published[ENCLAVE].listing.value.lines for fault in line.faults}
    assert (fault.reason, "/dev/sgx_enclave not there" in fault.detail) == (Reason.GONE, True)
    await to_thread.run_sync((node.base / "lost").rename, path)
    agent.hint(["sgx"])
    await kubelet.wait_for(lambda seen: seen[ENCLAVE].allocatable == capacity)
