"""What is known of one network function, accelerator or scalable function: facts, not yet any decision.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`physfn`, `virtfn*`, `class`, `acpi_index`),
Documentation/ABI/stable/sysfs-class-infiniband, Documentation/ABI/testing/sysfs-devices-auxiliary and the kernel's
Documentation/networking/devlink/devlink-port.rst (`sfnum`), Documentation/ABI/testing/sysfs-bus-vdpa, and netlink's
words in `intel_agent.links`. None of this wakes the hardware.

A function that a pod uses has its interface, and often its RDMA device, in the pod's network namespace. What was known
of it before that is kept as long as it has the same driver.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from intel_agent import pci
from intel_agent.links import Interface, Links
from intel_agent.model import Device, DeviceNode
from intel_agent.sysfs import Dir, Host, natural

VHOST, VIRTIO = "vhost", "virtio"
_VDPA_DRIVERS = {"vhost_vdpa": VHOST, "virtio_vdpa": VIRTIO}
_CONTROLLER = re.compile(r"^c[0-9]+(?=pf)")
_UPLINK_PORT = re.compile(r"p[0-9]+")
_VIRTUAL = re.compile(r"virtfn([0-9]+)")
_INFINIBAND = "infiniband"


class Surroundings:
    """What candidates have in common, found out once a look."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.links = host.links or Links()
        self._interfaces: dict[str, list[Interface]] = {}
        for each in sorted(self.links.interfaces, key=lambda interface: natural(interface.name)):
            if each.device is not None:
                self._interfaces.setdefault(each.device, []).append(each)
        self._ports = {
            (each.switch_id, _CONTROLLER.sub("", each.port_name)): each.name
            for each in self.links.interfaces
            if each.switch_id and each.port_name
        }
        self._numbers: dict[str, Mapping[str, int]] = {}

    def interfaces(self, device: str) -> list[Interface]:
        """Return the interfaces of a device (`pci/0000:3b:00.0`), in the order of their names."""
        return self._interfaces.get(device, [])

    def own_interface(self, address: str, *, auxiliary: bool = False) -> Interface | None:
        """Return the interface of a physical function itself, and not the one that stands for a function of it."""
        mine = self.interfaces(f"pci/{address}")
        switched = self.links.eswitch_modes.get(f"pci/{address}") == "switchdev"
        uplink = next((each for each in mine if each.switch_id and _is_uplink(each)), None)
        if switched and not auxiliary:
            return uplink
        return (uplink if auxiliary else None) or next(iter(mine), None)

    def representor(self, address: str, function: str) -> str:
        """Return the interface that stands for a function (`vf3`, `sf7`) of a physical one in its switch, if any."""
        own = self.own_interface(address, auxiliary=True)
        if own is None or not own.switch_id:
            return ""
        port = f"pf{address.rpartition('.')[2]}{function}"
        return self._ports.get((own.switch_id, port), "")

    def number(self, physical: str, address: str) -> int | None:
        """Return the number of a virtual function. Numbers may have gaps.

        Raises:
            SysfsError: the physical function cannot be listed.
        """
        if physical not in self._numbers:
            numbers: dict[str, int] = {}
            directory = self.host.sys / f"bus/pci/devices/{physical}"
            for each in directory.children("virtfn*"):
                if (found := _VIRTUAL.fullmatch(each.name)) and (name := directory.link_name(each.name)) is not None:
                    numbers[name] = int(found[1])
            self._numbers[physical] = numbers
        return self._numbers[physical].get(address)


