"""What is wrong with this node's devices at a moment, for those who act on it. Pure.

What the configuration decided (a device that is hidden, reserved, or offered under another name) is nothing wrong.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from intel_agent.inventory import Inventory
from intel_agent.model import Device, Fault, Reason
from intel_agent.publish.roster import Line, Listing, departed

DECIDED = frozenset({Reason.HELD, Reason.RESERVED})
"""Reasons that somebody decided on: the device itself is well."""


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """A device that cannot be handed out, and why. `kind` is the section of the configuration that it belongs to."""

    kind: str
    device: Device
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """All that is unhealthy, out of so many devices. `unknown` are the kinds that nothing can be said of, and why."""

    unhealthy: tuple[Unhealthy, ...]
    devices: int
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])


def observed(kinds: Mapping[str, Collection[str]], inventory: Inventory, listings: Iterable[Listing]) -> NodeHealth:
    """Return what is wrong with devices of the enabled `kinds`: those that are there, and those that left.

    Each kind comes with the rules of its exclusions that somebody decided on: what they leave out is well.
    Who left is in the `listings` for kubelet until nobody can have it any more.
    """
    here = [(kind, device) for kind, found in inventory.found.items() if kind in kinds for device in found.devices]
    found = [Unhealthy(kind, device, faults) for kind, device in here if (faults := _faults(device.faults))]
    left = list(_left(kinds, inventory, listings))
    return NodeHealth((*found, *left), len(here) + len(left), dict(_unknown(kinds, inventory)))


def meant(health: NodeHealth, kinds: Collection[str], reasons: Collection[str]) -> Iterator[Unhealthy]:
    """Yield what is unhealthy of these kinds for one of these reasons; an empty collection means all of them."""
    for each in health.unhealthy:
        if (not kinds or each.kind in kinds) and (not reasons or any(fault.reason in reasons for fault in each.faults)):
            yield each


def _left(
    kinds: Mapping[str, Collection[str]], inventory: Inventory, listings: Iterable[Listing]
) -> Iterator[Unhealthy]:
    here = {
        kind: {(each.resource, each.id) for each in found.devices}
        for kind, found in inventory.found.items()
        if found.problem is None
    }
    lines = [
        (listing.backend, line)
        for listing in listings
        if listing.backend in kinds
        for line in listing.lines
        if line.departed is not None or _lost(line, here.get(listing.backend))
    ]
    if not lines:
        return
    there = {path for device in inventory.devices for path in device.paths}
    there |= {
        each.path
        for kind, rules in kinds.items()
        if kind in inventory.found
        for each in inventory.found[kind].exclusions
        if each.reason is Reason.GONE and each.rule in rules
    }
    excluded = {each.path: each for each in inventory.exclusions}
    told: set[tuple[str, str]] = set()
    for kind, line in lines:
        key, path = (line.device.resource, line.device.id), line.device.sysfs_path
        found = line.faults if line.departed is not None else {departed(line.device, excluded.get(path))}
        if key not in told and path not in there and (faults := _faults(found)):
            told.add(key)
            yield Unhealthy(kind, line.device, faults)


def _lost(line: Line, here: Collection[tuple[str, str]] | None) -> bool:
    """Whether a device that kubelet hears of has left, and its line does not say so yet; `here` are those of its kind.

    `None` means that nobody knows.
    """
    return here is not None and (line.device.resource, line.device.id) not in here


def _faults(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(each for each in sorted(faults) if each.reason not in DECIDED)


def _unknown(kinds: Iterable[str], inventory: Inventory) -> Iterator[tuple[str, str]]:
    for kind in kinds:
        found = inventory.found.get(kind)
        if found is None:
            yield kind, "not looked at yet"
        elif found.problem is not None:
            yield kind, found.problem
