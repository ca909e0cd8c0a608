"""PCI words over a device's directory in sysfs.

Source: Documentation/ABI/testing/sysfs-bus-pci.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import msgspec

from intel_agent.errors import SysfsError
from intel_agent.model import Device, Exclusion
from intel_agent.sysfs import Dir, Host, unreadable

INTEL = "0x8086"

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""Domain (four digits or more), bus, device, function."""

_NO_NODE = -1
"""What the kernel writes for a device that is near to no node in particular."""

RUNTIME_STATUS = "power/runtime_status"
ASLEEP = frozenset({"suspended", "suspending", "resuming", "error"})
"""What that file says of a function that reading would wake."""

_ID = re.compile(r"0x[0-9a-f]{4}")

# An integer is taken only to be refused in better words than "expected a string"; the schema does not take it.
_Id = Annotated[str | int, msgspec.Meta(extra_json_schema={"type": "string", "pattern": "^ *0[xX][0-9a-fA-F]{4} *$"})]
IdList = Annotated[tuple[_Id, ...] | str | int, msgspec.Meta(extra_json_schema={"type": ["array", "string"]})]
"""Ids in a configuration: a list, or the comma list of the existing custom resources."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a function says of itself without a driver, as the kernel writes it: `0x8086`, `0x56c0`, `0x038000`."""

    vendor: str
    device: str
    pci_class: str

    def __str__(self) -> str:
        return f"{self.vendor.removeprefix('0x')}:{self.device.removeprefix('0x')}"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a function is by its identity: a name for people, and the drivers with which it is offered.

    `drivers` has the name of the module by that of the driver; `stopped_by` are words of the kernel's command line with
    which those do nothing.
    """

    name: str
    drivers: Mapping[str, str]
    stopped_by: frozenset[str] = frozenset()


def ids(given: IdList) -> frozenset[str]:
    """Return the ids of a list, each as the kernel writes it."""
    return frozenset(each for each in _pieces(given) if isinstance(each, str))


def id_list_problem(given: IdList) -> str | None:
    """Return what is wrong with a list of ids, or `None`."""
    wrong = [_id_problem(each) for each in _pieces(given)]
    return "; ".join(problem for problem in wrong if problem) or None


def _pieces(given: IdList) -> list[str | int]:
    match given:
        case "":
            return []
        case str():
            pieces: list[str | int] = [*given.split(",")]
        case int():
            pieces = [given]
        case _:
            pieces = list(given)
    return [each.strip().lower() if isinstance(each, str) else each for each in pieces]


def _id_problem(piece: str | int) -> str | None:
    if isinstance(piece, int):
        return f'{piece} is a number: quote the id, for example "{piece:#06x}"'
    if not _ID.fullmatch(piece):
        return f'{piece!r} is not a PCI device id like "0x56c0" (0x and four hexadecimal digits)'
    return None


def order(address: str) -> tuple[int, str]:
    """Return a key that sorts PCI addresses as the bus counts them; an SR-IOV device numbers its functions so, too.

    All parts are hexadecimal and of fixed width, but the domain, which is longer when it is higher.
    """
    return len(address), address


class Strangers:
    """Which functions need no reading: those with a driver that was seen to have something else.

    There may be thousands of functions, and few drivers. What has which driver is asked of the drivers, which is one
    listing for each; a driver that cannot be listed has none, so that its functions are read.
    """

    def __init__(self, host: Host, mixed: Container[str | None]) -> None:
        """`mixed` are drivers that have what is wanted and other things, too (`None`: functions without any)."""
        self._mixed = mixed
        self._drivers = drivers(host)
        self._elsewhere: set[str | None] = set()

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self._drivers.get(address) in self._elsewhere

    def add(self, address: str) -> None:
        """Say that this function is something else."""
        if (driver := self._drivers.get(address)) not in self._mixed:
            self._elsewhere.add(driver)


def drivers(host: Host) -> dict[str, str]:
    """Return the driver of each function that has one, by address, as far as drivers can be listed."""
    found: dict[str, str] = {}
    directory = host.sys / "bus/pci/drivers"
    with suppress(SysfsError):
        for driver in directory.names():
            with suppress(SysfsError):
                found |= dict.fromkeys((directory / driver).names(), driver)
    return found


def functions(
    host: Host, devices: Container[str], *, mixed: Container[str | None], listed: str = "bus/pci/devices"
) -> Iterator[tuple[Dir, str] | Exclusion]:
    """Yield Intel's functions with one of these device ids, and the id; in the order of addresses, at any depth.

    What may be such a function and cannot be read is an exclusion. Nothing else of a function is read.
    `mixed` are the drivers that have such functions and others (see `Strangers`).
    `listed` is where their links are, if only those of one driver are wanted.

    Raises:
        SysfsError: they cannot be listed.
    """
    directory = host.sys / listed
    strangers = Strangers(host, mixed)
    for name in sorted(filter(ADDRESS.fullmatch, directory.names()), key=order):
        if name in strangers:
            continue
        link = directory / name
        here = _itself(link)
        try:
            with host.reading(here):
                device = identity(link, "device")
                wanted = device in devices and identity(link, "vendor") == INTEL
                function = link.resolved() if wanted else None
        except SysfsError as error:
            yield unreadable(host.kernel_path(here), error)
        else:
            if function is None:
                strangers.add(name)
            else:
                yield function, device


def _itself(link: Dir) -> Dir:
    """Return where the link leads, by its text: as all kinds call the function, so that it is quarantined once."""
    try:
        function = link.followed()
    except SysfsError:
        return link
    return function if function.name == link.name else link


def function_above(directory: Dir) -> Dir | None:
    """Return the nearest PCI function at or above a resolved directory, or `None` when there is none."""
    path = directory.path
    while path:
        if ADDRESS.fullmatch(path.rpartition("/")[2]):
            return Dir(path)
        path = path.rpartition("/")[0]
    return None


def identity(function: Dir, name: str) -> str:
    """Return the id in the file `name` (`vendor`, `device`), for example `0x8086`.

    Raises:
        SysfsError: the file cannot be read or holds something else.
    """
    text = function.text(name)
    if not _ID.fullmatch(text):
        raise SysfsError(f"{function.path}/{name}", f"{text[:40]!r} is not a PCI id like 0x8086")
    return text


def asleep(function: Dir) -> bool:
    """Whether to read what needs power would wake the function, or must wait for it.

    Source: Documentation/ABI/testing/sysfs-devices-power, `runtime_status`, which wakes nothing.

    Raises:
        SysfsError: that cannot be told.
    """
    return function.optional_text(RUNTIME_STATUS) in ASLEEP


def virtual_functions(function: Dir) -> int:
    """Return how many virtual functions are enabled; 0 for a function without SR-IOV.

    Raises:
        SysfsError: the number cannot be told.
    """
    count = function.optional_integer("sriov_numvfs")
    if count is not None and count < 0:
        raise SysfsError(f"{function.path}/sriov_numvfs", f"{count} is not a number of functions")
    return count or 0


def numa_nodes(directory: Dir) -> tuple[int, ...]:
    """Return the NUMA node of the device, or nothing when the kernel does not know it (no file, or -1).

    Source: Documentation/ABI/testing/sysfs-bus-pci, `numa_node`.

    Raises:
        SysfsError: the file cannot be read or holds no number.
    """
    node = directory.optional_integer("numa_node")
    if node is not None and node < _NO_NODE:
        raise SysfsError(f"{directory.path}/numa_node", f"{node} is not a NUMA node, nor {_NO_NODE} for none")
    return () if node is None or node == _NO_NODE else (node,)


def of_class(host: Host, name: str, members: re.Pattern[str]) -> tuple[dict[Dir, str], list[Exclusion]]:
    """Return the members of a class (`/sys/class/<name>`) by the PCI function whose driver made them.

    Those that belong to something else than a PCI function are left out; exclusions are of those that lead nowhere,
    and of second ones of a function. Only links are followed, so no driver can block it.

    Raises:
        SysfsError: the class is there and cannot be listed.
    """
    found: dict[Dir, str] = {}
    odd: list[Exclusion] = []
    for link in (host.sys / "class" / name).children(members):
        try:
            function = _maker(host, link, name)
        except SysfsError as error:
            odd.append(unreadable(host.kernel_path(link), error))
            continue
        if function is not None and (first := found.setdefault(function, link.name)) != link.name:
            remedy = "report this with the names of the kernel and the device"
            odd.append(Exclusion(host.kernel_path(link), "second-device", f"{first} is the same device", remedy))
    return found, odd


def _maker(host: Host, link: Dir, kind: str) -> Dir | None:
    member = link.resolved()
    maker = Dir(member.path.removesuffix(f"/{kind}/{link.name}"))
    if not host.kernel_path(member).startswith("/sys/devices/"):
        raise SysfsError(link.path, "is not a link to a device below /sys/devices")
    return maker if maker != member and ADDRESS.fullmatch(maker.name) else None


def others(
    host: Host,
    known: Container[str],
    wanted: Container[str | None],
    read: Callable[[Dir], Iterable[Device | Exclusion]],
) -> Iterator[Device | Exclusion]:
    """Have `read` look at the functions with a `wanted` driver (`None`: without any), if not at a `known` address."""
    bus = host.sys / "bus/pci/devices"
    driver = drivers(host)
    try:
        names = [name for name in bus.names() if name not in known and driver.get(name) in wanted]
    except SysfsError as error:
        yield unreadable(host.kernel_path(bus), error)
        return
    yield from host.each((bus / name for name in sorted(filter(ADDRESS.fullmatch, names), key=order)), read)
