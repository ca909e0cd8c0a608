"""Signs of life that all PCI functions have, whatever their kind, and what a function shares its fate with.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`config`, `current_link_width`, `max_link_width`, `physfn`,
`iommu_group`), Documentation/ABI/testing/sysfs-bus-pci-devices-aer (`aer_dev_fatal`, `aer_dev_nonfatal`),
Documentation/ABI/testing/sysfs-devices-power (`runtime_status`), drivers/base/devcoredump.c (`devcoredump`).
Counts of errors are kept by the kernel; what would wake a suspended device is not read while it sleeps. A virtual
function has no signs of its own: they are those of the physical one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from intel_agent import pci
from intel_agent.errors import SysfsError
from intel_agent.inventory import Found
from intel_agent.model import Device, Fault, Reason, Signs
from intel_agent.sysfs import Dir, Host
from intel_agent.userspace import VFIO_DRIVERS

HEADER = 64
"""Bytes of configuration space that everybody may read."""
_WIDEST = 32

_COUNTS = {
    "aer_dev_fatal": Fault(Reason.FATAL_ERRORS, "sysfs", "a fatal PCIe error was counted: see the kernel log"),
    "aer_dev_nonfatal": Fault(Reason.NONFATAL_ERRORS, "sysfs", "an uncorrectable PCIe error was counted"),
}
"""What a rise means, by the file that counts."""


def examined(host: Host, found: Found) -> Found:
    """Return what was found with the vital signs of the PCI functions that the devices belong to."""
    look = _Look(host)
    return replace(found, devices=tuple(map(look.device, found.devices)), signs=(*found.signs, *look.signs.values()))


@dataclass(slots=True)
class _Look:
    """One look; every function and port is read once."""

    host: Host
    signs: dict[str, Signs] = field(default_factory=dict[str, Signs])
    fates: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """What each function that was read depends on."""
    links: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Lanes of the link of each function that was read, and how many there can be."""
    physical: dict[str, Dir] = field(default_factory=dict[str, Dir])
    """Physical functions by address: to follow a link costs more than all else that is read of a virtual one."""

    def device(self, device: Device) -> Device:
        """Return the device with what it depends on; what is known of its function is among the signs then."""
        function = pci.function_above(Dir(self.host.root + device.sysfs_path))
        if function is None:
            return device
        more = [each for each in self._fate(function) if each not in device.depends_on]
        if more:
            device = replace(device, depends_on=(*device.depends_on, *more))
        if (link := self.links.get(self.host.kernel_path(function))) is None:
            return device
        return replace(device, readings=replace(device.readings, lanes=link[0], possible_lanes=link[1]))

    def _fate(self, function: Dir) -> tuple[str, ...]:
        path = self.host.kernel_path(function)
        if (known := self.fates.get(path)) is not None:
            return known
        self.fates[path] = ()
        try:
            with self.host.reading(function):
                physical, others = self._physical(function), _group(function)
                if physical is None:
                    self._examine(function)
        except SysfsError as error:
            self._add(Signs(path, frozenset({Fault(Reason.UNREADABLE, "sysfs", str(error))})))
            return ()
        if physical is not None:
            self._fate(physical)
        needed = [*others] if physical is None else [physical, *others]
        self.fates[path] = tuple(self.host.kernel_path(each) for each in needed)
        return self.fates[path]

    def _physical(self, function: Dir) -> Dir | None:
        if (address := function.link_name("physfn")) is None:
            return None
        if address not in self.physical:
            self.physical[address] = function.resolved("physfn")
        return self.physical[address]

    def _examine(self, function: Dir) -> None:
        """Read a function that is not virtual, and the counts of the ports on the way to it."""
        status = function.optional_text(pci.RUNTIME_STATUS)
        ports = list(_ports(function))
        faults = {*_settled(function, status), *(() if status in pci.ASLEEP else self._awake(function, ports))}
        counts = dict(_counted(function))
        if faults or counts:
            self._add(Signs(self.host.kernel_path(function), frozenset(faults), counts))
        for port in ports:
            path = self.host.kernel_path(port)
            if path not in self.signs and (counts := _port_counts(port)):
                self._add(Signs(path, counts=counts))

    def _awake(self, function: Dir, ports: Sequence[Dir]) -> Iterator[Fault]:
        """Yield what would wake the function, or what it is connected to: the bridges above it are `ports`."""
        header = function.optional_bytes("config", HEADER)
        # All of it: vendor and device are ones by the standard in a virtual function, which this may be of a guest.
        if header and header == b"\xff" * HEADER:
            yield Fault(Reason.OFF_BUS, "sysfs", "it does not answer on the PCI bus (config reads as ones)")
            return
        if (link := _link(function, ports)) is None:
            return
        self.links[self.host.kernel_path(function)] = link
        lanes, possible = link
        if lanes < possible:
            detail = f"its PCIe link has {lanes} of {possible} lanes: reseat the card"
            yield Fault(Reason.LINK_WIDTH, "sysfs", detail)

    def _add(self, signs: Signs) -> None:
        self.signs[signs.path] = signs


