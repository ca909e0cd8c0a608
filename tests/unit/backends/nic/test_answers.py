"""What containers get with devices, and what device-info files say.

Ids of cases say what the SR-IOV network device plugin does where it is wrong.
"""

import json
from collections.abc import Iterable
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
    changed,
    found,
    machine,
    nic,
    pool,
    selecting,
)

from intel_agent.backends.nic import Nic
from intel_agent.errors import EditsError
from intel_agent.links import Links
from intel_agent.model import ContainerEdits, DeviceNode
from intel_agent.simulation.nics import Port, Virtual
from intel_agent.sysfs import Host

BUS = "/sys/devices/pci0000:3b"
VARIABLE = "PCIDEVICE_INTEL_COM_X"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return machine(tmp_path, PORT, OTHER)


def links(host: Host) -> Links:
    assert host.links is not None
    return host.links


def answer(section: Nic, host: Host, *ids: str) -> ContainerEdits:
    """Return what a container gets that asks for these devices; of all without any."""
    devices = [each for each in found(section, host).devices if each.id in ids or not ids]
    return section.allocate(devices)


def paths(edits: ContainerEdits) -> list[str]:
    return [each.path for each in edits.device_nodes]


def told(edits: ContainerEdits, variable: str = VARIABLE) -> dict[str, dict[str, dict[str, str]]]:
    told: dict[str, dict[str, dict[str, str]]] = json.loads(edits.env[f"{variable}_INFO"])
    return told


def test_the_kernels_functions_are_told_by_variables_only(host: Host) -> None:
    assert answer(selecting(drivers=["iavf"], pfNames=["ens1f0"]), host) == ContainerEdits(
        env={
            VARIABLE: f"{FIRST},{SECOND}",
            f"{VARIABLE}_INFO": f'{{"{FIRST}":{{"generic":{{"deviceID":"{FIRST}"}}}},'
            f'"{SECOND}":{{"generic":{{"deviceID":"{SECOND}"}}}}}}',
        }
    )


def test_nothing_is_given_to_who_asks_for_nothing() -> None:
    assert selecting().allocate([]) == ContainerEdits()


def test_user_space_gets_its_groups_and_what_iommufd_has(host: Host) -> None:
    """Upstream knows groups only."""
    Path(host.root, "dev/iommu").write_text("c 10:124\n")
    edits = answer(selecting(drivers=["vfio-pci"]), host)

    assert edits.device_nodes == (
        DeviceNode("/dev/vfio/vfio", "/on/host/dev/vfio/vfio"),
        DeviceNode("/dev/vfio/23", "/on/host/dev/vfio/23"),
        DeviceNode("/dev/vfio/devices/vfio23", "/on/host/dev/vfio/devices/vfio23"),
        DeviceNode("/dev/iommu", "/on/host/dev/iommu"),
        DeviceNode("/dev/vfio/62", "/on/host/dev/vfio/62"),
        DeviceNode("/dev/vfio/devices/vfio62", "/on/host/dev/vfio/devices/vfio62"),
    )
    assert told(edits)[FIFTH] == {
        "generic": {"deviceID": FIFTH},
        "vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/62"},
    }


def test_without_an_iommu_the_container_finds_the_group_under_its_number(host: Host) -> None:
    Path(f"{host.root}/sys/kernel/iommu_groups/23/name").write_text("vfio-noiommu\n")
    Path(f"{host.root}/dev/vfio/23").rename(f"{host.root}/dev/vfio/noiommu-23")
    edits = answer(selecting(), host, THIRD)

    assert DeviceNode("/dev/vfio/23", "/on/host/dev/vfio/noiommu-23", origin="/dev/vfio/noiommu-23") in (
        edits.device_nodes
    )
    assert told(edits)[THIRD]["vfio"] == {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/23"}


def test_a_kernel_without_groups_gives_the_function_itself(host: Host) -> None:
    Path(host.root, "dev/iommu").write_text("c 10:124\n")
    for name in ("vfio", "23"):
        Path(f"{host.root}/dev/vfio/{name}").unlink()
    edits = answer(selecting(), host, THIRD)

    assert paths(edits) == ["/dev/vfio/devices/vfio23", "/dev/iommu"]
    assert told(edits)[THIRD]["vfio"] == {"mount": "/dev/iommu", "dev-mount": "/dev/vfio/devices/vfio23"}


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("igb_uio", id="igb_uio (Go: no mount in the first answer)"),
        pytest.param("uio_pci_generic", id="uio_pci_generic (Go: neither node nor mount)"),
    ],
)
def test_uio_gives_its_node_from_the_first_answer_on(tmp_path: Path, driver: str) -> None:
    port = replace(PORT, virtual=(Virtual(driver),))
    host = machine(tmp_path, port, more=f"{BUS}/{FIRST}/uio/uio5/name = x\n/dev/uio5 c 243:5\n")
    edits = answer(selecting(), host)

    assert paths(edits) == ["/dev/uio5"]
    assert told(edits) == {FIRST: {"generic": {"deviceID": FIRST}, "uio": {"mount": "/dev/uio5"}}}


