"""Nodes with QAT devices as tree text, and what the backend says of them."""

import msgspec

from intel_agent.backends.qat import Qat
from intel_agent.inventory import Found
from intel_agent.simulation import qats
from intel_agent.simulation.machines import Function, at, link, vfio
from intel_agent.sysfs import Host

ADDRESS = "0000:6b:00.0"
PHYSICAL = at(ADDRESS, "0000:6a:01.0")
FIRST = at("0000:6b:00.1", "0000:6a:01.0")


def text(*parts: qats.Qat) -> str:
    return "\n".join([*vfio(), *(line for part in parts for line in part.lines())])


def device(virtual: int = 2, *, directory: str = PHYSICAL, group: int = 50) -> qats.Qat:
    """Return a device below a root port, with so many virtual functions."""
    return qats.Qat(directory, services="sym;asym", virtual=virtual, numa=1, group=group, first_cdev=group)


ONE = text(device(1))
TWO = text(device(2))
TWELVE = text(device(12))
OTHER = device(1, directory=at("0000:e8:00.0"), group=60)
C6XX = qats.Qat(at("0000:b1:00.0"), "8086:37c8", "8086:37c9", "c6xx", virtual=1, group=80, first_cdev=80)


def without(tree: str, *paths: str) -> str:
    """Return the tree without some entries."""
    return "\n".join(line for line in tree.splitlines() if line.split(" ")[0] not in paths)


def bound(tree: str, directory: str, driver: str | None) -> str:
    """Return the tree with a function that has another driver, or none."""
    rest = without(tree, f"{directory}/driver")
    if driver is None:
        return rest
    return f"{rest}\n{link(f'{directory}/driver', f'/sys/bus/pci/drivers/{driver}')}\n/sys/bus/pci/drivers/{driver}/"


def alone(identity: str) -> str:
    """Return the tree of a virtual function as a virtual machine sees it."""
    function = Function(at("0000:00:05.0"), identity, "vfio-pci", "0b4000", -1, 3)
    return "\n".join([*vfio(), *function.lines(), *function.user_space(0)])


def found(host: Host, **section: object) -> Found:
    backend = msgspec.convert(section, Qat)
    assert backend.problems() == {}
    return Found.of(backend.discover(host))


def ids(host: Host, **section: object) -> list[str]:
    return [each.id for each in found(host, **section).devices]


def rules(host: Host, **section: object) -> dict[str, str]:
    return {each.path: each.rule for each in found(host, **section).exclusions}
