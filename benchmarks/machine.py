"""Machines with many devices, as tree text: with all kinds, or with as many as wanted of a single one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from intel_agent.simulation.accelerators import Dlb, Gaudi, Npu
from intel_agent.simulation.fpgas import Fpga
from intel_agent.simulation.fpgas import Port as FpgaPort
from intel_agent.simulation.machines import DEDICATED, SHARED, Function, Gpu, Idxd, at, netlink, sgx, vfio
from intel_agent.simulation.nics import NETWORK, OWN, Port, Virtual, links, network_interface
from intel_agent.simulation.qats import Qat

DEVICES = 2000
KINDS = ("gpu", "npu", "qat", "dsa", "iaa", "dlb", "fpga", "nic", "gaudi")
"""Kinds that a node can have any number of; SGX has two devices."""
EACH = (DEVICES - 2) // len(KINDS)
NIC = {"pools": [{"resourceName": "e810", "selectors": [{"drivers": ["iavf", "vfio-pci"]}]}]}
"""The section without which no network function is looked for."""

_BUSES = 240
"""Buses of a domain that are used."""
_QUEUES = (*[SHARED] * 4, *[DEDICATED] * 4)
_INTERFACE, _AFU = "69528db6eb31577a8c3668f9faa081f6", "d8424dc4a4a3c413f89e433683f9040b"
_FREE = 10_000
"""IOMMU groups and interfaces from which on each kind has its own numbers: so many times its place among the kinds."""


def all_kinds() -> Iterator[str]:
    """Yield a node with 2,000 devices: as many of each kind, and SGX."""
    yield from sgx()
    yield from vfio()
    for kind in KINDS:
        yield from _BUILDERS[kind](EACH)


def only(kind: str, count: int) -> Iterator[str]:
    """Yield a node with so many devices of one kind and of no other."""
    yield from vfio()
    yield from _BUILDERS[kind](count)


def _slots(kind: str, count: int) -> Iterator[str]:
    """Yield the directories of functions, each below a root port and alone on its bus, in domains of their own."""
    first = (KINDS.index(kind) + 1) << 8
    for number in range(count):
        domain, bus = first + number // _BUSES, number % _BUSES
        yield at(f"{domain:04x}:{bus + 1:02x}:00.0", f"{domain:04x}:00:{bus // 8:02x}.{bus % 8}")


def _group(kind: str, number: int) -> int:
    return _FREE * (KINDS.index(kind) + 1) + number


def _pair(number: int) -> int:
    """Return a number for a device with two nodes, whose minor numbers are 128 apart, so that no two devices clash."""
    return number // 128 * 256 + number % 128


def _portions(count: int, most: int) -> list[int]:
    """Return `count` in portions of at most `most`."""
    return [min(most, count - begin) for begin in range(0, count, most)]


def _gpus(count: int) -> Iterator[str]:
    for number, slot in enumerate(_slots("gpu", count)):
        yield from Gpu(_pair(number), slot, numa=number % 2, group=_group("gpu", number), memory=16).lines()


def _npus(count: int) -> Iterator[str]:
    for number, slot in enumerate(_slots("npu", count)):
        yield from Npu(_pair(number), slot, numa=number % 2, group=_group("npu", number)).lines()


def _qats(count: int) -> Iterator[str]:
    portions = _portions(count, 16)
    for number, (slot, virtual) in enumerate(zip(_slots("qat", len(portions)), portions, strict=True)):
        group, first = _group("qat", 20 * number), 16 * number
        yield from Qat(
            slot, services="sym;asym", virtual=virtual, numa=number % 2, group=group, first_cdev=first
        ).lines()


def _queues(kind: str, name: str, count: int) -> Iterator[str]:
    portions = _portions(count, len(_QUEUES))
    first = 0 if kind == "dsa" else 10_000  # numbers count over both kinds
    for number, (slot, queues) in enumerate(zip(_slots(kind, len(portions)), portions, strict=True)):
        minor, group = number * len(_QUEUES), _group(kind, number)
        yield from Idxd(name, first + number, slot, _QUEUES[:queues], minor, number % 2, group).lines()


def _balancers(count: int) -> Iterator[str]:
    number = 0
    for slot, functions in _physical("dlb", count, 16):
        group = _group("dlb", number)
        yield from Dlb(number, slot, group=group, virtual=functions).lines()
        for function in functions:
            number += 1
            yield from Dlb(number, function, group=group + number, physical=slot).lines()
        number += 1


def _physical(kind: str, count: int, most: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield physical functions with the virtual ones of each, which together are so many."""
    portions = _portions(count, most)
    for slot, virtual in zip(_slots(kind, len(portions)), portions, strict=True):
        above, _, address = slot.rpartition("/")
        bus = address.rpartition(":")[0]
        yield slot, [f"{above}/{bus}:{place // 8:02x}.{place % 8}" for place in range(1, virtual + 1)]


def _fpgas(count: int) -> Iterator[str]:
    """Yield cards with two ports each."""
    for number, slot in enumerate(_slots("fpga", count // 2)):
        ports = [FpgaPort(2 * number + place, place, _AFU) for place in (0, 1)]
        group = _group("fpga", number)
        yield from Fpga(slot, number, 3 * number, _INTERFACE, ports, numa=number % 2, group=group).lines()


def _nics(count: int) -> Iterator[str]:
    """Yield ports with 64 virtual functions each, half of them with an interface, and what the node lives on."""
    portions = _portions(count, 64)
    kernel, user = Virtual(), Virtual("vfio-pci")
    ports = [
        Port(
            slot,
            f"ens{number}",
            index=_FREE + 1000 * number,
            group=_group("nic", 1000 * number),
            numa=number % 2,
            virtual=[user if place % 2 else kernel for place in range(virtual)],
        )
        for number, (slot, virtual) in enumerate(zip(_slots("nic", len(portions)), portions, strict=True))
    ]
    own = at("0000:02:00.0", "0000:01:00.0")
    yield from Function(own, "8086:1521", "igb", NETWORK, group=1).lines()
    yield from network_interface(own, OWN.name, OWN.index)
    yield from netlink(links(ports, OWN.name, OWN))
    yield from chain.from_iterable(port.lines() for port in ports)


def _gaudis(count: int) -> Iterator[str]:
    for number, slot in enumerate(_slots("gaudi", count)):
        group = _group("gaudi", number)
        card = _pair(_FREE + number)  # NPUs have the numbers before
        yield from Gaudi(card, slot, module=number % 8, verbs=number, numa=number % 2, group=group).lines()


_BUILDERS: Mapping[str, Callable[[int], Iterator[str]]] = {
    "gpu": _gpus,
    "npu": _npus,
    "qat": _qats,
    "dsa": lambda count: _queues("dsa", "dsa", count),
    "iaa": lambda count: _queues("iaa", "iax", count),
    "dlb": _balancers,
    "fpga": _fpgas,
    "nic": _nics,
    "gaudi": _gaudis,
}
