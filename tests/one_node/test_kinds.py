"""A node with something of each kind: its pods find their devices, by their nodes and by CDI."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.cluster import Cluster
from e2e.kinds import FINDINGS, INFORMATION, OFFER, SECTIONS
from e2e.machine import Machine
from e2e.pods import container
from e2e.sandbox import NETWORK

from intel_agent.simulation import tree

from .kinds import found, one_pod_each, pod_name
from .release import VALUES, Release

NPU = "npu.intel.com/accel"
DEVICE_INFO = "/run/k8s.cni.cncf.io/devinfo/dp"
KINDS = ("gpu", "npu", "gaudi", "qat", "sgx", "dsa", "iaa", "dlb", "fpga", "nic")
BY_NODES = {**VALUES, "devices": SECTIONS}
BY_NAMES = {
    **VALUES,
    "devices": {kind: {**SECTIONS.get(kind, {}), "cdi": "names"} for kind in KINDS} | {"npu": {"cdi": "names"}},
}
"""With something that shows in the offer: the NPU is not shared."""


@pytest.fixture(scope="module", autouse=True)
def installed(release: Release, machine: Machine) -> Iterator[None]:
    """Install on the machine that has everything; its network is the cluster's."""
    everything = tree.parse(tree.node("everything")).entries.items()
    network = ("/netlink/", *(f"{each}/" for each in NETWORK))
    before = machine.become(tree.tree({path: each for path, each in everything if not path.startswith(network)}))
    release.install(BY_NODES)
    release.offered(OFFER)
    yield
    assert [line for line in release.log() if line["level"] in {"error", "critical"}] == []
    release.uninstall()
    machine.become(before)


def test_the_agent_is_ready_in_the_network_of_the_node(release: Release) -> None:
    release.rolled_out()
    kubelet = release.cluster.node.kubelet.pid
    assert Path(f"/proc/{release.pid}/ns/net").readlink() == Path(f"/proc/{kubelet}/ns/net").readlink()


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[None]:
    """Have a pod with a device of each resource."""
    with one_pod_each(cluster, OFFER):
        yield


def one_of_each(cluster: Cluster) -> frozenset[str]:
    """Check that a container finds one of each, and return which CDI names it was given."""
    cluster.run("all", container(dict.fromkeys(OFFER, 1)))
    found(cluster, "all", len(OFFER))
    names = cluster.node.runtime.cdi_names(cluster.pod("all").status.container.id)
    cluster.delete("all")
    return names


def test_a_container_finds_one_of_each_by_its_nodes(cluster: Cluster) -> None:
    assert one_of_each(cluster) == frozenset()


def test_a_container_finds_one_of_each_by_cdi_names(release: Release, cluster: Cluster) -> None:
    before = release.pod
    release.upgrade(BY_NAMES)
    release.offered({**OFFER, NPU: frozenset({"accel0-0"})}, within=30)
    names = one_of_each(cluster)
    assert {each.partition("=")[0] for each in names} == {f"intel.cdi.k8s.io/{kind}" for kind in KINDS}
    release.upgrade(BY_NODES)
    release.offered(OFFER, within=30)
    assert release.pod.life == before.life


@pytest.mark.parametrize("resource", FINDINGS)
@pytest.mark.usefixtures("pods")
def test_a_container_finds_its_device(cluster: Cluster, resource: str) -> None:
    found(cluster, pod_name(resource), 1)


def test_network_plugins_find_a_file_for_each_function(cluster: Cluster) -> None:
    end = "-device.json"
    files = cluster.node.namespace.file(DEVICE_INFO).glob(f"*{end}")
    told = {path.name.removesuffix(end): json.loads(path.read_bytes()) for path in files}
    assert {name: each["pci"] for name, each in told.items()} == {
        name: {"pci-address": name.rpartition("-")[2], "pf-pci-address": "0000:18:00.0", **more}
        for name, more in INFORMATION.items()
    }
