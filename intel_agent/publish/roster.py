"""What kubelet is told: the inventory, seen through a memory of what kubelet was told before.

Pure: `projected` decides, its callers act. Rules (each forced by what kubelet does with a list):

* An id that vanishes is sent as Unhealthy at once and dropped only later: kubelet calls dropped devices Healthy, and
  dies when an id is dropped while its Allocate runs. It is dropped when it lingered and no container may hold it, nor
  is about to get it.
* A device that gets another name or becomes exclusive while a pod holds it is Unhealthy until the pod lets go:
  nothing is handed out twice.
* NUMA hints for all of a resource's devices or for none, decided over the healthy ones.
* A resource that had devices once stays, with an empty list.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from intel_agent.allocation import device_of
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Fault, Health, Reason
from intel_agent.publish import wire
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.terms import Terms

RECHECK = 10.0
"""How often kubelet is asked who holds what while that decides something, in seconds."""


NO_FAULTS: Mapping[Key, Fault] = MappingProxyType({})


class Line(NamedTuple):
    """Ids of one device that kubelet hears the same about. `message` is what it hears, as bytes."""

    device: Device
    ids: tuple[str, ...]
    faults: frozenset[Fault]
    hints: bool
    message: bytes
    departed: float | None = None
    """Since when the ids are not in the inventory any more, in seconds of a monotonic clock."""

    @property
    def health(self) -> Health:
        return Health.UNHEALTHY if self.faults else Health.HEALTHY


@dataclass(frozen=True, slots=True)
class Listing:
    """One resource as kubelet hears of it. `message` is the ListAndWatchResponse on the wire."""

    resource: str
    backend: str
    lines: tuple[Line, ...] = ()
    message: bytes = b""

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(each for line in self.lines for each in line.ids)

    def lines_of(self, ids: Iterable[str]) -> dict[str, Line]:
        """Return the lines of those of `ids` that kubelet knows."""
        wanted = set(ids)
        return {each: line for line in self.lines for each in wanted.intersection(line.ids)}

    def only(self, ids: Collection[str]) -> "Listing":
        """Return the listing without other ids than these."""
        lines: list[Line] = []
        for line in self.lines:
            if kept := tuple(each for each in line.ids if each in ids):
                message = wire.devices(kept, line.health, line.device.numa_nodes if line.hints else ())
                lines.append(line._replace(ids=kept, message=message))
        return Listing(self.resource, self.backend, tuple(lines), b"".join([line.message for line in lines]))


Pin = Mapping[Key, str | None]
"""Who holds a device on other terms than today's; `None` when kubelet could not be asked who it is."""


@dataclass(frozen=True, slots=True)
class Roster:
    """All resources as kubelet hears of them, and the devices that are pinned, by sysfs path."""

    listings: Mapping[str, Listing] = field(default_factory=dict[str, Listing])
    pins: Mapping[str, Pin] = field(default_factory=dict[str, Pin])
    terms: Terms = field(default_factory=dict[str, Mapping[str, int]])
    """On which terms whoever has a device has it; of before this process, too."""

    @property
    def unsettled(self) -> bool:
        """Whether time or a pod's end will change the lists without any change of the inventory."""
        return bool(self.pins) or any(
            line.departed is not None for listing in self.listings.values() for line in listing.lines
        )


def projected(
    before: Roster,
    inventory: Inventory,
    holdings: Holdings,
    *,
    now: float,
    linger: float,
    faults: Mapping[Key, Fault] = NO_FAULTS,
) -> Roster:
    """Return what kubelet should hear next.

    `linger` is how long a vanished id stays, in seconds. What is being handed out at the moment counts as held.
    `faults` are those that have nothing to do with the node, by resource and id of the device.
    """
    pins = _pins(before, inventory, holdings)
    backends = {device.resource: name for name, found in inventory.found.items() for device in found.devices}
    resources = inventory.resources
    listings: dict[str, Listing] = {}
    for name in dict.fromkeys((*before.listings, *resources)):
        old = before.listings.get(name) or Listing(name, backends[name])
        departing = _departing(old, resources.get(name, ()), holdings, now, linger)
        listings[name] = _listing(old, _present(resources.get(name, ()), pins, faults), departing)
    return Roster(listings, pins, _terms(before.terms, listings, inventory, pins))


def _terms(before: Terms, listings: Mapping[str, Listing], inventory: Inventory, pins: Mapping[str, Pin]) -> Terms:
    """Return today's terms, and the former ones of pinned devices, of those that left, and of what is not found yet."""
    terms: dict[str, Mapping[str, int]] = dict(before)
    for name, devices in inventory.resources.items():
        former = terms.get(name, {})
        known = {line.device.id for line in listings[name].lines}
        terms[name] = {each: shares for each, shares in former.items() if each in known} | {
            device.id: len(device.ids)
            for device in devices
            if device.id not in former or not pins or device.sysfs_path not in pins
        }
    return before if terms == before else terms


_Draft = tuple[Device, tuple[str, ...], frozenset[Fault], float | None]
"""A line before it is known whether the resource gives NUMA hints."""


def _listing(old: Listing, present: list[_Draft], departing: list[_Draft]) -> Listing:
    """Put the lines together; those that did not change keep their bytes."""
    healthy = [draft for draft in present if not draft[2]]
    hints = all(draft[0].numa_nodes for draft in healthy or (*present, *departing))
    known = {id(line.device): line for line in old.lines}
    lines: list[Line] = []
    for device, ids, faults, departed in (*present, *departing):
        line = known.get(id(device))
        if line is None or line[1:4] != (ids, faults, hints) or line.departed != departed:
            health = Health.UNHEALTHY if faults else Health.HEALTHY
            message = wire.devices(ids, health, device.numa_nodes if hints else ())
            line = Line(device, ids, faults, hints, message, departed)
        lines.append(line)
    if tuple(lines) == old.lines:
        return old
    return Listing(old.resource, old.backend, tuple(lines), b"".join([line.message for line in lines]))


