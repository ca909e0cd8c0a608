"""Functions of GPUs that VFIO gives to virtual machines."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, Exclusion, Health
from intel_agent.simulation.disk import add, change, materialise, remove
from intel_agent.simulation.machines import Function, at, link, vfio
from intel_agent.simulation.machines import Gpu as Card
from intel_agent.simulation.tree import parse
from intel_agent.sysfs import Host, Look

from .cards import AGAIN, found, ids, node, rules

PHYSICAL = at("0000:bb:00.0", "0000:ba:00.0")
FIRST, SECOND = (at(f"0000:bb:00.{number}", "0000:ba:00.0") for number in (1, 2))
RESOURCE = "gpu.intel.com/vfio"


def text(*parts: Iterable[str]) -> str:
    return "".join(f"{line}\n" for part in parts for line in part)


def function(
    directory: str, group: int | None = 51, *, driver: str | None = "vfio-pci", physical: str | None = PHYSICAL
) -> str:
    """Return the tree of a function, with its nodes where VFIO has it."""
    made = Function(directory, "8086:e212", driver, "030000", 1, group, physical=physical)
    nodes = made.user_space(group) if group is not None and driver is not None and "vfio" in driver else ()
    return text(made.lines(), nodes)


def physical(driver: str | None = "xe") -> str:
    """Return the tree of the physical function. Its card is another test's affair."""
    made = Function(PHYSICAL, "8086:e212", driver, "030000", 1, 50, total_virtual=24, virtual=(FIRST, SECOND))
    return text(made.lines())


BOTH = physical() + function(FIRST, 51) + function(SECOND, 52) + text(vfio())


def device(address: str, directory: str, group: int, **attributes: str) -> Device:
    return Device(
        id=address,
        resource=RESOURCE,
        sysfs_path=directory,
        edits=ContainerEdits(
            device_nodes=(
                node(f"vfio/{group}"),
                node("vfio/vfio"),
                node(f"vfio/devices/vfio{group}"),
                node("iommu"),
            )
        ),
        cdi_name=address,
        numa_nodes=(1,),
        attributes={
            "pciAddress": address,
            "deviceId": "0xe212",
            "driver": "vfio-pci",
            "model": "Arc Pro B50",
            "family": "Arc B-Series",
            "discrete": "true",
            "iommuGroup": str(group),
            **attributes,
        },
    )


@pytest.mark.parametrize("tree", [BOTH])
def test_offers_virtual_functions_each_to_one_machine(host: Host) -> None:
    assert found(host, Gpu(shared_dev_num=10)).devices == (
        device("0000:bb:00.1", FIRST, 51, physicalFunction="0000:bb:00.0"),
        device("0000:bb:00.2", SECOND, 52, physicalFunction="0000:bb:00.0"),
    )


@pytest.mark.parametrize("tree", [BOTH])
def test_the_id_is_the_address_and_is_not_shared(host: Host) -> None:
    assert [each.ids for each in found(host, Gpu(shared_dev_num=10)).devices] == [("0000:bb:00.1",), ("0000:bb:00.2",)]


@pytest.mark.parametrize("tree", [physical() + function(FIRST, 51, driver="xe-vfio-pci") + text(vfio())])
def test_the_driver_that_can_migrate_is_as_good(host: Host) -> None:
    expected = device("0000:bb:00.1", FIRST, 51, driver="xe-vfio-pci", physicalFunction="0000:bb:00.0")

    assert found(host).devices == (expected,)


@pytest.mark.parametrize("tree", [function(FIRST, physical=None) + text(vfio())])
def test_a_whole_card_is_offered_like_a_virtual_function(host: Host) -> None:
    assert found(host) == Found((device("0000:bb:00.1", FIRST, 51),))


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(
            text(
                Card(1, FIRST, "vfio-pci", "8086:e212", 1, 51).lines(),
                Function(FIRST, "8086:e212", "vfio-pci", "030000", 1, 51).user_space(51),
                vfio(),
            ),
            id="nodes in /dev/dri still there (Go: a resource gpu.intel.com/vfio-pci)",
        )
    ],
)
def test_what_vfio_has_is_no_card(host: Host) -> None:
    assert [(each.id, each.resource) for each in found(host, Gpu(enable_monitoring=True)).devices] == [
        ("0000:bb:00.1", RESOURCE)
    ]