def _group(function: Dir) -> list[Dir]:
    """Return what shares the IOMMU group of a function that user space drives: whoever has one has all of them."""
    if function.link_name("driver") not in VFIO_DRIVERS:
        return []
    members = (function / "iommu_group/devices").children()
    return [each.resolved() for each in members if each.name != function.name]


def _ports(function: Dir) -> Iterator[Dir]:
    """Yield the bridges above a function, the nearest first. Errors of a card may be counted at its upstream port."""
    port = _above(function)
    while port is not None:
        yield port
        port = _above(port)


def _above(function: Dir) -> Dir | None:
    return pci.function_above(Dir(function.path.rpartition("/")[0]))


def _settled(function: Dir, status: str | None) -> Iterator[Fault]:
    """Yield what can be told of a function that sleeps, too; `status` is that of its power."""
    if status == "error":
        yield Fault(Reason.POWER, "sysfs", "switching its power failed (runtime_status: error): bind its driver anew")
    if function.exists("devcoredump"):
        yield Fault(Reason.DUMPED, "sysfs", "its driver wrote a dump: read devcoredump/data, which goes away by itself")


def _link(function: Dir, ports: Sequence[Dir]) -> tuple[int, int] | None:
    """Return how many lanes the function's link has, and how many it could have."""
    end, partner = _ends(function, ports)
    if (lanes := _lanes(end, "current_link_width")) is None or (most := _lanes(end, "max_link_width")) is None:
        return None
    limit = None if partner is None else _lanes(partner, "max_link_width")
    return lanes, min(most, limit or most)


def _ends(function: Dir, ports: Sequence[Dir]) -> tuple[Dir, Dir | None]:
    """Return both ends of the card's link. Its own is the upstream port of a switch of the same maker, if it has one.

    Graphics cards of Intel have such a switch, and what the function says of its own link to it means nothing.
    """
    match ports:
        case [downstream, upstream, above, *_] if _is_own(downstream) and _is_own(upstream):
            return upstream, above
        case [above, *_]:
            return function, above
        case _:
            return function, None


def _is_own(port: Dir) -> bool:
    return port.optional_text("vendor") == pci.INTEL


def _lanes(end: Dir, name: str) -> int | None:
    """Return a number of lanes; 0, 63 and 255 mean that nothing useful could be read."""
    lanes = end.optional_integer(name)
    return lanes if lanes is not None and 0 < lanes <= _WIDEST else None


def _port_counts(port: Dir) -> dict[Fault, int]:
    """Return the counts of a port; what cannot be read there is no trouble of the device's own files."""
    try:
        return dict(_counted(port))
    except SysfsError:
        return {}


def _counted(function: Dir) -> Iterator[tuple[Fault, int]]:
    """Yield what the function counts: the files are there together (the kernel's `aer_stats_attr_group`)."""
    for name, fault in _COUNTS.items():
        text = function.optional_text(name)
        if text is None:
            return
        yield fault, _total(f"{function.path}/{name}", text.splitlines())


def _total(path: str, lines: Iterable[str]) -> int:
    """Return the number of errors in lines of names, some with spaces, each with a count; the total is the last.

    Raises:
        SysfsError: a line has no count.
    """
    counts: dict[str, int] = {}
    for line in lines:
        name, _, count = line.rpartition(" ")
        if not (name and count.isascii() and count.isdecimal()):
            raise SysfsError(path, f"{line[:40]!r} is not a name and a count")
        counts[name] = int(count)
    totals = [count for name, count in counts.items() if name.startswith("TOTAL_")]
    return totals[-1] if totals else sum(counts.values())
