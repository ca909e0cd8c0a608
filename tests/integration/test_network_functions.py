"""Network functions through the whole agent: answers, device-info files, functions that pods have."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent import linkfiles
from intel_agent.config import Devices
from intel_agent.links import Links
from intel_agent.publish import deviceinfo, grants, publisher
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.nics import OWN, PORTS, links

from .node import Node
from .running import Running, running
from .waiting import PATIENCE, until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("machine", ["nic-host"])]

DPDK, KERNEL, RDMA = "intel.com/dpdk", "intel.com/kernel", "intel.com/rdma"
POOLS = [
    {"resource": DPDK, "selectors": {"drivers": ["vfio-pci"], "pfNames": ["ens1f0"]}},
    {"resource": RDMA, "selectors": {"isRdma": True, "pfNames": ["ens1f0"]}},
    {"resource": KERNEL, "selectors": {"linkTypes": ["ether"], "drivers": ["iavf"], "pfNames": ["ens1f0#4-7"]}},
]
FIRST_KERNEL = "0000:18:01.4"
USER = "/sys/devices/pci0000:17/0000:17:00.0/0000:18:05.0"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what gives a real kubelet time to note its answers."""
    for module, name in ((deviceinfo, "RECHECK"), (publisher, "RECHECK"), (grants, "SETTLE")):
        monkeypatch.setattr(module, name, 0.1)


@pytest.fixture(autouse=True)
def configured(node: Node) -> None:
    configure(node)


def configure(node: Node, **section: object) -> None:
    others = {each.name: {"enabled": False} for each in Devices().backends}
    nic = {"pools": POOLS, **section}
    node.configure(devices={**others, "nic": nic}, health={"lingerSeconds": 0.2})


async def until_all(agent: Running, kubelet: SimulatedKubelet) -> None:
    """Wait until kubelet can hand out everything; a function is unhealthy until its file is written."""
    await agent.until_registered([DPDK, RDMA, KERNEL])
    wanted = {DPDK: 32, RDMA: 4, KERNEL: 4}
    await kubelet.wait_for(lambda seen: all(seen[name].allocatable == count for name, count in wanted.items()))


async def looked(agent: Running) -> None:
    """Look once more at network functions."""
    before = agent.agent.scanner.looks["nic"].count
    agent.hint(["nic"])
    await until(lambda: agent.agent.scanner.looks["nic"].count > before, "look")


def files(node: Node) -> dict[str, object]:
    found: dict[str, object] = {}
    for each in node.infos.glob("*.json") if node.infos.exists() else ():
        with suppress(FileNotFoundError):  # removed meanwhile
            found[each.name] = json.loads(each.read_bytes())
    return found


async def infos(node: Node) -> dict[str, object]:
    return await to_thread.run_sync(files, node)


def info(resource: str, device: str) -> str:
    return f"{resource}-{device}-device.json".replace("/", "-")