@pytest.mark.parametrize("tree", [BOTH + text(Card(0, at("0000:3b:00.0", "0000:3a:00.0"), group=20).lines())])
def test_cards_and_functions_are_side_by_side_and_only_cards_are_looked_at(host: Host) -> None:
    seen = found(host, Gpu(enable_monitoring=True))

    assert [(each.resource, each.id) for each in seen.devices] == [
        ("gpu.intel.com/xe", "card0"),
        (RESOURCE, "0000:bb:00.1"),
        (RESOURCE, "0000:bb:00.2"),
        ("gpu.intel.com/monitoring", "all"),
    ]
    assert [each.path for each in seen.devices[-1].edits.device_nodes] == ["/dev/dri/card0", "/dev/dri/renderD128"]
    assert rules(host) == {PHYSICAL: "no-card"}


@pytest.mark.parametrize("tree", [physical() + function(at("10000:bb:00.1"), physical=None) + text(vfio())])
def test_a_domain_may_have_five_digits(host: Host) -> None:
    """The library of the existing plugins looks for four only."""
    assert ids(host) == ["10000:bb:00.1"]


SHARED = text(
    [
        link("/sys/kernel/iommu_groups/51/devices/0000:bc:00.0", at("0000:bc:00.0")),
        f"{at('0000:bc:00.0')}/class = 0x040300",
    ]
)


@pytest.mark.parametrize(
    ("tree", "rule", "evidence", "remedy"),
    [
        pytest.param(
            physical() + function(FIRST, None) + text(vfio()),
            "no-iommu-group",
            "it has no iommu_group",
            "switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)",
            id="no group",
        ),
        pytest.param(
            physical() + function(FIRST) + text(vfio()) + SHARED,
            "shared-iommu-group",
            "IOMMU group 51 has 0000:bc:00.0, too",
            "whoever gets one gets all of them: put the card into another slot, or switch ACS on in the BIOS",
            id="shared group",
        ),
        pytest.param(
            physical() + function(FIRST) + text(vfio()) + "/sys/kernel/iommu_groups/51/name = vfio-noiommu",
            "no-iommu",
            "group 51 was made without an IOMMU",
            f"QEMU takes no such group: switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on); {AGAIN}",
            id="a group without IOMMU",
        ),
        pytest.param(
            physical() + function(FIRST),
            "no-node",
            "neither /dev/vfio/51 with /dev/vfio/vfio nor a cdev is there",
            f"check that the agent sees the whole /dev of the host; {AGAIN}",
            id="no nodes",
        ),
        pytest.param(
            physical() + function(FIRST, driver=None),
            "driver",
            "no driver",
            f"bind it to i915 or xe for containers, to vfio-pci or xe-vfio-pci for virtual machines; {AGAIN}",
            id="no driver",
        ),
        pytest.param(
            physical() + function(FIRST, driver="igb_uio"),
            "driver",
            "driver 'igb_uio'",
            f"bind it to i915 or xe for containers, to vfio-pci or xe-vfio-pci for virtual machines; {AGAIN}",
            id="a driver for something else",
        ),
        pytest.param(
            physical("vfio-pci") + function(FIRST) + text(vfio()),
            "physical-function",
            "its physical function 0000:bb:00.0 has driver 'vfio-pci'",
            f"bind that to i915 or xe: their driver is what gives virtual functions their share of the card; {AGAIN}",
            id="physical function in a virtual machine",
        ),
        pytest.param(
            physical(None) + function(FIRST) + text(vfio()),
            "physical-function",
            "its physical function 0000:bb:00.0 has no driver",
            f"bind that to i915 or xe: their driver is what gives virtual functions their share of the card; {AGAIN}",
            id="physical function without driver",
        ),
    ],
)
def test_names_a_function_that_no_machine_can_have(host: Host, rule: str, evidence: str, remedy: str) -> None:
    assert Exclusion(FIRST, rule, evidence, remedy) in found(host).exclusions
    assert found(host).devices == ()


@pytest.mark.parametrize("tree", [physical("vfio-pci") + function(FIRST) + text(vfio())])
def test_a_physical_function_goes_to_no_machine_while_it_has_virtual_ones(host: Host) -> None:
    assert Exclusion(
        PHYSICAL,
        "has-virtual-functions",
        "2 virtual functions are enabled",
        f"use those, or write 0 to its sriov_numvfs; {AGAIN}",
    ) in (found(host).exclusions)


