"""Which devices a pool wants: the fields of a selector, what may stand in them, and whether they fit a device.

Words and meaning are those of the SR-IOV network device plugin's configuration.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from intel_agent import pci
from intel_agent.backends.nic.candidates import Candidate

DeviceType = Literal["netDevice", "accelerator", "auxNetDevice"]

_ID = re.compile(r"[0-9a-f]{4}")
_PARTITION_KEY = re.compile(r"0x[0-9a-f]{4}")
_NUMBERS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
SCALABLE = "sf"
"""The only type of auxiliary devices that can be given away."""


def _list(description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description)


class Selector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Devices that fit every key that is given; a list fits when one of its items does."""

    vendors: Annotated[tuple[str, ...], _list('PCI vendor ids as four digits: "8086".')] = ()
    devices: Annotated[tuple[str, ...], _list('PCI device ids as four digits: "1889".')] = ()
    drivers: Annotated[tuple[str, ...], _list("Kernel drivers: iavf, vfio-pci.")] = ()
    pci_addresses: Annotated[tuple[str, ...], _list('PCI addresses with their domain: "0000:3b:02.0".')] = ()
    acpi_indexes: Annotated[tuple[str, ...], _list('Firmware\'s numbers for ports (`acpi_index`): "101".')] = ()
    pf_names: Annotated[
        tuple[str, ...],
        _list('Interfaces whose functions are meant, never they themselves: ens1f0; with numbers: "ens1f0#0-3,7".'),
    ] = ()
    root_devices: Annotated[
        tuple[str, ...],
        _list(
            'Physical functions whose virtual functions are meant: "0000:3b:00.0"; with numbers: "0000:3b:00.0#0-3".'
        ),
    ] = ()
    link_types: Annotated[tuple[str, ...], _list("Hardware types of interfaces: ether, infiniband.")] = ()
    ddp_profiles: Annotated[tuple[str, ...], _list("Names of loaded packages (Dynamic Device Personalization).")] = ()
    p_keys: Annotated[tuple[str, ...], _list('InfiniBand partition keys: "0x8001".')] = ()
    is_rdma: Annotated[bool, _list("Whether only devices with RDMA are meant, which bring its device nodes along.")] = (
        False
    )
    need_vhost_net: Annotated[
        bool, _list("Whether containers get /dev/vhost-net and /dev/net/tun with the device.")
    ] = False
    vdpa_type: Annotated[
        Literal["", "vhost", "virtio"], _list("Only functions with a vDPA device, of this driver; nothing: all.")
    ] = ""
    aux_types: Annotated[tuple[str, ...], _list("Types of auxiliary devices: sf. Needed for auxNetDevice.")] = ()

    @property
    def given(self) -> Iterator[str]:
        """The keys that say something."""
        return (each.encode_name for each in msgspec.structs.fields(self) if getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class Functions:
    """Functions of one physical function, by interface or address: all of them, or some numbers."""

    parent: str
    numbers: tuple[range, ...] | None

    def has(self, index: int | None) -> bool:
        return self.numbers is None or any(index in each for each in self.numbers)


@functools.lru_cache(maxsize=4096)
def functions(text: str) -> Functions:
    """Return what an item of `pfNames` or `rootDevices` means.

    Raises:
        ValueError: it means nothing, with what would.
    """
    parent, mark, listed = text.partition("#")
    if not parent or "#" in listed:
        raise ValueError('allowed a name, or a name with numbers: "ens1f0#0-3,7"')
    return Functions(parent, tuple(map(_numbers, listed.split(","))) if mark else None)


def _numbers(text: str) -> range:
    found = _NUMBERS.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is neither a number nor a range like "0-3"')
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(f'"{text}" has no numbers in it: write the smaller one first')
    return range(first, last + 1)


def _among(items: Sequence[str], name: str, index: int | None) -> bool:
    """Return whether the first of the items with this name has the function."""
    meant = (each for each in map(functions, items) if each.parent.casefold() == name.casefold())
    return bool(name) and any(each.has(index) for each in _first(meant))


def _first(items: Iterator[Functions]) -> Iterator[Functions]:
    if (first := next(items, None)) is not None:
        yield first


_FITS: Mapping[str, Callable[[Selector, Candidate], bool]] = {
    "vendors": lambda wanted, one: one.vendor in wanted.vendors,
    "devices": lambda wanted, one: one.device in wanted.devices,
    "drivers": lambda wanted, one: one.driver in wanted.drivers,
    "pciAddresses": lambda wanted, one: one.address in wanted.pci_addresses,
    "acpiIndexes": lambda wanted, one: one.acpi_index in wanted.acpi_indexes,
    "auxTypes": lambda wanted, one: one.aux_type in wanted.aux_types,
    "pfNames": lambda wanted, one: _among(wanted.pf_names, one.pf_name, one.index),
    "rootDevices": lambda wanted, one: _among(wanted.root_devices, one.pf_address, one.index),
    "linkTypes": lambda wanted, one: one.link_type in wanted.link_types,
    "ddpProfiles": lambda wanted, one: bool(one.ddp_profile) and one.ddp_profile in wanted.ddp_profiles,
    "pKeys": lambda wanted, one: bool(one.p_key) and one.p_key in wanted.p_keys,
    "isRdma": lambda wanted, one: one.is_rdma == wanted.is_rdma,
    "vdpaType": lambda wanted, one: one.vdpa_type == wanted.vdpa_type,
}
"""Whether a device fits a key, in the order in which they are tried."""

_BY_TYPE: Mapping[DeviceType, frozenset[str]] = {
    "netDevice": frozenset(_FITS.keys() - {"auxTypes"}),
    "accelerator": frozenset({"vendors", "devices", "drivers", "pciAddresses"}),
    "auxNetDevice": frozenset(
        {"vendors", "devices", "drivers", "auxTypes", "pfNames", "rootDevices", "linkTypes", "isRdma"}
    ),
}
"""The keys that say which devices of a type are meant."""


def first_misfit(selector: Selector, device_type: DeviceType, one: Candidate) -> str | None:
    """Return the first key of the selector that the device does not fit, or `None` when it fits all.

    Raises:
        SysfsError: it cannot be told.
    """
    return next((key for key in _wanted(selector, device_type) if not _FITS[key](selector, one)), None)


def nearness(selector: Selector, device_type: DeviceType, one: Candidate) -> tuple[int, str]:
    """Return how many keys a device fits before the first one that it does not fit, and which that is.

    Raises:
        SysfsError: it cannot be told.
    """
    wanted = _wanted(selector, device_type)
    misfit = first_misfit(selector, device_type, one)
    return wanted.index(misfit) if misfit else len(wanted), misfit or ""


@functools.lru_cache(maxsize=1024)
def _wanted(selector: Selector, device_type: DeviceType) -> tuple[str, ...]:
    """Return the keys that decide, in the order in which they do."""
    given = _BY_TYPE[device_type].intersection(selector.given)
    return tuple(key for key in _FITS if key in given)


def without_effect(selector: Selector, device_type: DeviceType) -> Iterator[str]:
    """Yield the keys that are given and say nothing about devices of the type."""
    known = _BY_TYPE[device_type] | (frozenset[str]() if device_type == "accelerator" else frozenset({"needVhostNet"}))
    return (key for key in selector.given if key not in known)


def problems(selector: Selector, device_type: DeviceType) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a selector beyond its types: key path to problem."""
    for key in without_effect(selector, device_type):
        yield key, f"has no effect on deviceType {device_type}: leave it out"
    if selector.is_rdma and selector.vdpa_type:
        yield "vdpaType", "cannot be given together with isRdma: write two selectors"
    if device_type == "auxNetDevice" and not selector.aux_types:
        yield "auxTypes", f"found nothing; allowed [{SCALABLE}]"
    for key, (fits, allowed) in _FORMS.items():
        for place, text in enumerate(getattr(selector, key)):
            if not fits(text):
                yield f"{_encoded(key)}[{place}]", f'found "{text}"; allowed {allowed}{_meant(key, text)}'
    for key in ("pf_names", "root_devices"):
        yield from _odd_functions(_encoded(key), getattr(selector, key), address=key == "root_devices")


def _odd_functions(key: str, items: Sequence[str], *, address: bool) -> Iterator[tuple[str, str]]:
    first: dict[str, int] = {}
    for place, text in enumerate(items):
        where = f"{key}[{place}]"
        try:
            parent = functions(text).parent
        except ValueError as error:
            yield where, f'found "{text}"; {error}'
            continue
        if address and not pci.ADDRESS.fullmatch(parent.lower()):
            yield where, f'found "{text}"; allowed a PCI address as in "0000:3b:00.0#0-3"'
        before = first.setdefault(parent.casefold(), place)
        if before != place:
            yield where, f"means {parent} again, which only {key}[{before}] decides about: put the numbers there"


_Form = tuple[Callable[[str], object], str]
_SOME: _Form = (bool, "a text")
_FORMS: Mapping[str, _Form] = {
    "vendors": (_ID.fullmatch, "four hexadecimal digits in lower case, without 0x"),
    "devices": (_ID.fullmatch, "four hexadecimal digits in lower case, without 0x"),
    "drivers": _SOME,
    "pci_addresses": (pci.ADDRESS.fullmatch, 'a PCI address in lower case with its domain: "0000:3b:02.0"'),
    "acpi_indexes": _SOME,
    "link_types": _SOME,
    "ddp_profiles": _SOME,
    "p_keys": (_PARTITION_KEY.fullmatch, 'a partition key as the kernel writes it: "0x8001"'),
    "aux_types": (SCALABLE.__eq__, SCALABLE),
}
"""What an item of a list must be like to fit any device at all."""


def never_fits(key: str, text: str) -> bool:
    """Return whether an item of the list `key` (as the struct calls it) can fit no device, as it is written."""
    return key in _FORMS and not _FORMS[key][0](text)


def _meant(key: str, text: str) -> str:
    fits = _FORMS[key][0]
    lower = text.strip().lower()
    candidates = (lower, lower.removeprefix("0x"), f"0000:{lower}") if lower else ()
    meant = next((each for each in candidates if fits(each)), None)
    return f'; did you mean "{meant}"?' if meant else ""


def _encoded(name: str) -> str:
    return next(each.encode_name for each in msgspec.structs.fields(Selector) if each.name == name)
