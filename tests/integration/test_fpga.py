"""FPGAs at kubelet: what pods get in each mode, and that a change of the mode gives nothing out twice."""

import json
from pathlib import Path

import pytest

from intel_agent.publish import cdifiles, grants, publisher
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .client import RefusedError
from .node import Node
from .running import Running, running
from .waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("machine", ["fpga"])]

INTERFACE, AFU = "69528db6eb31577a8c3668f9faa081f6", "d8424dc4a4a3c413f89e433683f9040b"
AF = "fpga.intel.com/af-695.d84.aVKNtusxV3qMNmj5-qCB9thCTcSko8QT-J5DNoP5BAs"
OTHER_AF = "fpga.intel.com/af-695.f7d.aVKNtusxV3qMNmj5-qCB9vffQFy9es9yIvFEsLk6zRg"
VIRTUAL_AF = "fpga.intel.com/af-bfa.f7d.v6xNhR7oVv6MlYZc4buqLfffQFy9es9yIvFEsLk6zRg"
REGION = f"fpga.intel.com/region-{INTERFACE}"
VIRTUAL_REGION = "fpga.intel.com/region-bfac4d851ee856fe8c95865ce1bbaa2d"
CARD = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
NAME = "intel.cdi.k8s.io/fpga=dfl-fme.0"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what gives a real kubelet time to note its answers."""
    for module, name in ((cdifiles, "RECHECK"), (cdifiles, "KEEP"), (publisher, "RECHECK"), (grants, "SETTLE")):
        monkeypatch.setattr(module, name, 0.1)


def edits(directory: Path) -> dict[str, dict[str, object]]:
    """Return what CDI files define: container edits by qualified name."""
    specs = [json.loads(path.read_bytes()) for path in directory.glob("*.json")]
    return {
        f"{spec['kind']}={device['name']}": device["containerEdits"] for spec in specs for device in spec["devices"]
    }


async def test_a_pod_gets_the_port_of_an_accelerator(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered([AF, OTHER_AF, VIRTUAL_AF])
        await kubelet.wait_for(lambda seen: seen[VIRTUAL_AF].allocatable == 2)
        got = await kubelet.admit("nlb", {AF: 1})

        assert [(each.path, each.host_path, each.permissions) for each in got.device_nodes] == [
            ("/dev/dfl-port.0", f"{node.root}/dev/dfl-port.0", "rw")
        ]
        assert (got.annotations, got.cdi, got.mounts) == ({}, (), ())
        assert not node.cdi.exists()
        with agent.client(AF) as client:
            options = await client.options()
        assert not options.get_preferred_allocation_available
        assert not options.pre_start_required
    assert kubelet.violations == []


@pytest.mark.parametrize("use", ["none", "both", "names"])
async def test_a_pod_gets_ports_annotation_and_hook_of_a_region_whatever_cdi_says(
    node: Node, kubelet: SimulatedKubelet, use: str
) -> None:
    node.configure(devices={"fpga": {"mode": "region", "cdi": use, "hook": "/opt/hook"}})
    kubelet.hold()
    async with running(node) as agent:
        listed = (REGION, VIRTUAL_REGION)
        await until(lambda: all(set(agent.health(each).values()) == {"Healthy"} for each in listed), "listings")
        defined = edits(node.cdi)
        assert kubelet.resources() == {}  # it has heard of nothing yet
        kubelet.proceed()
        await agent.until_healthy(REGION, VIRTUAL_REGION)
        got = await kubelet.admit("nlb", {REGION: 1})

    ports = [f"/dev/dfl-port.{number}" for number in (0, 1)]
    assert [each.path for each in got.device_nodes] == ([] if use == "names" else ports)
    assert got.annotations == {"com.intel.fpga.mode": "fpga.intel.com/region"}
    assert got.cdi == (NAME,)
    assert defined[NAME] == {
        "deviceNodes": [{"path": each, "hostPath": f"{node.root}{each}", "permissions": "rw"} for each in ports],
        "hooks": [{"hookName": "createRuntime", "path": "/opt/hook"}],
    }
    assert defined.keys() == {NAME, "intel.cdi.k8s.io/fpga=dfl-fme.1"}
    assert kubelet.violations == []


async def test_a_pod_gets_ports_and_engine_to_program_a_region_itself(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"fpga": {"mode": "regiondevel"}})
    async with running(node) as agent:
        await agent.until_registered([REGION, VIRTUAL_REGION])
        got = await kubelet.admit("nlb", {VIRTUAL_REGION: 1})

        nodes = [each.path for each in got.device_nodes]
        assert nodes == ["/dev/dfl-port.4", "/dev/dfl-port.5", "/dev/dfl-fme.1"]
        assert (got.annotations, got.cdi) == ({}, ())


async def test_a_region_whose_hook_cannot_be_defined_is_not_offered(node: Node, kubelet: SimulatedKubelet) -> None:
    node.cdi.write_text("in the way")
    node.configure(devices={"fpga": {"mode": "region"}})
    async with running(node) as agent:
        await agent.until_registered([REGION])
        with agent.client(REGION) as client, pytest.raises(RefusedError, match="undefined: "):
            await client.allocate(["dfl-fme.0"])
        assert kubelet.resources()[REGION].allocatable == 0
        node.cdi.unlink()
        await kubelet.wait_for(lambda seen: seen[REGION].allocatable == 1)
        assert NAME in edits(node.cdi)


@pytest.mark.usefixtures("kubelet")
async def test_a_file_with_a_hook_that_somebody_removes_is_written_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdifiles, "RECHECK", 3600)
    node.cdi.mkdir()
    node.configure(devices={"fpga": {"mode": "region"}})
    async with running(node) as agent:
        await agent.until_healthy(REGION)
        before = edits(node.cdi)
        looks = agent.agent.publisher.cdi.tries

        def stirred() -> bool:
            (node.cdi / "other.txt").touch()
            return agent.agent.publisher.cdi.tries > looks

        await until(stirred, "a watch of the directory")
        (node.cdi / "intel-agent-fpga.json").unlink()
        await until(lambda: edits(node.cdi) == before, "file")


async def test_another_hook_is_in_the_file_before_anybody_gets_it(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"fpga": {"mode": "region"}})
    async with running(node) as agent:
        await agent.until_healthy(REGION)
        assert edits(node.cdi)[NAME]["hooks"] == [
            {"hookName": "createRuntime", "path": "/opt/intel/fpga-sw/intel-fpga-crihook"}
        ]
        node.configure(devices={"fpga": {"mode": "region", "hook": "/usr/local/bin/hook"}})
        hooks: object = [{"hookName": "createRuntime", "path": "/usr/local/bin/hook"}]
        await until(lambda: edits(node.cdi)[NAME]["hooks"] == hooks, "file")
        await agent.until_healthy(REGION)
        assert (await kubelet.admit("nlb", {REGION: 1})).cdi == (NAME,)


async def test_a_name_stays_defined_as_a_whole_while_a_pod_has_it_by_name_alone(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    """With `none`, Allocate gives the nodes; who got the name alone still finds them in the file."""
    node.configure(devices={"fpga": {"mode": "region", "cdi": "names"}})
    async with running(node) as agent:
        await agent.until_healthy(REGION)
        await kubelet.admit("nlb", {REGION: 1})
        before = edits(node.cdi)
        node.configure(devices={"fpga": {"mode": "region", "cdi": "none"}})
        await until(lambda: agent.agent.config.value.devices.fpga.cdi == "none", "reload")
        looks = agent.agent.publisher.cdi.tries
        agent.agent.publisher.cdi.look()
        await until(lambda: agent.agent.publisher.cdi.tries > looks, "look at the files")
        assert edits(node.cdi) == before


async def held_by(agent: Running, resource: str, identifier: str, reason: str) -> None:
    """See that an id of the resource cannot be had, and why."""
    with agent.client(resource) as client, pytest.raises(RefusedError, match=reason):
        await client.allocate([identifier])


async def test_a_card_waits_for_the_pods_that_have_its_ports(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"lingerSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_registered([AF, OTHER_AF, VIRTUAL_AF])
        await kubelet.admit("nlb", {OTHER_AF: 1})
        node.configure(devices={"fpga": {"mode": "region"}}, health={"lingerSeconds": 0.2})
        await agent.until_registered([REGION, VIRTUAL_REGION])
        await kubelet.wait_for(lambda seen: seen[VIRTUAL_REGION].allocatable == 1)
        # Who it is comes with kubelet's next answer.
        holder = r"held: held on other terms by (default/nlb/\S+|a pod) \(as \S+af-695\.f7d"
        await held_by(agent, REGION, "dfl-fme.0", holder)
        with pytest.raises(AdmissionError):
            await kubelet.admit("other", {REGION: 1})
        kubelet.release("nlb")
        await kubelet.wait_for(lambda seen: seen[REGION].allocatable == 1)
    assert kubelet.violations == []


@pytest.mark.parametrize("restarts", [False, True])
async def test_ports_wait_for_the_pod_that_has_their_card(
    node: Node,
    kubelet: SimulatedKubelet,
    *,
    restarts: bool,
) -> None:
    node.configure(devices={"fpga": {"mode": "region"}}, health={"lingerSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_healthy(REGION, VIRTUAL_REGION)
        await kubelet.admit("nlb", {REGION: 1})
        if not restarts:
            node.configure(health={"lingerSeconds": 0.2})
            await ports_wait(agent, kubelet)
    if restarts:
        node.configure(health={"lingerSeconds": 0.2})
        async with running(node) as agent:
            await ports_wait(agent, kubelet)
    assert kubelet.violations == []


async def ports_wait(agent: Running, kubelet: SimulatedKubelet) -> None:
    await agent.until_registered([AF, OTHER_AF, VIRTUAL_AF])
    await kubelet.wait_for(lambda seen: seen[VIRTUAL_AF].allocatable == 2)
    await held_by(agent, AF, "dfl-port.0", "held: ")
    await held_by(agent, OTHER_AF, "dfl-port.1", "held: ")
    kubelet.release("nlb")
    await kubelet.wait_for(lambda seen: seen[AF].allocatable == seen[OTHER_AF].allocatable == 1)


async def test_a_port_that_is_programmed_anew_waits_for_its_pod(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(health={"lingerSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_registered([AF, OTHER_AF])
        await kubelet.admit("nlb", {AF: 1})
        await node.change(f"{CARD}/fpga_region/region0/dfl-port.0/afu_id", "f7df405cbd7acf7222f144b0b93acd18")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[OTHER_AF].capacity == 2)
        await held_by(agent, OTHER_AF, "dfl-port.0", "held: ")
        kubelet.release("nlb")
        await kubelet.wait_for(lambda seen: seen[OTHER_AF].allocatable == 2 and seen[AF].capacity == 0)
    assert kubelet.violations == []


async def test_a_port_without_identity_is_told_of_and_not_handed_out(node: Node, kubelet: SimulatedKubelet) -> None:
    ones = "fpga.intel.com/af-695.fff.aVKNtusxV3qMNmj5-qCB9v____________________8"
    await node.change(f"{CARD}/fpga_region/region0/dfl-port.0/afu_id", "f" * 32)
    async with running(node) as agent:
        await agent.until_registered([ones])
        assert agent.health(ones) == {"dfl-port.0": "Unhealthy"}
        await held_by(agent, ones, "dfl-port.0", "unidentified: afuId: all ones")
        assert kubelet.resources()[ones].allocatable == 0


async def test_a_card_that_is_pulled_is_gone_with_its_functions(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"fpga": {"mode": "region"}}, health={"lingerSeconds": 0.2})
    async with running(node) as agent:
        await agent.until_registered([REGION, VIRTUAL_REGION])
        card = await node.unplug("/sys/devices/pci0000:ae/0000:ae:00.0/0000:af:00.0")
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[VIRTUAL_REGION].capacity == 0)
        await until(lambda: edits(node.cdi).keys() == {NAME}, "file without the card")
        await node.plug(card)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[VIRTUAL_REGION].allocatable == 1)
        assert len(edits(node.cdi)) == 2
    assert kubelet.violations == []
