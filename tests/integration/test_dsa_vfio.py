"""DSA: from queues to whole accelerators and back, by the configuration and by the driver."""

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.machines import DEDICATED, Function, Idxd, at, vfio
from intel_agent.simulation.tree import Tree, parse

from .node import DEDICATED_DSA, Node
from .running import running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("machine", ["empty"])]

VFIO = "dsa.intel.com/vfio"


def accelerators() -> Tree:
    """Return one accelerator with a queue, and two that vfio-pci has."""
    lines = [*vfio(), *Idxd("dsa", 0, at("0000:6a:01.0"), [DEDICATED], group=50).lines()]
    for group, address in enumerate(("0000:6f:01.0", "0000:e7:01.0"), 51):
        function = Function(at(address), "8086:11fb", "vfio-pci", "088000", 0, group)
        lines += [*function.lines(), *function.user_space(group)]
    return parse("\n".join(lines))


ACCELERATORS = accelerators()


async def test_each_container_counts_its_own_accelerators(node: Node, kubelet: SimulatedKubelet) -> None:
    await node.plug(ACCELERATORS)
    node.configure(devices={"dsa": {"driver": "vfio-pci", "cdi": "both"}})
    async with running(node) as agent:
        await agent.until_healthy(VFIO)
        first = await kubelet.admit("pod", {VFIO: 1}, "first")
        second = await kubelet.admit("pod", {VFIO: 1}, "second")

        assert [dict(each.env) for each in (first, second)] == [
            {"VFIO_BDF0": "0000:6f:01.0"},
            {"VFIO_BDF0": "0000:e7:01.0"},
        ]
        assert [each.path for each in second.device_nodes] == [
            "/dev/vfio/52",
            "/dev/vfio/vfio",
            "/dev/vfio/devices/vfio52",
            "/dev/iommu",
        ]
        assert second.cdi == ("intel.cdi.k8s.io/dsa=0000:e7:01.0",)
    assert kubelet.violations == []


async def test_the_driver_can_be_changed_while_the_agent_runs(node: Node, kubelet: SimulatedKubelet) -> None:
    await node.plug(ACCELERATORS)
    node.configure(health={"lingerSeconds": 0.1})
    async with running(node) as agent:
        await agent.until_registered([DEDICATED_DSA])
        assert VFIO not in kubelet.resources()

        node.configure(devices={"dsa": {"driver": "vfio-pci"}}, health={"lingerSeconds": 0.1})
        await kubelet.wait_for(lambda seen: VFIO in seen and seen[VFIO].allocatable == 2)
        await kubelet.wait_for(lambda seen: seen[DEDICATED_DSA].capacity == 0)

        node.configure(health={"lingerSeconds": 0.1})
        await kubelet.wait_for(lambda seen: (seen[VFIO].capacity, seen[DEDICATED_DSA].allocatable) == (0, 1))
    assert kubelet.violations == []
