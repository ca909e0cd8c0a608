"""Which devices share a fault, and what it means for each: pure functions from what is wrong to an inventory.

A fault at a path hits everything at or below it (the shares of a card, the queues of an accelerator, all that hangs on
a bridge), and what depends on it (`Device.depends_on`: a physical function's virtual ones, an IOMMU group).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from intel_agent.config import Config
from intel_agent.health import marks
from intel_agent.health.bodies import Bodies, fateful
from intel_agent.health.condition import EVERY_KIND
from intel_agent.health.marks import Mark, Marks
from intel_agent.health.record import Acting, Record
from intel_agent.inventory import Found, Inventory
from intel_agent.model import SETTLED, WARNINGS, Device, Fault, Reason, Treatment

Treatments: TypeAlias = Callable[[str, Device, Reason], Treatment]
"""What to make of a reason, for a device of a kind."""

_Faults = Mapping[str, Sequence[tuple[str, Fault]]]
"""Kind and fault, by path."""


def treatments(config: Config) -> Treatments:
    """Return how the configuration treats reasons: a rule for the device, then the kind's section, then `health`."""
    kinds = {backend.name: backend.reasons for backend in config.devices.backends}
    every = config.health.reasons

    def treatment(kind: str, device: Device, reason: Reason) -> Treatment:
        if reason in SETTLED:
            return "fault"
        if (own := device.treatments.get(reason)) is not None:
            return own
        default: Treatment = "warning" if reason in WARNINGS else "fault"
        return kinds.get(kind, every).get(reason, every.get(reason, default))

    return treatment


def at_first_sight(inventory: Inventory, config: Config) -> Inventory:
    """Return the inventory of one look alone, without anything that was told or remembered."""
    record = Record().seen(inventory, 0.0, config.health.recovery_seconds, Bodies.of(inventory))
    return judged(inventory, record.acting(0.0, config.health.recovery_seconds), treatments(config), {})


def judged(inventory: Inventory, acting: Iterable[Acting], treatment: Treatments, words: Marks) -> Inventory:
    """Return the inventory with what is wrong in each device, as fault or as warning; `words` count most."""
    by_path: dict[str, list[tuple[str, Fault]]] = {}
    for each in acting:
        by_path.setdefault(each.path, []).append((each.kind, each.fault))
    return Inventory(
        MappingProxyType(
            {kind: _found(kind, found, by_path, treatment, words) for kind, found in inventory.found.items()}
        )
    )


def _found(kind: str, found: Found, faults: _Faults, treatment: Treatments, words: Marks) -> Found:
    devices = found.devices
    if faults or words or any(device.faults for device in devices):
        devices = tuple(_device(kind, device, faults, treatment, marks.of(words, kind, device)) for device in devices)
    return replace(found, devices=devices, signs=())


def _device(kind: str, device: Device, faults: _Faults, treatment: Treatments, mark: Mark | None) -> Device:
    sorted_: dict[Treatment, set[Fault]] = {"fault": set(), "warning": set(), "ignore": set()}
    for path in fateful(device):
        for whose, fault in faults.get(path, ()):
            if whose in {EVERY_KIND, kind}:
                sorted_[treatment(kind, device, fault.reason)].add(fault)
    reserved = frozenset(each for each in device.faults if each.reason is Reason.RESERVED)
    bad, doubtful = reserved.union(sorted_["fault"]), frozenset(sorted_["warning"])
    match mark:
        case Mark(word="unhealthy"):
            bad |= {mark.fault}
        case Mark(word="healthy"):
            settled = {each for each in bad if each.reason in SETTLED}
            bad, doubtful = frozenset(settled), doubtful | (bad - settled)
        case _:
            pass
    if bad == device.faults and doubtful == device.warnings:
        return device
    return replace(device, faults=bad, warnings=doubtful)
