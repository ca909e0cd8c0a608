"""DSA: work queues of the driver idxd, or whole accelerators for drivers in user space.

Sources: those of `idxd` and of `userspace`, and Documentation/ABI/testing/sysfs-bus-pci (`vendor`, `device`, `driver`,
`numa_node`). Nothing of this touches the hardware, and the agent binds nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent import pci, userspace
from intel_agent.backends.idxd import Idxd
from intel_agent.model import ContainerEdits, Device, Exclusion
from intel_agent.sysfs import Dir, Host

VFIO = "dsa.intel.com/vfio"

_DEVICES = frozenset({"0x0b25", "0x11fb", "0x1212"})
_DENIED = frozenset({"0x0b25"})
"""Those that vfio-pci refuses unless it is told not to."""
_MIXED = userspace.ANYTHING | {"idxd"}


class Dsa(Idxd, frozen=True, kw_only=True):
    """Data Streaming Accelerator: copies, fills and compares memory."""

    name: ClassVar[str] = "dsa"
    prefix: ClassVar[str] = "dsa"
    device_ids: ClassVar[frozenset[str]] = _DEVICES
    subsystems: ClassVar[frozenset[str]] = Idxd.subsystems | {"vfio", "vfio-dev"}
    directories: ClassVar[tuple[str, ...]] = (*Idxd.directories, "/dev/vfio", "/dev/vfio/devices")

    driver: Annotated[
        Literal["idxd", "vfio-pci"],
        msgspec.Meta(
            description="What is offered: work queues of idxd, or whole accelerators that vfio-pci has. Never both, "
            "and the agent binds none."
        ),
    ] = "idxd"

    @property
    def drivers(self) -> Mapping[str, str]:
        return super().drivers if self.driver == "idxd" else {"vfio-pci": "vfio_pci"}

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        if self.driver == "idxd":
            yield from super().discover(host)
            yield from _given_away(host)
            return
        found: dict[Dir, str] = {}
        for each in pci.functions(host, _DEVICES, mixed=_MIXED):
            if isinstance(each, Exclusion):
                yield each
            else:
                found[each[0]] = each[1]
        yield from host.each(found, lambda function: [_function(host, function, found[function])])

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        whole = [each for each in devices if each.attributes["driver"] == "vfio-pci"]  # rules may rename the resource
        return super().allocate(devices) + userspace.numbered("VFIO_BDF", whole)


def _function(host: Host, function: Dir, device_id: str) -> Device | Exclusion:
    if refusal := userspace.wrong_driver(host, function, "vfio-pci", denied=device_id in _DENIED):
        return refusal
    nodes = userspace.vfio_nodes(host, function)
    if isinstance(nodes, Exclusion):
        return nodes
    attributes = {"pciAddress": function.name, "deviceId": device_id, "driver": function.link_name("driver") or ""}
    return Device(
        id=function.name,
        resource=VFIO,
        sysfs_path=host.kernel_path(function),
        edits=ContainerEdits(device_nodes=nodes),
        cdi_name=function.name,
        numa_nodes=pci.numa_nodes(function),
        attributes=attributes,
    )


def _given_away(host: Host) -> Iterable[Exclusion]:
    """Name accelerators that vfio-pci has: idxd made no queues of them."""
    for each in pci.functions(host, _DEVICES, mixed=_MIXED, listed="bus/pci/drivers/vfio-pci"):
        if isinstance(each, Exclusion):
            yield each
        else:
            yield Exclusion(
                path=host.kernel_path(each[0]),
                rule="driver",
                evidence="its driver is vfio-pci",
                remedy="give it to idxd, or set devices.dsa.driver to vfio-pci, which offers such accelerators only",
            )