async def tell(node: Node, known: Links) -> None:
    """Have the machine's netlink say something else."""

    def told() -> None:
        shutil.rmtree(f"{node.root}{linkfiles.DIRECTORY}")
        for path, text in linkfiles.files(known):
            file = Path(f"{node.root}{path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    await to_thread.run_sync(told)


def without(known: Links, *names: str) -> Links:
    return replace(known, interfaces=tuple(each for each in known.interfaces if each.name not in names))


HOME = links(PORTS, OWN.name, OWN)


async def test_pods_get_functions_with_nodes_variables_and_files(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await until_all(agent, kubelet)
        got = await kubelet.admit("worker", {DPDK: 2})
        first, second = got.env["PCIDEVICE_INTEL_COM_DPDK"].split(",")
        told = json.loads(got.env["PCIDEVICE_INTEL_COM_DPDK_INFO"])

        assert {each.path for each in got.device_nodes} >= {
            "/dev/vfio/vfio",
            *(told[each]["vfio"]["dev-mount"] for each in (first, second)),
        }
        address = {"pci-address": first, "pf-pci-address": "0000:18:00.0"}
        assert (await infos(node))[info(DPDK, first)] == {"type": "pci", "version": "1.1.0", "pci": address}
        assert len(await infos(node)) == 40
    assert kubelet.violations == []


async def test_one_pod_can_have_functions_of_two_pools(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await until_all(agent, kubelet)
        got = await kubelet.admit("worker", {DPDK: 1, RDMA: 1})

        assert set(got.env) == {
            f"PCIDEVICE_INTEL_COM_{pool}{suffix}" for pool in ("DPDK", "RDMA") for suffix in ("", "_INFO")
        }
    assert kubelet.violations == []


@pytest.mark.parametrize("use", ["names", "both"])
async def test_functions_without_nodes_have_no_cdi_name(node: Node, kubelet: SimulatedKubelet, use: str) -> None:
    """Upstream: a pool with one such function is not offered at all by CDI."""
    configure(node, cdi=use)
    async with running(node) as agent:
        await until_all(agent, kubelet)
        user, kernel = await kubelet.admit("worker", {DPDK: 1}), await kubelet.admit("other", {KERNEL: 1})

        assert user.cdi == (f"intel.cdi.k8s.io/nic={user.env['PCIDEVICE_INTEL_COM_DPDK']}",)
        assert bool(user.device_nodes) == (use == "both")
        assert (kernel.cdi, kernel.device_nodes) == ((), ())
        assert kernel.env["PCIDEVICE_INTEL_COM_KERNEL"] in agent.health(KERNEL)
    assert kubelet.violations == []


async def test_a_file_is_there_before_kubelet_hears_and_goes_when_it_has_forgotten(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    kubelet.hold()
    async with running(node) as agent:
        await until(lambda: agent.health(DPDK).get("0000:18:05.0") == "Healthy", "listing as healthy")
        assert info(DPDK, "0000:18:05.0") in await infos(node)  # and kubelet has heard of nothing yet
        kubelet.proceed()
        await until_all(agent, kubelet)
        await node.unplug(USER)
        agent.hint(["nic"])
        await until(lambda: len(agent.health(DPDK)) == 31, "end of the list's memory")
        with anyio.fail_after(PATIENCE):
            while info(DPDK, "0000:18:05.0") in await infos(node):
                await anyio.sleep(0.02)
        assert len(await infos(node)) == 39


async def test_a_file_stays_as_long_as_a_pod_has_the_function_also_over_a_restart(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    """Upstream takes all files of a pool away when it starts and when it stops."""
    async with running(node) as agent:
        await until_all(agent, kubelet)
        got = await kubelet.admit("worker", {KERNEL: 4})
        held = got.env["PCIDEVICE_INTEL_COM_KERNEL"].split(",")
    assert len(await infos(node)) == 40  # an agent that ends takes nothing away
    configure(node, pools=POOLS[:2])
    async with running(node) as agent:
        await agent.until_registered([DPDK, RDMA])
        await until(lambda: agent.agent.publisher.infos.unsettled, "files of held functions")
        names = {info(KERNEL, each) for each in held}
        assert names <= (await infos(node)).keys()

        kubelet.release("worker")
        with anyio.fail_after(PATIENCE):
            while names & (await infos(node)).keys():
                await anyio.sleep(0.02)
        assert len(await infos(node)) == 36


async def test_a_function_that_a_pod_has_stays_in_its_pool_over_ten_looks_and_a_restart(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    """The pool selects by link type, which is out of sight with the interface."""
    async with running(node) as agent:
        await until_all(agent, kubelet)
        await kubelet.admit("worker", {KERNEL: 4})
        await tell(node, without(HOME, *(f"ens1f0v{number}" for number in range(4, 8))))
        for _ in range(10):
            await looked(agent)
            assert list(agent.health(KERNEL).values()) == ["Healthy"] * 4
    async with running(node) as agent:
        await until_all(agent, kubelet)
        await tell(node, HOME)
        kubelet.release("worker")
        agent.hint(["nic"])
        await kubelet.wait_for(lambda seen: seen[KERNEL].allocatable == 4)
    assert kubelet.violations == []


async def test_without_a_place_for_files_functions_are_not_handed_out(node: Node, kubelet: SimulatedKubelet) -> None:
    await to_thread.run_sync(node.infos.write_text, "")
    async with running(node) as agent:
        await until(lambda: set(agent.health(DPDK).values()) == {"Unhealthy"}, "Unhealthy")
        await to_thread.run_sync(node.infos.unlink)
        await until(lambda: set(agent.health(DPDK).values()) == {"Healthy"}, "Healthy")
        await until_all(agent, kubelet)
        await kubelet.admit("worker", {DPDK: 1})


async def test_what_the_node_begins_to_live_on_is_taken_from_the_list(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await until_all(agent, kubelet)
        await kubelet.wait_for(lambda seen: seen[KERNEL].allocatable == 4)
        await tell(node, links(PORTS, "ens1f0v4", OWN))
        agent.hint(["nic"])
        await kubelet.wait_for(lambda seen: seen[KERNEL].allocatable == 3)
        assert agent.health(KERNEL).get(FIRST_KERNEL, "Unhealthy") == "Unhealthy"