@pytest.mark.parametrize("tree", [BOTH])
@pytest.mark.parametrize(
    ("gpu", "rule"), [(Gpu(deny_ids=("0xe212",)), "denied"), (Gpu(allow_ids=("0x56c0",)), "not-allowed")]
)
def test_the_lists_choose_functions_too(host: Host, gpu: Gpu, rule: str) -> None:
    assert ids(host, gpu) == []
    assert rules(host, gpu) == {PHYSICAL: "no-card", FIRST: rule, SECOND: rule}


@pytest.mark.parametrize("tree", [BOTH])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_container_is_told_the_addresses_as_kubevirt_reads_them(host: Host, *, reverse: bool) -> None:
    devices = sorted(found(host).devices, key=lambda each: each.id, reverse=reverse)
    edits = Gpu().allocate(devices)

    assert dict(edits.env) == {"PCI_RESOURCE_GPU_INTEL_COM_VFIO": "0000:bb:00.1,0000:bb:00.2"}
    assert sorted(each.path for each in edits.device_nodes) == [
        "/dev/iommu",
        "/dev/vfio/51",
        "/dev/vfio/52",
        "/dev/vfio/devices/vfio51",
        "/dev/vfio/devices/vfio52",
        "/dev/vfio/vfio",
    ]


@pytest.mark.parametrize("tree", [BOTH])
def test_a_container_is_told_its_own_addresses_only(host: Host) -> None:
    assert [dict(Gpu().allocate([each]).env) for each in found(host).devices] == [
        {"PCI_RESOURCE_GPU_INTEL_COM_VFIO": "0000:bb:00.1"},
        {"PCI_RESOURCE_GPU_INTEL_COM_VFIO": "0000:bb:00.2"},
    ]


@pytest.mark.parametrize("tree", [text(Card(0, FIRST).lines())])
def test_a_container_with_a_card_is_told_nothing(host: Host) -> None:
    assert Gpu().allocate(found(host).devices).env == {}


def test_there_is_no_preference_among_functions() -> None:
    """Kubelet knows what is near; a policy for shares has nothing to say of functions."""
    assert Gpu(preferred_allocation_policy="packed").policy(RESOURCE) is None


def test_a_card_becomes_a_function_and_comes_back(tmp_path: Path) -> None:
    card = text(Card(1, FIRST, "xe", "8086:e212", 1, 51).lines())
    materialise(card + text(vfio()), tmp_path)
    host = Host(str(tmp_path), "/on/host")
    seen = [ids(host)]
    part = remove(tmp_path, FIRST)
    seen.append(ids(host))
    add(tmp_path, parse(function(FIRST, physical=None)))
    seen.append(ids(host))
    remove(tmp_path, FIRST)
    add(tmp_path, part)
    seen.append(ids(host))

    assert seen == [["card1"], [], ["0000:bb:00.1"], ["card1"]]


@pytest.mark.parametrize("tree", [BOTH])
@pytest.mark.parametrize(
    ("name", "value"), [("class", b"\xff"), ("vendor", b"text"), ("device", b""), ("numa_node", b"0-1")]
)
def test_a_function_that_cannot_be_read_any_more_stays_as_unreadable(host: Host, name: str, value: bytes) -> None:
    before = found(host)
    Path(f"{host.root}{FIRST}/{name}").write_bytes(value)
    after = found(host).after(before)

    assert {each.id: each.health for each in after.devices} == {
        "0000:bb:00.1": Health.UNHEALTHY,
        "0000:bb:00.2": Health.HEALTHY,
    }


@pytest.mark.parametrize("tree", [BOTH])
def test_a_function_in_quarantine_is_not_touched(host: Host) -> None:
    before = found(host)
    os.unlink(f"{host.root}{FIRST}/numa_node")
    os.mkfifo(f"{host.root}{FIRST}/numa_node")  # whoever opens it waits for ever
    after = found(host.looking(Look(quarantined={FIRST: "a read has not come back for 5 s"}))).after(before)

    assert {each.id: each.health for each in after.devices} == {
        "0000:bb:00.1": Health.UNHEALTHY,
        "0000:bb:00.2": Health.HEALTHY,
    }


@pytest.mark.parametrize("tree", [BOTH])
def test_functions_of_other_makers_and_classes_are_nothing_to_talk_about(host: Host) -> None:
    change(Path(host.root), f"{FIRST}/vendor", "0x10de")
    change(Path(host.root), f"{SECOND}/class", "0x0b4000")

    assert ids(host) == []
    assert rules(host) == {PHYSICAL: "no-card"}
