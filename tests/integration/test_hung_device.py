"""A device whose driver does not answer is one device."""

import threading
from collections.abc import Iterator

import anyio
import pytest
from anyio import to_thread

from intel_agent.backends.gpu import Gpu
from intel_agent.model import Device, Exclusion
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import scan
from intel_agent.sysfs import Host

from .log import Log
from .node import SHARED_DSA, XE, XE_CARD, Node, mended
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio

BENCH = pytest.mark.parametrize("machine", ["bench"])


def card(node: Node, number: int) -> str:
    """Return the path of the card's function as the kernel has it."""
    real = (node.root / f"sys/class/drm/card{number}/device").resolve()
    return f"/{real.relative_to(node.root.resolve())}"


def faults(seen: SimulatedKubelet) -> list[str]:
    return [each.id for each in seen.resources()[XE].devices if each.health == "Unhealthy"]


@BENCH
@pytest.mark.parametrize("attribute", ["numa_node", "vendor", "device"])
async def test_seven_of_eight_cards_stay_healthy(
    node: Node, kubelet: SimulatedKubelet, log: Log, attribute: str
) -> None:
    node.configure(health={"readDeadlineSeconds": 1.0})
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == 8)
        path = f"{card(node, 3)}/{attribute}"
        text = (node.root / path[1:]).read_text()
        pipe = node.block(path)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 7)
        assert faults(kubelet) == ["card3-0"]
        line = next(each for each in agent.published[XE].listing.value.lines if each.device.id == "card3")
        assert {fault.reason for fault in line.faults} == {"unreadable"}
        assert kubelet.resources()[XE].capacity == 8
        await to_thread.run_sync(mended, pipe, text)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 8)
        assert [line.device for line in await log.lines("device.quarantined")] == [card(node, 3)]
        assert [line.device for line in await log.lines("device.released")] == [card(node, 3)]
    assert kubelet.violations == []


@BENCH
async def test_an_input_output_error_is_one_device(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == 8)
        attribute = node.root / f"{card(node, 3)}/vendor"[1:]
        attribute.unlink()
        attribute.symlink_to("/proc/self/mem")  # reading where nothing is mapped is EIO
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 7)
        line = next(each for each in agent.published[XE].listing.value.lines if each.device.id == "card3")
        assert [(fault.reason, fault.detail.rpartition(": ")[2]) for fault in line.faults] == [
            ("unreadable", "input/output error")
        ]
        attribute.unlink()
        attribute.write_text("0x8086\n")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 8)


@BENCH
async def test_two_hung_cards_are_two_cards(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    node.configure(health={"readDeadlineSeconds": 0.5})
    async with running(node) as agent:
        await agent.until_registered([XE])
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == 8)
        pipes = [node.block(f"{card(node, number)}/numa_node") for number in (1, 6)]
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 6)
        assert faults(kubelet) == ["card1-0", "card6-0"]
        # As long as they hang, no further thread is spent on them.
        for _ in range(5):
            agent.hint()
            await anyio.sleep(0.1)
        assert len(await log.lines("device.quarantined")) == 2
        await node.unplug(card(node, 0))
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
        for pipe in pipes:
            await to_thread.run_sync(mended, pipe)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 7)


async def test_a_card_that_hangs_from_the_start_is_left_out_and_comes_when_it_answers(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(health={"readDeadlineSeconds": 0.5})
    pipe = node.block(f"{XE_CARD}/numa_node")
    async with running(node) as agent:
        await agent.until_registered(["gpu.intel.com/i915", "sgx.intel.com/enclave"])
        assert XE not in kubelet.resources()
        inventory = agent.agent.inventory
        await until(
            lambda: [each.path for each in inventory.value.exclusions if each.rule == "unreadable"], "exclusion"
        )
        await to_thread.run_sync(mended, pipe)
        await kubelet.wait_for(lambda seen: XE in seen and seen[XE].allocatable == 1)


async def test_a_stuck_thread_does_not_keep_the_agent_from_ending(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"readDeadlineSeconds": 0.5})
    async with running(node) as agent:
        await agent.until_registered()
        pipe = node.block(f"{XE_CARD}/numa_node")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        agent.stop()
        await until(lambda: not node.socket(XE).exists(), "end")  # while the read goes on
    await to_thread.run_sync(mended, pipe)


@pytest.mark.parametrize("machine", ["xeon"])
async def test_a_hung_queue_harms_no_other_queue(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"readDeadlineSeconds": 0.5})
    resource = "dsa.intel.com/wq-user-dedicated"
    async with running(node) as agent:
        await agent.until_registered([resource])
        before = (await kubelet.wait_for(lambda seen: resource in seen))[resource].allocatable
        queue = (node.root / "sys/bus/dsa/devices/wq2.0").resolve()
        pipe = node.block(f"/{queue.relative_to(node.root.resolve())}/mode")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[resource].allocatable == before - 1)
        await to_thread.run_sync(mended, pipe, "dedicated\n")
        await kubelet.wait_for(lambda seen: seen[resource].allocatable == before)


class Gate:
    """Where every look at cards waits, outside of any card's own files."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, discover = Gate(), Gpu.discover
    gate.open.set()

    def slow(backend: Gpu, host: Host) -> Iterator[Device | Exclusion]:
        gate.entered += 1
        gate.open.wait(60)
        yield from discover(backend, host)

    monkeypatch.setattr(Gpu, "discover", slow)
    yield gate
    gate.open.set()


async def test_a_kind_that_hangs_keeps_no_other_waiting(node: Node, kubelet: SimulatedKubelet, gate: Gate) -> None:
    node.configure(health={"readDeadlineSeconds": 60})
    queue = "/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.0"
    async with running(node) as agent:
        await agent.until_registered()
        gate.open.clear()
        looks = gate.entered
        agent.hint()
        await until(lambda: gate.entered > looks, "look at cards")
        part = await node.unplug(queue)
        agent.hint(["gpu", "dsa"])
        await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 0)
        await node.plug(part)
        agent.hint(["gpu", "dsa"])
        await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 1)
        gate.open.set()


async def test_a_kind_that_hangs_as_a_whole_costs_one_thread(
    node: Node, kubelet: SimulatedKubelet, log: Log, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "RETRY", 0.05)
    node.configure(health={"readDeadlineSeconds": 1.0, "graceSeconds": 0})
    async with running(node) as agent:
        await agent.until_registered()
        gate.open.clear()
        looks = gate.entered
        agent.hint(["gpu"])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        for _ in range(5):
            agent.hint()
            await anyio.sleep(0.1)
        assert gate.entered == looks + 1
        gate.open.set()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
        assert [line.backend for line in await log.lines("scan.failed")] == ["gpu"]
