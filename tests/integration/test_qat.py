"""Pods that get virtual functions of QAT: numbered variables of their own, by nodes and by CDI names."""

import json

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.machines import at

from .node import Node
from .running import running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("machine", ["qat"])]

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
STATE, SERVICES = (f"{at('0000:e8:00.0')}/qat/{name}" for name in ("state", "cfg_services"))


async def test_each_container_counts_its_own_functions(node: Node, kubelet: SimulatedKubelet) -> None:
    """The Go plugin gives all containers of a request the addresses of all, in random order."""
    async with running(node) as agent:
        await agent.until_registered([CY, DC])
        first = await kubelet.admit("pod", {CY: 1}, "first")
        second = await kubelet.admit("pod", {CY: 1}, "second")
        both = await kubelet.admit("pod", {CY: 2}, "both")

        assert [dict(each.env) for each in (first, second, both)] == [
            {"QAT0": "0000:6b:00.1"},
            {"QAT0": "0000:6b:00.2"},
            {"QAT0": "0000:6b:00.3", "QAT1": "0000:6b:00.4"},
        ]
        assert [[each.path for each in answer.device_nodes] for answer in (first, second)] == [
            [f"/dev/vfio/{51 + number}", "/dev/vfio/vfio", f"/dev/vfio/devices/vfio{number}", "/dev/iommu"]
            for number in (0, 1)
        ]
        with agent.client(CY) as client:
            answers = await client.allocate(["0000:6b:00.7", "0000:6b:00.6"], ["0000:6b:00.5"])
        assert [dict(each.envs) for each in answers] == [
            {"QAT0": "0000:6b:00.6", "QAT1": "0000:6b:00.7"},
            {"QAT0": "0000:6b:00.5"},
        ]
    assert kubelet.violations == []


@pytest.mark.parametrize("cdi", ["names", "both"])
async def test_variables_are_no_part_of_cdi_files(node: Node, kubelet: SimulatedKubelet, cdi: str) -> None:
    """A file cannot know which number a function has in its container."""
    node.configure(devices={"qat": {"cdi": cdi}})
    async with running(node) as agent:
        await agent.until_healthy(CY, DC)
        got = await kubelet.admit("pod", {DC: 2})

        assert dict(got.env) == {"QAT0": "0000:e8:00.1", "QAT1": "0000:e8:00.2"}
        assert got.cdi == ("intel.cdi.k8s.io/qat=0000:e8:00.1", "intel.cdi.k8s.io/qat=0000:e8:00.2")
        assert bool(got.device_nodes) == (cdi == "both")
        spec = json.loads((node.cdi / "intel-agent-qat.json").read_text())
        assert {*spec["devices"][0]["containerEdits"]} == {"deviceNodes"}
        assert len(spec["devices"]) == 16
    assert kubelet.violations == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("packed", ["0000:6b:00.1", "0000:6b:00.2"]), ("balanced", ["0000:6b:00.1", "0000:e8:00.1"])],
)
async def test_kubelet_asks_which_functions_are_preferred(
    node: Node, kubelet: SimulatedKubelet, policy: str, expected: list[str]
) -> None:
    await node.change(SERVICES, "sym;asym")
    node.configure(devices={"qat": {"preferredAllocationPolicy": policy}})
    async with running(node) as agent:
        await agent.until_registered([CY])
        got = await kubelet.admit("pod", {CY: 2})
        assert sorted(got.env.values()) == expected
        assert [each.resource for each in kubelet.transcript if each.what == "prefer"] == [CY]


async def test_functions_of_a_device_that_goes_down_are_handed_out_no_more(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    async with running(node) as agent:
        await agent.until_registered([CY, DC])
        await node.change(STATE, "down")
        agent.hint(["qat"])
        await kubelet.wait_for(lambda seen: seen[DC].allocatable == 0)
        assert kubelet.resources()[CY].allocatable == 8

        await node.change(STATE, "up")
        agent.hint(["qat"])
        await kubelet.wait_for(lambda seen: seen[DC].allocatable == 8)
    assert kubelet.violations == []
