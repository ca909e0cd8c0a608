"""How a PCI function is given to a driver that runs in user space: the device nodes of VFIO and of UIO.

Sources: Documentation/driver-api/vfio.rst (groups, viability, no-IOMMU mode, the device cdev),
Documentation/ABI/testing/sysfs-devices-vfio-dev, Documentation/driver-api/uio-howto.rst,
Documentation/ABI/testing/sysfs-kernel-iommu_groups. None of this wakes the hardware.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from intel_agent import pci
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion
from intel_agent.sysfs import Dir, Host

VFIO_DRIVERS = frozenset({"vfio-pci", "xe-vfio-pci", "qat_vfio_pci"})
"""Drivers that give a function to user space: the general one, and those that can migrate it besides."""
UIO_DRIVERS = frozenset({"igb_uio", "uio_pci_generic", "uio"})
ANYTHING = frozenset({*VFIO_DRIVERS, *UIO_DRIVERS, "pci-stub", "pci-pf-stub", "virtio-pci", None})
"""Drivers that have functions of all kinds, and none."""

CONTAINER = "/dev/vfio/vfio"
"""The node that every user of a group opens first."""
IOMMU = "/dev/iommu"
"""The node that users of the device cdevs open first."""

_BRIDGE_CLASS = "0x06"
_NO_IOMMU = "vfio-noiommu"
"""What the kernel calls groups that it makes without an IOMMU."""
_SEE_DEV = "check that the agent sees the whole /dev of the host; this is looked at again by itself"


@dataclass(frozen=True, slots=True)
class Group:
    """An IOMMU group: what cannot be isolated from each other. `others` are its other PCI functions, bridges aside."""

    name: str
    isolated: bool
    others: tuple[str, ...]

    @property
    def node(self) -> str:
        """The group's node in the host's /dev."""
        return f"/dev/vfio/{self.name}" if self.isolated else f"/dev/vfio/noiommu-{self.name}"


def group(function: Dir) -> Group | None:
    """Return the IOMMU group of a PCI function, or `None` when it has none.

    Raises:
        SysfsError: it cannot be told who is in the group.
    """
    if (name := function.link_name("iommu_group")) is None:
        return None
    directory = function / "iommu_group"
    others = tuple(
        each.name
        for each in (directory / "devices").children()
        if each.name != function.name and not (each.optional_text("class") or "").startswith(_BRIDGE_CLASS)
    )
    return Group(name, directory.optional_text("name") != _NO_IOMMU, others)


def vfio_nodes(host: Host, function: Dir, *, noiommu_as_group: bool = False) -> tuple[DeviceNode, ...] | Exclusion:
    """Return the nodes through which one container has the whole function, or why it cannot have it.

    These are the group's node and /dev/vfio/vfio, and the function's own cdev and /dev/iommu where the kernel has
    them. Whoever opens a group can have all functions in it, so a function that is not alone there is not offered.
    With `noiommu_as_group` the node `noiommu-<group>` is called `<group>` in the container.

    Raises:
        SysfsError: the function or its group cannot be read, or something else than a device node has such a name.
    """
    path = host.kernel_path(function)
    found = group(function)
    if found is None:
        return Exclusion(
            path,
            "no-iommu-group",
            "it has no iommu_group",
            "switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)",
        )
    if found.others:
        return Exclusion(
            path,
            "shared-iommu-group",
            f"IOMMU group {found.name} has {', '.join(found.others)}, too",
            "whoever gets one gets all of them: put the card into another slot, or switch ACS on in the BIOS",
        )
    nodes = [*_group_nodes(host, found, noiommu_as_group=noiommu_as_group), *_cdev_nodes(host, function)]
    if nodes:
        return tuple(nodes)
    return Exclusion(path, "no-node", f"neither {found.node} with {CONTAINER} nor a cdev is there", _SEE_DEV)


def uio_node(host: Host, function: Dir) -> tuple[str, DeviceNode] | Exclusion:
    """Return the name (`uio0`) and the node of a function bound to a UIO driver, or why it cannot be given.

    Raises:
        SysfsError: they cannot be read, or something else than a device node has that name.
    """
    path = host.kernel_path(function)
    names = [each.name for each in (function / "uio").children("uio*")]
    if not names:
        return Exclusion(path, "no-uio", "its driver made no UIO device", "look at the kernel log, or bind it again")
    if node := host.node(f"/dev/{names[0]}"):
        return names[0], node
    return Exclusion(path, "no-node", f"/dev/{names[0]} is not there", _SEE_DEV)


def wrong_driver(host: Host, function: Dir, wanted: str, *, denied: bool = False) -> Exclusion | None:
    """Return that a function does not belong to the driver `wanted`, with the commands that hand it over, or `None`.

    Any of VFIO's drivers will do for another one. `denied` are functions that vfio-pci takes only when it is loaded
    with a parameter that says so (drivers/vfio/pci/vfio_pci.c).

    Raises:
        SysfsError: its driver cannot be told.
    """
    driver = function.link_name("driver")
    if driver == wanted or {driver, wanted} <= VFIO_DRIVERS:
        return None
    found = "it has no driver" if driver is None else f"its driver is {driver}"
    parameter = " disable_denylist=1" if denied and wanted == "vfio-pci" else ""
    directory = f"/sys/bus/pci/devices/{function.name}"
    commands = [
        f"modprobe {wanted}{parameter}",
        f"echo {wanted} > {directory}/driver_override",
        *([] if driver is None else [f"echo {function.name} > {directory}/driver/unbind"]),
        f"echo {function.name} > /sys/bus/pci/drivers_probe",
    ]
    return Exclusion(host.kernel_path(function), "driver", found, "; ".join(commands))


def numbered(prefix: str, devices: Iterable[Device]) -> ContainerEdits:
    """Return the variables that tell a container the addresses of its functions: `<prefix>0`, `<prefix>1`, ...

    They are in the order of addresses, whatever the order of `devices`.
    """
    addresses = sorted((each.id for each in devices), key=pci.order)
    return ContainerEdits(env={f"{prefix}{number}": address for number, address in enumerate(addresses)})


def virtual_function_of(function: Dir) -> Dir | None:
    """Return the physical function that a virtual one belongs to, or `None` when it is not virtual.

    Raises:
        SysfsError: the link leads to something else than a PCI function.
    """
    if function.link_name("physfn") is None:
        return None
    physical = function.resolved("physfn")
    if not pci.ADDRESS.fullmatch(physical.name):
        raise SysfsError(f"{function.path}/physfn", "does not lead to a PCI function")
    return physical


def kubevirt_addresses(resource: str, functions: Iterable[str]) -> dict[str, str]:
    """Return the variable in which KubeVirt looks for the PCI addresses that a virtual machine gets of a resource.

    Source: ResourceNameToEnvVar and AddressPool of KubeVirt's virt-launcher.
    """
    name = resource.upper().replace("/", "_").replace(".", "_")
    return {f"PCI_RESOURCE_{name}": ",".join(sorted(functions, key=pci.order))}


def _group_nodes(host: Host, found: Group, *, noiommu_as_group: bool) -> tuple[DeviceNode, ...]:
    container = host.node(CONTAINER)
    called = f"/dev/vfio/{found.name}" if noiommu_as_group else found.node
    own = host.node(found.node, called=called)
    return () if own is None or container is None else (own, container)


def _cdev_nodes(host: Host, function: Dir) -> tuple[DeviceNode, ...]:
    names = [each.name for each in (function / "vfio-dev").children("vfio*")]
    own = host.node(f"/dev/vfio/devices/{names[0]}") if names else None
    iommu = host.node(IOMMU)
    return () if own is None or iommu is None else (own, iommu)