def _is_uplink(interface: Interface) -> bool:
    return interface.port_name is None or _UPLINK_PORT.fullmatch(interface.port_name) is not None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A device that a pool may select. `directory` is its own one, `function` its PCI function's."""

    around: Surroundings
    directory: Dir
    function: Dir

    @cached_property
    def path(self) -> str:
        return self.around.host.kernel_path(self.directory)

    @property
    def before(self) -> Device | None:
        """What it was when it was looked at last."""
        return self.around.host.known.get(self.path)

    @property
    def kind(self) -> str:
        """The bus, as devlink calls it."""
        return "pci" if self.directory == self.function else "auxiliary"

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def address(self) -> str:
        return self.function.name

    @property
    def name(self) -> str:
        """The device as devlink and netlink call it."""
        return f"{self.kind}/{self.id}"

    @cached_property
    def vendor(self) -> str:
        return pci.identity(self.function, "vendor").removeprefix("0x")

    @cached_property
    def device(self) -> str:
        return pci.identity(self.function, "device").removeprefix("0x")

    @cached_property
    def driver(self) -> str:
        return self.function.link_name("driver") or ""

    @cached_property
    def pf_address(self) -> str:
        if self.kind == "auxiliary":
            return self.address
        return self.directory.link_name("physfn") or ""

    @cached_property
    def physical_interface(self) -> Interface | None:
        """The interface of its physical function, or of itself if it is one."""
        if not self.pf_address:
            return next(iter(self.interfaces), None)
        return self.around.own_interface(self.pf_address, auxiliary=self.kind == "auxiliary")

    @property
    def link_state(self) -> str:
        """What an administrator wants of a virtual function's link; nothing where that is not known."""
        own = self.physical_interface
        if own is None or self.kind == "auxiliary":
            return ""
        return next((each.link_state for each in own.virtual_functions if each.index == self.index), "")

    @cached_property
    def pf_name(self) -> str:
        if not self.pf_address:
            return ""
        own = self.physical_interface
        return own.name if own else self._earlier("pfName")

    @cached_property
    def index(self) -> int | None:
        """The number of a virtual function, or the one that a scalable function was made with."""
        if self.kind == "auxiliary":
            return self.directory.optional_integer("sfnum")
        return self.around.number(self.pf_address, self.id) if self.pf_address else None

    @property
    def representor(self) -> str:
        if not self.pf_address or self.index is None:
            return ""
        kind = "sf" if self.kind == "auxiliary" else "vf"
        return self.around.representor(self.pf_address, f"{kind}{self.index}")

    @property
    def interfaces(self) -> list[Interface]:
        return self.around.interfaces(self.name)

    @cached_property
    def away(self) -> bool:
        """Whether it had an interface and has none any more, as when a pod uses it."""
        return not self.interfaces and bool(self._earlier("interface"))

    @cached_property
    def interface(self) -> str:
        return self.interfaces[0].name if self.interfaces else self._earlier("interface")

    @cached_property
    def link_type(self) -> str:
        if self.interfaces:
            return self.interfaces[0].type
        if self.away:
            return self._earlier("linkType")
        own = self.around.own_interface(self.pf_address) if self.pf_address else None
        return own.type if own else ""

    @property
    def is_uplink(self) -> bool:
        """Whether the node itself lives on one of its interfaces."""
        return any(each.index in self.around.links.uplinks for each in self.interfaces)

    @cached_property
    def acpi_index(self) -> str:
        return self.directory.optional_text("acpi_index") or ""

    @cached_property
    def ddp_profile(self) -> str:
        profiles = self.around.links.ddp_profiles
        return profiles.get(self.name) or profiles.get(f"pci/{self.pf_address}") or ""

    @cached_property
    def p_key(self) -> str:
        if self.link_type != _INFINIBAND:
            return ""
        first = (self.directory / _INFINIBAND).children()[:1]
        if not first:
            return self._earlier("pKey")
        return first[0].optional_text("ports/1/pkeys/0") or ""

    @cached_property
    def rdma_devices(self) -> tuple[str, ...]:
        """The names of its RDMA devices, in order."""
        names = tuple(each.name for each in (self.directory / _INFINIBAND).children())
        if names or not self._rdma_is_elsewhere:
            return names
        return tuple(filter(None, self._earlier("rdmaDevices").split(",")))

    @property
    def rdma_is_here(self) -> bool:
        """Whether its RDMA devices are in the host's namespace."""
        return any((self.directory / _INFINIBAND).children())

    def earlier_nodes(self, place: str) -> tuple[DeviceNode, ...]:
        """Return the nodes below a directory that it had at the last look."""
        if self._same is None or not self._rdma_is_elsewhere:
            return ()
        return tuple(each for each in self._same.edits.device_nodes if each.path.startswith(place))

    @property
    def _rdma_is_elsewhere(self) -> bool:
        return self.away or self.around.links.rdma_enabled.get(self.name, False)

    @cached_property
    def is_rdma(self) -> bool:
        return bool(self.rdma_devices) or self.around.links.rdma_enabled.get(self.name, False)

    @property
    def vdpa_device(self) -> str:
        return self.around.links.vdpa.get(self.name, "")

    @cached_property
    def vdpa_type(self) -> str:
        """The driver of its vDPA device in the words of the configuration; nothing for others, and without any."""
        if not self.vdpa_device:
            return ""
        return _VDPA_DRIVERS.get(self._vdpa.link_name("driver") or "", "")

    @property
    def vhost_path(self) -> str:
        """The node of its vDPA device for VMs; nothing when it has none."""
        names = [each.name for each in self._vdpa.children("*vhost-vdpa*")] if self.vdpa_device else []
        return f"/dev/{names[0]}" if names else ""

    @property
    def _vdpa(self) -> Dir:
        return self.around.host.sys / f"bus/vdpa/devices/{self.vdpa_device}"

    @property
    def aux_type(self) -> str:
        parts = self.id.split(".")
        return parts[1] if self.kind == "auxiliary" and len(parts) == _PARTS and parts[2].isdecimal() else ""

    @property
    def _same(self) -> Device | None:
        """What it was at the last look, unless it is another device by now, or another driver's."""
        if self.before is None or self.before.attributes.get("driver") != self.driver:
            return None
        return self.before

    def _earlier(self, attribute: str) -> str:
        return "" if self._same is None else self._same.attributes.get(attribute, "")


_PARTS = 3
