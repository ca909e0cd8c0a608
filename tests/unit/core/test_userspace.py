"""Which nodes a container needs to drive a function itself, and when it must not have them."""

from pathlib import Path

import pytest

from intel_agent import userspace
from intel_agent.errors import SysfsError
from intel_agent.model import NO_EDITS, Device, DeviceNode, Exclusion
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import Function, at, link, vfio
from intel_agent.sysfs import Dir, Host

PHYSICAL = at("0000:3b:00.0")
DIRECTORY = at("0000:3b:00.1")
FUNCTION = Function(DIRECTORY, "8086:4941", "vfio-pci", "0b4000", group=57, physical=PHYSICAL)
LINES = [*FUNCTION.lines(), *FUNCTION.user_space(3), *vfio(), f"{PHYSICAL}/numa_node = 0"]


def made(tmp_path: Path, *more: str, without: tuple[str, ...] = ()) -> Host:
    """Return the node, without the entries at some paths and with some more."""
    kept = [line for line in LINES if line.split(" ")[0] not in without]
    materialise("\n".join([*kept, *more]), tmp_path)
    return Host(str(tmp_path), "/on/host")


def neighbour(address: str, pci_class: str) -> tuple[str, str]:
    return (
        link(f"/sys/kernel/iommu_groups/57/devices/{address}", at(address)),
        f"{at(address)}/class = {pci_class}",
    )


def function(host: Host) -> Dir:
    return Dir(host.root + DIRECTORY)


def nodes(host: Host) -> list[str]:
    found = userspace.vfio_nodes(host, function(host))
    assert not isinstance(found, Exclusion)
    return [node.path for node in found]


def rule(host: Host) -> str:
    found = userspace.vfio_nodes(host, function(host))
    assert isinstance(found, Exclusion)
    return found.rule


def test_a_group_and_the_cdev_are_given_where_the_kernel_has_both(tmp_path: Path) -> None:
    assert nodes(made(tmp_path)) == ["/dev/vfio/57", "/dev/vfio/vfio", "/dev/vfio/devices/vfio3", "/dev/iommu"]


@pytest.mark.parametrize("missing", ["/dev/iommu", "/dev/vfio/devices/vfio3"])
def test_half_a_cdev_is_none(tmp_path: Path, missing: str) -> None:
    assert nodes(made(tmp_path, without=(missing,))) == ["/dev/vfio/57", "/dev/vfio/vfio"]


@pytest.mark.parametrize("missing", ["/dev/vfio/57", "/dev/vfio/vfio"])
def test_a_kernel_without_groups_has_cdevs(tmp_path: Path, missing: str) -> None:
    assert nodes(made(tmp_path, without=(missing,))) == ["/dev/vfio/devices/vfio3", "/dev/iommu"]


def test_without_any_node_there_is_nothing_to_give(tmp_path: Path) -> None:
    assert rule(made(tmp_path, without=("/dev/vfio/57", "/dev/iommu"))) == "no-node"


def test_without_an_iommu_group_nothing_is_given(tmp_path: Path) -> None:
    assert rule(made(tmp_path, without=(f"{DIRECTORY}/iommu_group",))) == "no-iommu-group"


def test_who_is_not_alone_in_its_group_is_not_given(tmp_path: Path) -> None:
    """The node of a group opens all functions in it: two containers would have each other's device."""
    host = made(tmp_path, *neighbour("0000:3b:00.2", "0x0b4000"))

    found = userspace.vfio_nodes(host, function(host))

    assert isinstance(found, Exclusion)
    assert (found.rule, found.evidence) == ("shared-iommu-group", "IOMMU group 57 has 0000:3b:00.2, too")


def test_bridges_in_the_group_do_not_matter(tmp_path: Path) -> None:
    assert "/dev/vfio/57" in nodes(made(tmp_path, *neighbour("0000:3b:01.0", "0x060400")))


@pytest.mark.parametrize(
    ("as_group", "path"),
    [(False, "/dev/vfio/noiommu-57"), (True, "/dev/vfio/57")],
    ids=["as QAT's plugin does", "as the SR-IOV plugin does"],
)
def test_without_an_iommu_the_group_has_another_node(tmp_path: Path, path: str, *, as_group: bool) -> None:
    noiommu = ("/sys/kernel/iommu_groups/57/name = vfio-noiommu", "/dev/vfio/noiommu-57 c 240:57")
    host = made(tmp_path, *noiommu, without=("/dev/vfio/57",))

    found = userspace.vfio_nodes(host, function(host), noiommu_as_group=as_group)

    assert not isinstance(found, Exclusion)
    assert (found[0].path, found[0].host_path) == (path, "/on/host/dev/vfio/noiommu-57")
    assert found[0].name == "/dev/vfio/noiommu-57"


