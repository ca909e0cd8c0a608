"""FPGA cards with a Device Feature List, as two drivers show them: the kernel's (DFL) and OPAE's, which is out of tree.

Sources: Documentation/fpga/dfl.rst (each card has one management engine, FME, and ports with an accelerator each; ports
may be at virtual functions, the engine never is), Documentation/ABI/testing/sysfs-class-fpga-region (`compat_id`),
Documentation/ABI/testing/sysfs-bus-pci, drivers/fpga/dfl-pci.c (PCI ids). OPAE names the same things otherwise.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain

from intel_agent import pci, userspace
from intel_agent.errors import SysfsError
from intel_agent.model import Device, Exclusion
from intel_agent.sysfs import Dir, Host, unreadable
from intel_agent.userspace import virtual_function_of

MODELS = {"0x09c4": "PAC with Arria 10 GX", "0x0b30": "PAC N3000", "0x0b2b": "PAC D5005"}
"""Cards whose id says which one it is."""

_OTHERS = ("0x09c5", "0x0b2c", "0xbcbd", "0xbcbf", "0xbcc0", "0xbcc1", "0xbcce", "0xbccf")
_IDS = {("0x8086", each) for each in (*MODELS, *_OTHERS)} | {("0x1c2c", "0x1000"), ("0x1c2c", "0x1001")}
"""Vendor and device of what dfl-pci drives: not every accelerator of the class is such a card."""
_CLASS = "0x120000"
_DRIVERS = ("dfl-pci", "intel-fpga-pci")
_IDENTITY = re.compile(r"[0-9a-f]{32}")


def recognised(identity: pci.Identity) -> pci.Hardware | None:
    """Return which card a PCI function is of, or `None` for anything else."""
    if (identity.vendor, identity.device) not in _IDS:
        return None
    name = f"FPGA card {MODELS.get(identity.device, '')}".rstrip()
    return pci.Hardware(name, {each: each.replace("-", "_") for each in _DRIVERS})


@dataclass(frozen=True, slots=True)
class Layout:
    """How a driver names things: `devices` are in a class, a `device` has units, ports or the engine.

    `regions` lead from the engine to the directories that have its `interface_id`.
    """

    devices: str
    device: re.Pattern[str]
    unit: re.Pattern[str]
    regions: tuple[str, ...]
    interface_id: str


_LAYOUTS = (
    Layout(
        devices="class/fpga_region",
        device=re.compile(r"region[0-9]+"),
        unit=re.compile(r"dfl-(?:fme|port)\.[0-9]+"),
        regions=("dfl-fme-region.*", "fpga_region", "region*"),  # one for each port, all with the engine's id
        interface_id="compat_id",
    ),
    Layout(
        devices="class/fpga",
        device=re.compile(r"intel-fpga-dev\.[0-9]+"),
        unit=re.compile(r"intel-fpga-(?:fme|port)\.[0-9]+"),
        regions=("pr",),
        interface_id="interface_id",
    ),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A port or a management engine. `function` is where it is, `physical` the physical function of that."""

    directory: Dir
    function: Dir
    physical: Dir
    layout: Layout
    is_port: bool

    @property
    def name(self) -> str:
        return self.directory.name

    def excluded(self, host: Host, rule: str, evidence: str, remedy: str) -> Exclusion:
        path = host.kernel_path(self.directory)
        return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")


@dataclass(frozen=True, slots=True)
class Card:
    """A card with its engine, and its ports in the order of their numbers, at whatever function they are."""

    engine: Unit
    ports: tuple[Unit, ...]


def cards(host: Host) -> Iterator[Card | Device | Exclusion]:
    """Yield every card with a port, and why others are none."""
    by_function: dict[Dir, list[Unit]] = {}
    for item in chain.from_iterable(_units(host, layout) for layout in _LAYOUTS):
        if isinstance(item, Unit):
            by_function.setdefault(item.physical, []).append(item)
        else:
            yield item
    for units in by_function.values():
        engines = [unit for unit in units if not unit.is_port]
        ports = tuple(unit for unit in units if unit.is_port)
        if len(engines) == 1 and ports:
            yield Card(engines[0], ports)
        elif not engines:
            yield from (_without_engine(host, port) for port in ports)
        else:
            yield from (_without_ports(host, engine, len(engines)) for engine in engines)
    yield from _unserved(host, {unit.function.name for units in by_function.values() for unit in units})