def _present(devices: Iterable[Device], pins: Mapping[str, Pin], faults: Mapping[Key, Fault]) -> list[_Draft]:
    """One line for each device; two when it is pinned by just one of its own ids.

    That id stays as it is: once its pod lets go, nobody holds the device any more. As long as others do, kubelet must
    not have it again, so all ids are unhealthy then.
    """
    drafts: list[_Draft] = []
    for device in devices:
        found = device.faults
        if faults and (fault := faults.get((device.resource, device.id))) is not None:
            found |= {fault}
        pin = pins.get(device.sysfs_path) if pins else None
        if pin is None:
            drafts.append((device, device.ids, found, None))
            continue
        own = tuple(each for each in device.ids if set(pin) == {(device.resource, each)})
        others = tuple(each for each in device.ids if each not in own)
        if own:
            drafts.append((device, own, found, None))
        if others:
            drafts.append((device, others, found | {_held(pin)}, None))
    return drafts


def _held(pin: Pin) -> Fault:
    who = ", ".join(sorted(f"{who or 'a pod'} (as {resource} {each})" for (resource, each), who in pin.items()))
    return Fault(Reason.HELD, "pod-resources", f"held on other terms by {who}")


def _departing(
    old: Listing, devices: Collection[Device], holdings: Holdings, now: float, linger: float
) -> list[_Draft]:
    """Ids that kubelet knows and the inventory does not; not those that have lingered and nobody holds."""
    whole = {device.ids for device in devices}
    suspects = [line for line in old.lines if line.ids not in whole]
    if not suspects:
        return []
    current = {each for device in devices for each in device.ids}
    drafts: list[_Draft] = []
    for line in suspects:
        left = [each for each in line.ids if each not in current]
        since = now if line.departed is None else line.departed
        if line.departed is not None and since <= now - linger:
            left = [each for each in left if (old.resource, each) in holdings.held]
        if left:
            gone = Fault(Reason.GONE, "inventory", f"{line.device.id} is not there any more, or not under this id")
            drafts.append((line.device, tuple(left), frozenset({gone}), since))
    return drafts


def _pins(before: Roster, inventory: Inventory, holdings: Holdings) -> dict[str, Pin]:
    """Return which devices pods hold on other terms than today's, by sysfs path; a device may be away meanwhile."""
    holders = holdings.held
    if not holders and not before.pins:
        return {}
    owners, former = _owners(before, holders), _Former(before, holders)
    pins: dict[str, dict[Key, str | None]] = {
        path: {key: holders.get(key) or who for key, who in pin.items() if _still(key, who, holdings)}
        for path, pin in before.pins.items()
    }
    for device in inventory.devices:
        pin = pins.setdefault(device.sysfs_path, {})
        for key, owner in owners.get(device.sysfs_path, ()):
            if _other_terms(owner, device):
                pin[key] = holders[key] or pin.get(key)
        pin |= {key: who or pin.get(key) for key, who in former.held(device).items()}
    return {path: pin for path, pin in pins.items() if pin}


def _owners(before: Roster, holders: Iterable[Key]) -> dict[str, list[tuple[Key, Device]]]:
    """Return, by sysfs path, the held ids that kubelet was told of and the device behind each, as it was then."""
    held: dict[str, list[str]] = {}
    for resource, each in holders:
        held.setdefault(resource, []).append(each)
    owners: dict[str, list[tuple[Key, Device]]] = {}
    for resource, ids in held.items():
        if (listing := before.listings.get(resource)) is not None:
            for each, line in listing.lines_of(ids).items():
                owners.setdefault(line.device.sysfs_path, []).append(((resource, each), line.device))
    return owners


def _still(key: Key, who: str | None, holdings: Holdings) -> bool:
    """Whether the pod that held an id still does: another pod may have got it since, on today's terms."""
    if not holdings.known:
        return True
    return key in holdings.held and who in {None, holdings.held[key]}


def _other_terms(then: Device, now: Device) -> bool:
    if then.resource != now.resource:
        return True
    return then.shares != now.shares and (then.exclusive or now.exclusive)


class _Former:
    """What is held on terms of before this process: kubelet was told of other ids of the device then."""

    def __init__(self, before: Roster, holders: Mapping[Key, str | None]) -> None:
        self._terms = before.terms
        self._told = {name: listing.ids for name, listing in before.listings.items()}
        self._holders: dict[Key, dict[Key, str | None]] = {}
        for (resource, each), who in holders.items():
            for device in {each, device_of(each)}:
                self._holders.setdefault((resource, device), {})[resource, each] = who

    def held(self, device: Device) -> dict[Key, str | None]:
        """Return the ids of the device that are held on such terms, and who holds them."""
        holders = self._holders.get((device.resource, device.id), {})
        return {key: who for key, who in holders.items() if self._differs(key[1], device)}

    def _differs(self, each: str, device: Device) -> bool:
        if each not in device.ids:
            return device.exclusive
        before = self._terms.get(device.resource, {}).get(device.id)
        if before is None or each in self._told.get(device.resource, ()):
            return False
        return before != len(device.ids) and 1 in {before, len(device.ids)}
