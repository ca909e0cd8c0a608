"""Load balancers are known to kubelet by the paths of their nodes: nothing on the way takes an id for a file name."""

import json

import pytest

from intel_agent.publish import cdifiles, grants, publisher
from intel_agent.publish.terms import NAME as TERMS
from intel_agent.simulation.accelerators import Dlb
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet
from intel_agent.simulation.machines import at

from .client import RefusedError
from .log import Log
from .node import Node
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio

PF, VF = "dlb.intel.com/pf", "dlb.intel.com/vf"
WHOLE, SPLIT, VIRTUAL = at("0000:6d:00.0"), at("0000:e7:00.0"), at("0000:e7:00.1")
MACHINE = "\n".join(
    line
    for each in (Dlb(0, WHOLE), Dlb(1, SPLIT, virtual=(VIRTUAL,)), Dlb(2, VIRTUAL, physical=SPLIT))
    for line in each.lines()
)


@pytest.fixture
def machine() -> str:
    return MACHINE


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what gives a real kubelet time to note its answers."""
    for module, name in ((cdifiles, "RECHECK"), (cdifiles, "KEEP"), (publisher, "RECHECK"), (grants, "SETTLE")):
        monkeypatch.setattr(module, name, 0.1)


async def test_from_the_list_to_the_log(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    node.configure(devices={"dlb": {"cdi": "both"}}, health={"lingerSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_registered([PF, VF])
        await kubelet.wait_for(
            lambda seen: seen[PF].healthy == frozenset({"/dev/dlb0"}) and seen[VF].healthy == frozenset({"/dev/dlb2"})
        )
        answer = await kubelet.admit("sorter", {PF: 1})
        assert answer.ids[PF] == ("/dev/dlb0",)
        assert [(each.path, each.host_path) for each in answer.device_nodes] == [("/dev/dlb0", f"{node.root}/dev/dlb0")]
        assert answer.cdi == ("intel.cdi.k8s.io/dlb=dlb0",)
        spec = json.loads((node.cdi / "intel-agent-dlb.json").read_text())
        assert [each["name"] for each in spec["devices"]] == ["dlb0", "dlb2"]
        with agent.client(PF) as client:
            assert (await client.options()).get_preferred_allocation_available is False
            with pytest.raises(RefusedError, match="has no device /dev/dlb0-0"):
                await client.allocate(["/dev/dlb0-0"])
        await log.until_logged("allocation.granted")
        (granted,) = [line for line in log.path.read_text().splitlines() if "allocation.granted" in line]
        assert json.loads(granted)["ids"] == ["/dev/dlb0"]
        assert json.loads((node.plugins / TERMS).read_text())[PF] == {"/dev/dlb0": [1, WHOLE, []]}
    assert kubelet.violations == []


async def test_a_pod_keeps_its_device_over_restarts_of_everything(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered([PF, VF])
        first = await kubelet.admit("sorter", {PF: 1})
    async with running(node) as agent:
        await agent.until_registered([PF, VF])
        await kubelet.restart()
        await agent.until_registered([PF, VF])
        await kubelet.wait_for(lambda seen: PF in seen and seen[PF].healthy == frozenset({"/dev/dlb0"}))
        assert await kubelet.admit("sorter", {PF: 1}) == first
        with pytest.raises(AdmissionError):
            await kubelet.admit("another", {PF: 1})
    assert kubelet.violations == []


async def test_a_function_that_is_held_leaves_only_when_its_pod_does(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"lingerSeconds": 0.1})
    async with running(node) as agent:
        await agent.until_registered([PF, VF])
        await kubelet.admit("sorter", {PF: 1})
        await node.change(f"{WHOLE}/sriov_numvfs", "1")
        agent.hint()
        await kubelet.wait_for(lambda seen: (seen[PF].capacity, seen[PF].allocatable) == (1, 0))
        assert agent.health(PF) == {"/dev/dlb0": "Unhealthy"}
        kubelet.release("sorter")
        await kubelet.wait_for(lambda seen: seen[PF].capacity == 0)
        await until(lambda: agent.health(PF) == {}, "an empty list")
    assert kubelet.violations == []