def interface_id(engine: Unit) -> str | None:
    """Return the id that bitstreams must have, or `None` when the engine tells none.

    Raises:
        SysfsError: it cannot be read, is no id, or is not one.
    """
    found = [engine.directory]
    for pattern in engine.layout.regions:
        found = [child for each in found for child in each.children(pattern)]
    ids = {each for region in found if (each := identity(region, engine.layout.interface_id)) is not None}
    if len(ids) > 1:
        raise SysfsError(engine.directory.path, f"its regions have different ids: {', '.join(sorted(ids))}")
    return next(iter(ids), None)


def identity(directory: Dir, name: str) -> str | None:
    """Return the id in the file `name`, or `None` when there is no such file.

    Raises:
        SysfsError: it cannot be read or is no id.
    """
    text = directory.optional_text(name)
    if text is not None and not _IDENTITY.fullmatch(text):
        raise SysfsError(f"{directory.path}/{name}", f"{text[:40]!r} is no id of 32 hexadecimal digits")
    return text


def _units(host: Host, layout: Layout) -> Iterator[Unit | Exclusion]:
    devices = host.sys / layout.devices
    for link in devices.children(layout.device):
        try:
            devices.link_name(link.name)  # everything in a class is a link
            directories = link.resolved().children(layout.unit)
        except SysfsError as error:
            yield unreadable(host.kernel_path(link), error)
            continue
        for directory in directories:
            yield _unit(host, layout, directory, is_port="-port." in directory.name)


def _unit(host: Host, layout: Layout, directory: Dir, *, is_port: bool) -> Unit | Exclusion:
    path = host.kernel_path(directory)
    if (function := pci.function_above(directory)) is None:
        return Exclusion(path, "no-pci-function", "it is at no PCI function", "only cards on PCI are offered")
    try:
        if (found := function.text("class")) != _CLASS:
            remedy = "report this with the output of `lspci -nn`"
            return Exclusion(path, "pci-class", f"{function.name} is of class {found[:40]!r}, not {_CLASS}", remedy)
        return Unit(directory, function, virtual_function_of(function) or function, layout, is_port)
    except SysfsError as error:
        return unreadable(path, error)


def _without_engine(host: Host, port: Unit) -> Exclusion:
    evidence = f"no management engine is at {port.physical.name}"
    return port.excluded(host, "no-engine", evidence, "bind the card's physical function to the driver of the port")


def _without_ports(host: Host, engine: Unit, count: int) -> Exclusion:
    if count > 1:
        evidence = f"{count} engines are at {engine.physical.name}"
        return engine.excluded(host, "engines", evidence, "report this with the name of the card")
    remedy = "take back ports that were released, or bind the virtual functions that have them to the driver"
    return engine.excluded(host, "no-port", f"{engine.name} has no port that can be seen here", remedy)


def _unserved(host: Host, known: Collection[str]) -> Iterator[Device | Exclusion]:
    """Name cards of which no driver made anything."""
    bus = host.sys / "bus/pci/devices"
    try:
        names = sorted((name for name in bus.names() if name not in known), key=pci.order)
    except SysfsError as error:
        yield unreadable(host.kernel_path(bus), error)
        return
    strangers = pci.Strangers(host, userspace.ANYTHING.union(_DRIVERS))
    yield from host.each(
        (bus / name for name in names if name not in strangers), lambda link: _bare(host, link, strangers)
    )


def _bare(host: Host, link: Dir, strangers: pci.Strangers) -> Iterator[Exclusion]:
    if (
        link.optional_text("class") != _CLASS
        or (pci.identity(link, "vendor"), pci.identity(link, "device")) not in _IDS
    ):
        strangers.add(link.name)
        return
    path, driver = host.kernel_path(link.resolved()), link.link_name("driver")
    again = "this is looked at again by itself"
    if driver in _DRIVERS:
        evidence = f"driver {driver} made neither port nor engine of it"
        yield Exclusion(path, "no-unit", evidence, f"look at the kernel log; {again}")
    else:
        found = "no driver" if driver is None else f"driver {driver[:40]!r}"
        yield Exclusion(path, "driver", found, f"bind it to one of: {', '.join(_DRIVERS)}; {again}")