def test_rdma_devices_bring_their_nodes(tmp_path: Path) -> None:
    host = machine(tmp_path, replace(OTHER, virtual=(Virtual(rdma=0), Virtual(rdma=1))))
    edits = answer(selecting(isRdma=True), host)

    assert paths(edits) == [
        "/dev/infiniband/issm0",
        "/dev/infiniband/umad0",
        "/dev/infiniband/uverbs0",
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/issm1",
        "/dev/infiniband/umad1",
        "/dev/infiniband/uverbs1",
    ]
    assert told(edits)[FIFTH]["rdma"] == {
        "issm": "/dev/infiniband/issm1",
        "umad": "/dev/infiniband/umad1",
        "uverbs": "/dev/infiniband/uverbs1",
        "rdma_cm": "/dev/infiniband/rdma_cm",
        "rdma_dev": "irdma1",
    }


def test_of_several_rdma_devices_all_nodes_are_given_and_the_last_ones_are_told(host: Host) -> None:
    for kind, node, minor in (("infiniband_verbs", "uverbs1", 193), ("infiniband_cm", "ucm1", 225)):
        own = Path(f"{host.root}{BUS}/{FOURTH}/{kind}/{node}")
        own.mkdir(parents=True)
        (own / "ibdev").write_text("irdma1\n")
        Path(f"{host.root}/dev/infiniband/{node}").write_text(f"c 231:{minor}\n")
    Path(f"{host.root}{BUS}/{FOURTH}/infiniband/irdma1").mkdir()
    edits = answer(selecting(isRdma=True), host)

    assert paths(edits) == [
        "/dev/infiniband/issm0",
        "/dev/infiniband/umad0",
        "/dev/infiniband/uverbs0",
        "/dev/infiniband/ucm1",
        "/dev/infiniband/uverbs1",
        "/dev/infiniband/rdma_cm",
    ]
    assert told(edits)[FOURTH]["rdma"] == {
        "issm": "/dev/infiniband/issm0",
        "umad": "/dev/infiniband/umad0",
        "uverbs": "/dev/infiniband/uverbs1",
        "rdma_cm": "/dev/infiniband/rdma_cm",
        "rdma_dev": "irdma0",
    }


def test_an_rdma_device_that_is_not_back_yet_is_not_given(host: Host) -> None:
    """Upstream gives the function without any of its nodes."""
    host.links = replace(links(host), rdma_enabled={f"pci/{FIRST}": True})

    with pytest.raises(EditsError, match=f"the RDMA device of {FIRST} is not back in the host's network namespace yet"):
        answer(selecting(isRdma=True), host, FIRST)


def test_vhost_net_brings_two_nodes(host: Host) -> None:
    edits = answer(selecting(needVhostNet=True), host, FIRST, SECOND)

    assert paths(edits) == ["/dev/vhost-net", "/dev/net/tun"]
    assert told(edits)[SECOND]["vhost"] == {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}


def vdpa(host: Host, driver: str) -> None:
    device = Path(f"{host.root}/sys/bus/vdpa/devices/vdpa0")
    device.mkdir(parents=True)
    (device / "driver").symlink_to(f"../../drivers/{driver}")
    (device / "vhost-vdpa-0").mkdir()
    Path(host.root, "dev/vhost-vdpa-0").write_text("c 511:0\n")
    host.links = replace(links(host), vdpa={f"pci/{FIRST}": "vdpa0"})


def test_a_vhost_device_gives_its_node_from_the_first_answer_on(host: Host) -> None:
    """Upstream: no mount in the first answer."""
    vdpa(host, "vhost_vdpa")
    edits = answer(selecting(vdpaType="vhost"), host)

    assert paths(edits) == ["/dev/vhost-vdpa-0"]
    assert told(edits) == {FIRST: {"generic": {"deviceID": FIRST}, "vdpa": {"mount": "/dev/vhost-vdpa-0"}}}


def test_a_virtio_device_gives_no_node(host: Host) -> None:
    vdpa(host, "virtio_vdpa")
    edits = answer(selecting(vdpaType="virtio"), host)

    assert paths(edits) == []
    assert told(edits) == {FIRST: {"generic": {"deviceID": FIRST}, "vdpa": {}}}


def test_additional_info_is_told_that_of_the_device_on_top(host: Host) -> None:
    section = nic(pool(additionalInfo={"*": {"zone": "a", "rate": "1"}, FIRST: {"rate": "2"}, FIFTH: {"x": "y"}}))
    edits = answer(section, host, FIRST, SECOND)

    assert {each: values["extra"] for each, values in told(edits).items()} == {
        FIRST: {"zone": "a", "rate": "2"},
        SECOND: {"zone": "a", "rate": "1"},
    }


