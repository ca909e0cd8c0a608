"""A kind that cannot be looked at keeps its last devices, for a while healthy and then not, and harms no other."""

from collections.abc import Iterator

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.errors import SysfsError
from intel_agent.model import Device, Exclusion
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sources import scan
from intel_agent.sysfs import Host

from .log import Log
from .node import EVERYTHING, I915, SHARED_DSA, VFIO, XE, XE_CARD, Node
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Return a list; as long as it holds an error, looking for cards raises it."""
    errors: list[Exception] = []
    discover = Gpu.discover

    def moody(backend: Gpu, host: Host) -> Iterator[Device | Exclusion]:
        if errors:
            raise errors[0]
        return discover(backend, host)

    monkeypatch.setattr(Gpu, "discover", moody)
    return errors


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(SysfsError("/sys/class/drm", "input/output error"), id="expected"),
        pytest.param(ZeroDivisionError("a bug"), id="unexpected"),
    ],
)
async def test_the_last_list_stays_then_becomes_unreadable(
    node: Node, kubelet: SimulatedKubelet, log: Log, trouble: list[Exception], error: Exception
) -> None:
    node.configure(health={"graceSeconds": 3600})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        trouble.append(error)
        agent.hint(["gpu"])
        inventory = agent.agent.inventory
        await until(lambda: inventory.value.found["gpu"].problem, "problem")
        assert kubelet.resources()[XE].allocatable == 1
        node.configure(health={"graceSeconds": 0})
        await agent.agent.reload()
        agent.hint(["gpu"])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 0)
        faults = {fault.reason for device in inventory.value.found["gpu"].devices for fault in device.faults}
        assert faults == {"unreadable"}
        # Nothing else is touched.
        await node.unplug("/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.0")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 0)
        trouble.clear()
        agent.hint(["gpu"])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 1)
        failures = await log.lines("scan.failed")
        assert [line.backend for line in failures] == ["gpu"]  # once, however often it was tried
        assert bool(failures[0].exception) == isinstance(error, ZeroDivisionError)
        assert [line.backend for line in await log.lines("scan.recovered")] == ["gpu"]
    assert kubelet.violations == []


async def test_a_kind_that_fails_from_the_start_is_served_when_it_recovers(
    node: Node, kubelet: SimulatedKubelet, trouble: list[Exception]
) -> None:
    trouble.append(SysfsError("/sys/class/drm", "input/output error"))
    async with running(node) as agent:
        await agent.until_registered(EVERYTHING - {XE, I915, VFIO})
        trouble.clear()
        agent.hint(["gpu"])
        await agent.until_registered()
    assert kubelet.violations == []


async def test_the_tick_finds_what_no_event_told_of(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "AGAIN", ())
    node.configure(health={"rescanSeconds": 1})
    async with running(node) as agent:
        await agent.until_registered()
        await node.unplug(XE_CARD)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)


async def test_the_grace_ends_without_any_hint(
    node: Node, kubelet: SimulatedKubelet, trouble: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "AGAIN", ())
    node.configure(health={"graceSeconds": 0.5, "rescanSeconds": 3600})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        trouble.append(SysfsError("/sys/class/drm", "input/output error"))
        agent.hint(["gpu"])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
