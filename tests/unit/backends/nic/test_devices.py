"""Which network functions are offered, as what, and why others are not.

Ids of cases say what the SR-IOV network device plugin does where it is wrong.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from unit.backends.nic.card import (
    FIFTH,
    FIRST,
    FOURTH,
    OTHER,
    PORT,
    SCALABLE,
    SECOND,
    THIRD,
    USER,
    found,
    ids,
    machine,
    nic,
    pool,
    rules,
    seen,
    selecting,
)

from intel_agent.errors import SysfsError
from intel_agent.inventory import Found
from intel_agent.links import LinkFact, Links
from intel_agent.model import ContainerEdits, Device, DeviceNode
from intel_agent.simulation.disk import change
from intel_agent.simulation.nics import Virtual
from intel_agent.sysfs import Host, Look

BUS = "/sys/devices/pci0000:3b"
EVERYTHING = selecting()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return machine(tmp_path, PORT, OTHER)


def node(path: str) -> DeviceNode:
    return DeviceNode(path, f"/on/host{path}", "rw")


def test_offers_a_function_of_the_kernel_without_any_node(host: Host) -> None:
    (device,) = found(selecting(pciAddresses=[FIRST]), host).devices

    assert device == Device(
        id=FIRST,
        resource="intel.com/x",
        sysfs_path=f"{BUS}/{FIRST}",
        edits=ContainerEdits(),
        cdi_name=FIRST,
        numa_nodes=(0,),
        attributes={
            "pool": "intel.com/x",
            "deviceType": "netDevice",
            "pciAddress": FIRST,
            "vendorId": "0x8086",
            "deviceId": "0x1889",
            "driver": "iavf",
            "interface": "ens1f0v0",
            "linkType": "ether",
            "pfName": "ens1f0",
            "physicalFunction": "0000:3b:00.0",
            "function": "0",
        },
    )
    assert device.exclusive


def test_offers_a_function_of_user_space_with_the_nodes_of_its_group_and_its_own(host: Host) -> None:
    (device,) = found(selecting(drivers=["vfio-pci"], pfNames=["ens1f0"]), host).devices

    assert (device.id, device.edits) == (
        THIRD,
        ContainerEdits(device_nodes=(node("/dev/vfio/vfio"), node("/dev/vfio/23"))),
    )


def test_functions_come_in_the_order_of_the_bus(host: Host) -> None:
    assert ids(EVERYTHING, host) == [FIRST, SECOND, THIRD, FOURTH, FIFTH]


def test_without_pools_nothing_is_looked_at(host: Host) -> None:
    host.links = None

    assert found(nic(), host) == Found()


def test_while_the_links_are_unknown_nothing_is_offered(host: Host) -> None:
    host.links = None

    with pytest.raises(SysfsError, match="rtnetlink: it is not known on which interfaces the node itself lives"):
        found(EVERYTHING, host)


def test_asks_netlink_for_what_selectors_need_only() -> None:
    always = {LinkFact.INTERFACES, LinkFact.ESWITCH}

    assert nic(pool(deviceType="accelerator")).link_facts == frozenset()
    assert selecting().link_facts == always
    assert selecting(isRdma=True).link_facts == {*always, LinkFact.RDMA}
    assert selecting(vdpaType="vhost").link_facts == {*always, LinkFact.VDPA}
    assert selecting(ddpProfiles=["GTP"]).link_facts == {*always, LinkFact.DDP}


def test_accelerators_do_not_need_the_links(host: Host) -> None:
    host.links = None
    for address in (FIRST, THIRD):
        change(Path(host.root), f"{BUS}/{address}/class", "0x120000")

    assert ids(nic(pool(deviceType="accelerator")), host) == [FIRST, THIRD]


@pytest.mark.parametrize("driver", ["vfio-pci", "igb_uio", "pci-stub", "pci-pf-stub", "virtio-pci"])
def test_what_has_a_driver_for_everything_is_read_whatever_else_that_has(tmp_path: Path, driver: str) -> None:
    host = machine(tmp_path, replace(PORT, virtual=[Virtual(driver), Virtual(driver)]))
    host.links = None
    change(tmp_path, f"{BUS}/{SECOND}/class", "0x120000")

    seen_there = found(nic(pool(deviceType="accelerator")), host)
    assert SECOND in {each.id for each in seen_there.devices} | {Path(each.path).name for each in seen_there.exclusions}


def test_a_device_belongs_to_the_first_pool_that_selects_it(host: Host) -> None:
    """Upstream: the same, with a warning for each later pool."""
    section = nic(
        pool(resource="intel.com/user", selectors=[{"drivers": ["igb_uio"]}, {"drivers": ["vfio-pci"]}]),
        pool(resource="intel.com/kernel", selectors={"pfNames": ["ens1f0"]}),
        pool(resource="intel.com/rest"),
    )

    assert {each.id: each.resource for each in found(section, host).devices} == {
        FIRST: "intel.com/kernel",
        SECOND: "intel.com/kernel",
        THIRD: "intel.com/user",
        FOURTH: "intel.com/rest",
        FIFTH: "intel.com/user",
    }


def test_properties_belong_to_the_selector_that_took_the_device(host: Host) -> None:
    section = nic(pool(selectors=[{"pfNames": ["ens1f0"]}, {"isRdma": True, "needVhostNet": True}]))

    assert {each.id: [node.path for node in each.edits.device_nodes] for each in found(section, host).devices} == {
        FIRST: [],
        SECOND: [],
        THIRD: ["/dev/vfio/vfio", "/dev/vfio/23"],
        FOURTH: [
            "/dev/infiniband/issm0",
            "/dev/infiniband/umad0",
            "/dev/infiniband/uverbs0",
            "/dev/infiniband/rdma_cm",
            "/dev/vhost-net",
            "/dev/net/tun",
        ],
    }


def test_numa_nodes_can_be_left_out(host: Host) -> None:
    sections = (EVERYTHING, nic(pool(excludeTopology=True)))

    assert [[each.numa_nodes for each in found(section, host).devices] for section in sections] == [
        [(0,), (0,), (0,), (1,), (1,)],
        [(), (), (), (), ()],
    ]


# --- What is not offered ---


def test_a_physical_function_with_virtual_ones_is_not_offered(host: Host) -> None:
    assert rules(EVERYTHING, host) == {
        "0000:3b:00.0": "has-virtual-functions",
        "0000:3b:00.1": "has-virtual-functions",
    }


def test_a_physical_function_without_virtual_ones_is_offered(host: Host) -> None:
    change(Path(host.root), f"{BUS}/0000:3b:00.0/sriov_numvfs", "0")

    assert "0000:3b:00.0" in ids(EVERYTHING, host)


@pytest.mark.parametrize("what", ["ens1f0v0", "ens1f1v0"])
def test_what_the_node_lives_on_is_not_offered(host: Host, what: str) -> None:
    """`Links.uplinks` has IPv6 routes, bonds and bridges in it, which upstream does not look at."""
    host.links = seen(PORT, OTHER, uplink=what)
    address = {"ens1f0v0": FIRST, "ens1f1v0": FOURTH}[what]

    assert rules(EVERYTHING, host)[address] == "uplink"
    assert address not in ids(EVERYTHING, host)


def test_virtual_functions_of_what_the_node_lives_on_are_offered(host: Host) -> None:
    host.links = seen(PORT, OTHER, uplink="ens1f0")

    assert ids(EVERYTHING, host) == [FIRST, SECOND, THIRD, FOURTH, FIFTH]


def test_a_scalable_function_that_the_node_lives_on_is_not_offered(host: Host) -> None:
    """Upstream looks at network functions only."""
    host.links = seen(PORT, OTHER, uplink="ens1f1s7")

    assert rules(nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"]})), host) == {SCALABLE: "uplink"}


def test_a_function_without_driver_is_named(host: Host) -> None:
    """Upstream: silence."""
    os.unlink(f"{host.root}{BUS}/{FIRST}/driver")

    assert rules(EVERYTHING, host)[FIRST] == "no-driver"
    assert ids(EVERYTHING, host) == [SECOND, THIRD, FOURTH, FIFTH]


def test_functions_that_share_a_group_are_no_two_devices(tmp_path: Path) -> None:
    port = replace(PORT, virtual=(USER, USER))
    group = f"/sys/kernel/iommu_groups/21/devices/{SECOND} -> ../../../../devices/pci0000:3b/{SECOND}\n"
    host = machine(tmp_path, port, more=group)

    assert rules(EVERYTHING, host)[FIRST] == "shared-iommu-group"
    assert ids(EVERYTHING, host) == [SECOND]


@pytest.mark.parametrize(("missing", "rule"), [("/dev/vhost-net", "no-vhost-net"), ("/dev/net/tun", "no-vhost-net")])
def test_vhost_net_without_its_nodes_is_named(host: Host, missing: str, rule: str) -> None:
    """Upstream offers the device and gives no nodes."""
    os.unlink(host.root + missing)

    assert rules(selecting(pfNames=["ens1f0#0"], needVhostNet=True), host) == {FIRST: rule}


@pytest.mark.parametrize("missing", ["uverbs0", "umad0"])
def test_rdma_without_its_nodes_is_named(host: Host, missing: str) -> None:
    """Upstream offers the device and gives the nodes that are there."""
    os.unlink(f"{host.root}/dev/infiniband/{missing}")

    assert rules(selecting(isRdma=True), host) == {FOURTH: "no-node"}


def test_devices_that_no_pool_selects_are_named_in_few_lines(host: Host) -> None:
    section = nic(
        pool(resource="intel.com/a", selectors={"drivers": ["vfio-pci"], "pfNames": ["ens1f1"]}),
        pool(resource="intel.com/b", selectors={"vendors": ["8086"], "drivers": ["iavf"], "linkTypes": ["infiniband"]}),
    )

    said = {each.evidence.partition(": no pool selects it; ")[::2] for each in found(section, host).exclusions}
    nearest = "{} comes nearest, whose {} it does not fit"
    assert said == {
        ("0000:3b:00.0 (8086:1592 on ice)", nearest.format("intel.com/b", "drivers")),
        ("0000:3b:00.1 (8086:1592 on ice)", nearest.format("intel.com/b", "drivers")),
        ("functions 0-1 of ens1f0 (8086:1889 on iavf)", nearest.format("intel.com/b", "linkTypes")),
        ("functions 2 of ens1f0 (8086:1889 on vfio-pci)", nearest.format("intel.com/a", "pfNames")),
        ("functions 0 of ens1f1 (8086:1889 on iavf)", nearest.format("intel.com/b", "linkTypes")),
    }
    assert {each.path.rpartition("/")[2] for each in found(section, host).exclusions} == {
        "0000:3b:00.0",
        "0000:3b:00.1",
    }


@pytest.mark.parametrize("number", [4, 6])
def test_other_classes_are_no_network_functions(host: Host, number: int) -> None:
    change(Path(host.root), f"{BUS}/{FIRST}/class", f"0x0{number}0000")

    assert FIRST not in ids(EVERYTHING, host)
    assert FIRST not in rules(EVERYTHING, host)


# --- Odd trees: one bad device is one device ---

ODD = [
    pytest.param("class", "absent", id="no class (Go: no devices at all)"),
    pytest.param("class", "directory", id="class that cannot be read (Go: no devices at all)"),
    pytest.param("vendor", "text", id="vendor that is none (Go: no devices at all)"),
    pytest.param("device", "absent", id="no device id (Go: no devices at all)"),
    pytest.param("numa_node", "text", id="numa_node that is no number (Go: no topology)"),
    pytest.param("physfn", "text", id="physfn that is no link"),
    pytest.param("driver", "text", id="driver that is no link"),
]


@pytest.mark.parametrize(("name", "damage"), ODD)
def test_an_odd_function_is_named_and_harms_no_other(host: Host, name: str, damage: str) -> None:
    before = found(selecting(vendors=["8086"], pfNames=["ens1f0", "ens1f1"]), host)
    path = Path(f"{host.root}{BUS}/{SECOND}/{name}")
    path.unlink()
    if damage == "directory":
        path.mkdir()
    if damage == "text":
        path.write_text("odd\n")
    after = found(selecting(vendors=["8086"], pfNames=["ens1f0", "ens1f1"]), host)

    assert [each for each in after.devices if each.id != SECOND] == [
        each for each in before.devices if each.id != SECOND
    ]
    assert SECOND not in [each.id for each in after.devices]
    assert [each.path for each in after.exclusions if each.rule == "unreadable"] == [f"{BUS}/{SECOND}"]
    assert [each.id for each in after.after(before).devices if each.faults] == [SECOND]


def test_something_else_on_the_bus_harms_no_device(host: Host) -> None:
    """Upstream: no devices at all."""
    Path(host.root, "sys/bus/pci/devices/odd").mkdir()
    Path(host.root, "sys/bus/pci/devices/0000:ff:00.0").mkdir()

    assert ids(EVERYTHING, host) == [FIRST, SECOND, THIRD, FOURTH, FIFTH]
    assert rules(EVERYTHING, host)["0000:ff:00.0"] == "unreadable"


def test_a_gap_in_the_numbers_hides_no_function(host: Host) -> None:
    """Upstream looks at as many numbers as there are functions, from 0 on."""
    physical = f"{host.root}{BUS}/0000:3b:00.0"
    os.rename(f"{physical}/virtfn2", f"{physical}/virtfn9")
    os.unlink(f"{physical}/virtfn0")

    assert ids(selecting(pfNames=["ens1f0#9"]), host) == [THIRD]


def test_what_is_in_quarantine_is_not_touched(host: Host) -> None:
    os.unlink(f"{host.root}{BUS}/{FIRST}/class")
    os.mkfifo(f"{host.root}{BUS}/{FIRST}/class")  # whoever opens it waits for ever
    host = host.looking(Look(quarantined={f"{BUS}/{FIRST}": "a read has not come back for 5 s"}))

    assert ids(EVERYTHING, host) == [SECOND, THIRD, FOURTH, FIFTH]
    assert rules(EVERYTHING, host)[FIRST] == "unreadable"


def test_a_bus_without_devices_has_none(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    host.links = Links()

    assert found(EVERYTHING, host) == Found()


# --- Scalable functions ---

SCALABLE_FUNCTIONS = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"]}))


def test_offers_a_scalable_function_by_its_name(host: Host) -> None:
    (device,) = found(SCALABLE_FUNCTIONS, host).devices

    assert (device.id, device.cdi_name, device.sysfs_path) == (
        SCALABLE,
        SCALABLE,
        f"{BUS}/0000:3b:00.1/{SCALABLE}",
    )
    assert device.numa_nodes == (1,)
    assert device.attributes == {
        "pool": "intel.com/x",
        "deviceType": "auxNetDevice",
        "pciAddress": "0000:3b:00.1",
        "vendorId": "0x8086",
        "deviceId": "0x1592",
        "driver": "ice",
        "interface": "ens1f1s7",
        "linkType": "ether",
        "pfName": "ens1f1",
        "physicalFunction": "0000:3b:00.1",
        "function": "7",
    }


def test_a_scalable_function_without_number_is_named(host: Host) -> None:
    """Upstream: silence."""
    os.unlink(f"{host.root}{BUS}/0000:3b:00.1/{SCALABLE}/sfnum")

    assert rules(SCALABLE_FUNCTIONS, host) == {SCALABLE: "no-number"}


def test_scalable_functions_of_other_cards_are_none(host: Host) -> None:
    change(Path(host.root), f"{BUS}/0000:3b:00.1/class", "0x120000")

    assert found(SCALABLE_FUNCTIONS, host) == Found()


def test_other_auxiliary_devices_are_no_scalable_functions(host: Host) -> None:
    for name in ("ice.rdma.0", "ice.sf.x", "ice.sf", "a.b.sf.1"):
        Path(host.root, "sys/bus/auxiliary/devices", name).symlink_to("../../../devices/odd")

    assert ids(SCALABLE_FUNCTIONS, host) == [SCALABLE]
    assert rules(SCALABLE_FUNCTIONS, host) == {}
