"""Whole machines: sound ones give no findings, and their ids are good names."""

import re
from dataclasses import replace

import msgspec
import pytest

from intel_agent.backends import Backend
from intel_agent.backends.dlb import Dlb
from intel_agent.backends.dsa import Dsa
from intel_agent.backends.fpga import Fpga
from intel_agent.backends.gaudi import Gaudi
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.iaa import Iaa
from intel_agent.backends.nic import Nic
from intel_agent.backends.nic.pools import Pool
from intel_agent.backends.nic.selectors import Selector
from intel_agent.backends.npu import Npu
from intel_agent.backends.qat import Qat
from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found, Inventory
from intel_agent.model import ContainerEdits
from intel_agent.rules import Match, Rule
from intel_agent.simulation.nics import PORTS, links
from intel_agent.simulation.tree import names, node
from intel_agent.sysfs import Host

BACKENDS: tuple[Backend, ...] = (
    Gpu(enable_monitoring=True, shared_dev_num=10),
    Npu(shared_dev_num=10),
    Sgx(),
    Dsa(shared_dev_num=10),
    Iaa(),
    Dlb(),
    Fpga(),
    Gaudi(),
    Nic(
        pools=(
            Pool(resource="intel.com/rdma", selectors=Selector(is_rdma=True)),
            Pool(resource="intel.com/any", selectors=Selector(need_vhost_net=True)),
            Pool(resource="intel.com/sf", device_type="auxNetDevice", selectors=Selector(aux_types=("sf",))),
        )
    ),
    Qat(),
)
CONFIGURED = {"has-virtual-functions", "no-virtual-functions", "queue-type", "not-enabled", "uplink"}
"""Rules that speak of an administrator's choice, not of something odd."""


def seen(host: Host) -> Inventory:
    host.links = links(PORTS, "eno1")
    return Inventory.of({backend.name: Found.of(backend.discover(host)) for backend in BACKENDS})


@pytest.mark.parametrize("tree", [pytest.param(node(name), id=name) for name in names()])
def test_a_sound_machine_gives_no_findings(host: Host) -> None:
    inventory = seen(host)

    assert {each.rule for each in inventory.exclusions} <= CONFIGURED
    assert [each for each in inventory.devices if each.faults] == []


@pytest.mark.parametrize("tree", [pytest.param(node(name), id=name) for name in names()])
def test_every_id_is_short_and_plain(host: Host) -> None:
    """Kubelet takes any id, CDI these letters, and a label has room for 63."""
    inventory = seen(host)

    for device in inventory.devices:
        assert all(re.fullmatch(r"[a-zA-Z0-9.:_/-]{1,63}", each) for each in device.ids)
        assert re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9._:-]*[a-zA-Z0-9])?", device.cdi_name)


@pytest.mark.parametrize("tree", [node("bench")])
def test_the_machine_of_the_benchmarks_has_what_they_count(host: Host) -> None:
    inventory = seen(host)
    ids = {name: sum(len(each.ids) for each in devices) for name, devices in inventory.resources.items()}

    assert sum(count for name, count in ids.items() if name in {"gpu.intel.com/i915", "gpu.intel.com/xe"}) == 80
    assert (ids["sgx.intel.com/enclave"], ids["sgx.intel.com/provision"]) == (110, 110)
    assert len(inventory.found["dsa"].devices) == len(inventory.found["iaa"].devices) == 16


@pytest.mark.parametrize("tree", [node("qat")])
def test_the_machine_with_qat_has_functions_of_both_sockets(host: Host) -> None:
    found = Found.of(Qat().discover(host))

    assert [(each.resource, each.numa_nodes, each.attributes["physicalFunction"]) for each in found.devices] == [
        *[("qat.intel.com/cy", (0,), "0000:6b:00.0")] * 8,
        *[("qat.intel.com/dc", (1,), "0000:e8:00.0")] * 8,
    ]
    assert [(each.path.rpartition("/")[2], each.rule) for each in found.exclusions] == [
        ("0000:b1:00.0", "no-virtual-functions")
    ]


@pytest.mark.parametrize("tree", [node("gpu-server")])
def test_the_gpu_server_has_cards_of_each_family_and_functions_of_both_sorts(host: Host) -> None:
    devices = Found.of(Gpu().discover(host)).devices

    assert [(each.id, each.attributes.get("model"), each.attributes.get("memoryMib")) for each in devices] == [
        ("card1", "Data Center GPU Flex 170", "14336"),
        ("card2", "Data Center GPU Flex 140", "6144"),
        ("card3", "Arc Pro B60", "24576"),
        ("card5", "Arc Pro B50", None),
        ("card6", "Arc Pro B50", None),
        ("card7", "Data Center GPU Max 1100", None),
        ("card8", "Arc B580", "12288"),
        ("0000:ab:00.1", "Arc Pro B70", None),
        ("0000:ab:00.2", "Arc Pro B70", None),
        ("0000:ab:00.3", "Arc Pro B70", None),
    ]


@pytest.mark.parametrize("tree", [pytest.param(node(name), id=name) for name in names()])
def test_a_container_gets_the_same_whatever_rules_call_the_resource(host: Host) -> None:
    rules = (Rule(match=Match(resource="*"), resource="renamed"),)
    for backend in BACKENDS:
        if isinstance(backend, Nic):  # its resources are its pools
            continue
        found = Found.of(backend.discover(host)).devices
        renamed = msgspec.structs.replace(backend, rules=rules).ruled(Found(found)).devices

        assert {each.resource for each in renamed} <= {f"{backend.domain()}/renamed"}
        assert [unnamed(backend.allocate([each])) for each in renamed] == [
            unnamed(backend.allocate([each])) for each in found
        ]


def unnamed(edits: ContainerEdits) -> ContainerEdits:
    """Return the edits without names of variables, which may tell the resource."""
    return replace(edits, env={str(place): value for place, value in enumerate(edits.env.values())})


@pytest.mark.parametrize("tree", [node("nic-host")])
def test_the_host_of_network_functions_offers_all_of_them(host: Host) -> None:
    inventory = seen(host)
    counts = {name: len(devices) for name, devices in inventory.resources.items()}

    assert counts == {"intel.com/rdma": 8, "intel.com/any": 121, "intel.com/sf": 1}
    assert "0000:02:00.0" in [each.id for each in inventory.devices]  # nobody said that the node lives on it