def test_uio_gives_one_node(tmp_path: Path) -> None:
    host = made(tmp_path, f"{DIRECTORY}/uio/uio4/name = igb_uio", "/dev/uio4 c 241:4")

    assert userspace.uio_node(host, function(host)) == ("uio4", DeviceNode("/dev/uio4", "/on/host/dev/uio4"))


@pytest.mark.parametrize(("more", "rule"), [([], "no-uio"), ([f"{DIRECTORY}/uio/uio4/name = igb_uio"], "no-node")])
def test_what_uio_lacks_is_said(tmp_path: Path, more: list[str], rule: str) -> None:
    host = made(tmp_path, *more)

    found = userspace.uio_node(host, function(host))

    assert isinstance(found, Exclusion)
    assert found.rule == rule


@pytest.mark.parametrize("driver", ["vfio-pci", "qat_vfio_pci"])
def test_every_driver_of_vfio_gives_a_function_to_user_space(tmp_path: Path, driver: str) -> None:
    host = made(
        tmp_path,
        link(f"{DIRECTORY}/driver", f"/sys/bus/pci/drivers/{driver}"),
        f"/sys/bus/pci/drivers/{driver}/",
        without=(f"{DIRECTORY}/driver",),
    )

    assert userspace.wrong_driver(host, function(host), "vfio-pci") is None


OVERRIDE = "echo vfio-pci > /sys/bus/pci/devices/0000:3b:00.1/driver_override"
PROBE = "echo 0000:3b:00.1 > /sys/bus/pci/drivers_probe"
UNBIND = "echo 0000:3b:00.1 > /sys/bus/pci/devices/0000:3b:00.1/driver/unbind"


@pytest.mark.parametrize(
    ("driver", "wanted", "denied", "evidence", "remedy"),
    [
        (None, "vfio-pci", False, "it has no driver", f"modprobe vfio-pci; {OVERRIDE}; {PROBE}"),
        (
            "idxd",
            "vfio-pci",
            True,
            "its driver is idxd",
            f"modprobe vfio-pci disable_denylist=1; {OVERRIDE}; {UNBIND}; {PROBE}",
        ),
        (
            "vfio-pci",
            "igb_uio",
            True,
            "its driver is vfio-pci",
            f"modprobe igb_uio; {OVERRIDE.replace('vfio-pci', 'igb_uio')}; {UNBIND}; {PROBE}",
        ),
    ],
)
def test_a_function_of_another_driver_comes_with_the_commands(
    tmp_path: Path, driver: str | None, wanted: str, evidence: str, remedy: str, *, denied: bool
) -> None:
    more = () if driver is None else (link(f"{DIRECTORY}/driver", f"/sys/bus/pci/drivers/{driver}"),)
    host = made(tmp_path, *more, without=(f"{DIRECTORY}/driver",))

    assert userspace.wrong_driver(host, function(host), wanted, denied=denied) == Exclusion(
        DIRECTORY, "driver", evidence, remedy
    )


def test_variables_are_numbered_by_address_whatever_the_order() -> None:
    """The existing plugins number in random order, and give every container of a request the addresses of all."""
    devices = [
        Device(each, "x/y", f"/sys/{each}", NO_EDITS, each) for each in ("0000:9b:00.1", "0000:0a:01.0", "0000:10:00.0")
    ]

    assert userspace.numbered("QAT", devices).env == userspace.numbered("QAT", reversed(devices)).env
    assert dict(userspace.numbered("QAT", devices).env) == {
        "QAT0": "0000:0a:01.0",
        "QAT1": "0000:10:00.0",
        "QAT2": "0000:9b:00.1",
    }


def test_a_virtual_function_knows_its_physical_one(tmp_path: Path) -> None:
    host = made(tmp_path)
    physical = userspace.virtual_function_of(function(host))

    assert physical is not None
    assert physical == Dir(host.root + PHYSICAL)
    assert userspace.virtual_function_of(physical) is None


def test_a_physical_function_is_a_function(tmp_path: Path) -> None:
    odd = (link(f"{DIRECTORY}/physfn", "/sys/devices/platform"), "/sys/devices/platform/")
    host = made(tmp_path, *odd, without=(f"{DIRECTORY}/physfn",))

    with pytest.raises(SysfsError, match="does not lead to a PCI function"):
        userspace.virtual_function_of(function(host))
