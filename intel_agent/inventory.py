"""All devices of the node at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import assert_never

from intel_agent.model import UNREADABLE_RULE, Device, Exclusion, Fault, Reason, RuleProblem, Signs


@dataclass(frozen=True, slots=True)
class Found:
    """What one backend saw in one look. `problem` says why the look failed as a whole, if it did."""

    devices: tuple[Device, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    problem: str | None = None
    rule_problems: tuple[RuleProblem, ...] = ()
    """What is wrong with the rules of the section, as far as this look shows it."""
    signs: tuple[Signs, ...] = ()

    @classmethod
    def of(cls, items: Iterable[Device | Exclusion | Signs]) -> "Found":
        """Sort what a backend yields into devices, exclusions and signs.

        An id that two devices claim belongs to the first one; the other becomes an exclusion.
        """
        devices: list[Device] = []
        exclusions: list[Exclusion] = []
        signs: list[Signs] = []
        for item in items:
            match item:
                case Device():
                    devices.append(item)
                case Exclusion():
                    exclusions.append(item)
                case Signs():
                    signs.append(item)
                case _:
                    assert_never(item)
        return cls(tuple(devices), tuple(exclusions), signs=tuple(signs)).distinct()

    def distinct(self) -> "Found":
        """Return this look without devices that have an id of one before them; they become exclusions."""
        return _unclaimed({}, self)

    def after(self, before: "Found") -> "Found":
        """Return this look with the devices of the last one that are still there but cannot be read any more.

        Unknown is never healthy, and never gone: they stay, with the fault `unreadable`.
        """
        unreadable = {each.path: each for each in self.exclusions if each.rule == UNREADABLE_RULE}
        seen = {device.sysfs_path for device in self.devices}
        kept = tuple(
            _unreadable(device, unreadable[device.sysfs_path].evidence)
            for device in before.devices
            if device.sysfs_path in unreadable and device.sysfs_path not in seen
        )
        # A card may have got the number of one that cannot be read any more: whoever can be read has the name.
        return replace(self, devices=self.devices + kept).distinct() if kept else self

    def failed(self, problem: str, *, lasting: bool) -> "Found":
        """Return this look, the last good one, for a backend that `problem` keeps from looking.

        Once the problem is `lasting`, nothing can be said of the devices any more: they are unreadable.
        """
        devices = tuple(_unreadable(device, problem) for device in self.devices) if lasting else self.devices
        return replace(self, devices=devices, problem=problem)


_Claims = dict[str, dict[str, Device]]
"""Who has which id, by resource and id."""


def _unclaimed(claimed: _Claims, found: Found) -> Found:
    """Return what was found without the devices whose ids are claimed already; claim the others'."""
    devices: list[Device] = []
    doubles: list[Exclusion] = []
    for device in found.devices:
        first = _claim(claimed, device)
        if first is None:
            devices.append(device)
        else:
            doubles.append(_double(device, first))
    if not doubles:
        return found
    return replace(found, devices=tuple(devices), exclusions=(*found.exclusions, *doubles))


def _claim(claimed: _Claims, device: Device) -> Device | None:
    """Claim the device's ids, or return the device that has one of them already."""
    owners = claimed.setdefault(device.resource, {})
    for each in device.ids:
        if each in owners:
            return owners[each]
    for each in device.ids:
        owners[each] = device
    return None


def _double(device: Device, first: Device) -> Exclusion:
    return Exclusion(
        path=device.sysfs_path,
        rule="duplicate-id",
        evidence=f"{device.resource} already has {device.id}, at {first.sysfs_path}",
        remedy="report this: two devices of the kernel must not have one name",
    )


def _unreadable(device: Device, detail: str) -> Device:
    fault = Fault(Reason.UNREADABLE, "sysfs", detail)
    others = {each for each in device.faults if each.reason is not Reason.UNREADABLE}
    return replace(device, faults=frozenset({*others, fault}))


def _same_objects(before: Found | None, now: Found) -> Found:
    if before is None or before == now:
        return before or now
    old = {(device.resource, device.id): device for device in before.devices}
    devices = (old.get((device.resource, device.id)) for device in now.devices)
    return replace(
        now,
        devices=tuple(known if known == device else device for known, device in zip(devices, now.devices, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What turns one inventory into another."""

    added: tuple[Device, ...] = ()
    removed: tuple[Device, ...] = ()
    changed: tuple[tuple[Device, Device], ...] = ()
    """Before and after, for devices that both have."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything found, by backend: the only state of the agent. Backends come in a fixed order."""

    found: Mapping[str, Found] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, found: Mapping[str, Found]) -> "Inventory":
        """Return the inventory of what the backends found; an id that two of them claim belongs to the first."""
        claimed: _Claims = {}
        return cls(MappingProxyType({backend: _unclaimed(claimed, each) for backend, each in found.items()}))

    def keeping(self, before: "Inventory") -> "Inventory":
        """Return this inventory with the objects of `before` where they are equal: whoever compares is done at once."""
        found = {name: _same_objects(before.found.get(name), each) for name, each in self.found.items()}
        return Inventory(MappingProxyType(found))

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(device for found in self.found.values() for device in found.devices)

    @property
    def exclusions(self) -> tuple[Exclusion, ...]:
        return tuple(each for found in self.found.values() for each in found.exclusions)

    @property
    def rule_problems(self) -> tuple[RuleProblem, ...]:
        return tuple(each for found in self.found.values() for each in found.rule_problems)

    @property
    def resources(self) -> dict[str, tuple[Device, ...]]:
        """Devices by resource name, in the order in which they were found."""
        by_name: dict[str, list[Device]] = {}
        for device in self.devices:
            by_name.setdefault(device.resource, []).append(device)
        return {name: tuple(devices) for name, devices in by_name.items()}

    def since(self, before: "Inventory") -> Change:
        """Return what changed from `before` to this inventory, by resource and id."""
        old = {(device.resource, device.id): device for device in before.devices}
        new = {(device.resource, device.id): device for device in self.devices}
        return Change(
            added=tuple(device for key, device in new.items() if key not in old),
            removed=tuple(device for key, device in old.items() if key not in new),
            changed=tuple((old[key], device) for key, device in new.items() if key in old and old[key] != device),
        )