def test_additional_info_of_a_scalable_function_is_by_its_cards_address(host: Host) -> None:
    section = nic(
        pool(
            deviceType="auxNetDevice",
            selectors={"auxTypes": ["sf"]},
            additionalInfo={"0000:3b:00.1": {"a": "b"}, SCALABLE: {"c": "d"}},
        )
    )

    assert told(answer(section, host))[SCALABLE] == {"generic": {"deviceID": SCALABLE}, "extra": {"a": "b"}}


@pytest.mark.parametrize(
    ("resource", "variable"),
    [
        ("intel.com/sriov-net", "PCIDEVICE_INTEL_COM_SRIOV-NET"),
        ("acme.example.com/10G_x", "PCIDEVICE_ACME_EXAMPLE_COM_10G_X"),
    ],
)
def test_variables_are_called_after_the_resource(host: Host, resource: str, variable: str) -> None:
    edits = answer(nic(pool(resource=resource)), host, FIRST)

    assert list(edits.env) == [variable, f"{variable}_INFO"]


def test_ids_come_in_the_order_of_the_bus_however_they_are_asked_for(tmp_path: Path) -> None:
    """Kubelet keeps ids in a set, so the order of a request means nothing; upstream repeats it."""
    port = Port(PORT.directory, "ens1f0", 10, 20, virtual=[Virtual()] * 80)
    section, host = selecting(), machine(tmp_path, port)
    devices = found(section, host).devices
    ids = ",".join(each.id for each in devices)

    assert section.allocate(devices).env[VARIABLE] == section.allocate(devices[::-1]).env[VARIABLE] == ids
    assert "0000:3b:02.0,0000:3b:02.1" in ids
    assert ids.index("0000:3b:09.7") < ids.index("0000:3b:0a.0")


def test_one_container_can_have_devices_of_two_pools(host: Host) -> None:
    section = nic(pool(resource="intel.com/a", selectors={"drivers": ["vfio-pci"]}), pool(resource="intel.com/b"))
    devices = found(section, host).devices
    answers = [
        section.allocate([each for each in devices if each.resource == name]) for name in ("intel.com/a", "intel.com/b")
    ]
    both = answers[0] + answers[1]

    assert both.env["PCIDEVICE_INTEL_COM_A"] == f"{THIRD},{FIFTH}"
    assert both.env["PCIDEVICE_INTEL_COM_B"] == f"{FIRST},{SECOND},{FOURTH}"


def test_a_pool_that_is_gone_gives_nothing(host: Host) -> None:
    devices = found(selecting(), host).devices

    with pytest.raises(EditsError, match=r"intel\.com/x is no pool of devices\.nic any more"):
        nic(pool(resource="intel.com/y")).allocate(devices)


# --- Device-info files ---


def files(section: Nic, host: Host, ids: Iterable[str]) -> list[object]:
    return [section.device_info(each) for each in found(section, host).devices if each.id in set(ids)]


def test_a_file_says_where_the_function_is(host: Host) -> None:
    assert files(selecting(), host, [THIRD]) == [
        {"type": "pci", "version": "1.1.0", "pci": {"pci-address": THIRD, "pf-pci-address": "0000:3b:00.0"}}
    ]


def test_a_file_says_what_else_is_known(host: Host) -> None:
    """Upstream never says representor-device, vhost-net and pf-pci-address."""
    known = links(host)
    own = next(each for each in known.interfaces if each.name == "ens1f1")
    uplink = replace(own, switch_id="cd", port_name="p1")
    stands_for = replace(own, index=90, name="ens1f1r0", switch_id="cd", port_name="pf1vf0")
    another = replace(own, index=91, name="ens1f0r0", switch_id="ab", port_name="pf1vf0")
    others = [each for each in known.interfaces if each is not own]
    host.links = replace(
        changed(known, [another, stands_for, uplink, *others]), eswitch_modes={"pci/0000:3b:00.1": "switchdev"}
    )

    assert files(selecting(isRdma=True, needVhostNet=True), host, [FOURTH]) == [
        {
            "type": "pci",
            "version": "1.1.0",
            "pci": {
                "pci-address": FOURTH,
                "pf-pci-address": "0000:3b:00.1",
                "representor-device": "ens1f1r0",
                "rdma-device": "irdma0",
                "vhost-net": "/dev/vhost-net",
            },
        }
    ]


@pytest.mark.parametrize(
    ("driver", "wanted", "path"),
    [("vhost_vdpa", "vhost", {"path": "/dev/vhost-vdpa-0"}), ("virtio_vdpa", "virtio", {})],
)
def test_a_file_says_which_vdpa_device_it_is(host: Host, driver: str, wanted: str, path: dict[str, str]) -> None:
    vdpa(host, driver)

    assert files(selecting(vdpaType=wanted), host, [FIRST]) == [
        {
            "type": "vdpa",
            "version": "1.1.0",
            "vdpa": {
                "parent-device": "vdpa0",
                "driver": wanted,
                **path,
                "pci-address": FIRST,
                "pf-pci-address": "0000:3b:00.0",
            },
        }
    ]


def test_other_types_have_no_file(host: Host) -> None:
    section = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"]}))

    assert files(section, host, [SCALABLE]) == [None]
