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
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from intel_agent.allocation import device_of
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Exclusion, Fault, Health, Reason
from intel_agent.publish import wire
from intel_agent.publish.holdings import Holdings, Key, Node
from intel_agent.publish.terms import SEVERAL, Term, Terms

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

    @property
    def largest(self) -> int:
        """The most bytes that the message can have with these ids: when all are unhealthy, and all have hints."""
        return sum(len(line.message) + wire.HINT * len(line.ids) for line in self.lines)

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
    terms: Terms = field(default_factory=dict[str, Mapping[str, Term]])
    """On which terms whoever has a device has it; of before this process, too."""
    nodes: Mapping[Key, frozenset[Node]] = field(default_factory=dict[Key, frozenset[Node]])
    """What containers got with ids that others handed out."""

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
        departing = _departing(old, resources.get(name, ()), inventory, holdings, now=now, linger=linger)
        listings[name] = _listing(old, _present(resources.get(name, ()), pins, faults), departing)
    return replace(before, listings=listings, pins=pins, terms=_terms(before.terms, inventory, pins, holdings))


def _terms(before: Terms, inventory: Inventory, pins: Mapping[str, Pin], holdings: Holdings) -> Terms:
    """Return today's terms, and the former ones of pinned devices and of those that are not there, or not yet."""
    changes: dict[str, Mapping[str, Term]] = {}
    for name, devices in inventory.resources.items():
        former = before.get(name, {})
        today = {
            device.id: Term(len(device.ids), device.sysfs_path, _parts(device, term, holdings))
            for device in devices
            if (term := former.get(device.id)) is None
            or (term != (len(device.ids), device.sysfs_path, device.parts) and device.sysfs_path not in pins)
        }
        if today:
            changes[name] = {**former, **today}
    return {**before, **changes} if changes else before


def _parts(device: Device, term: Term | None, holdings: Holdings) -> tuple[str, ...]:
    """Return what belongs to the device, or did when somebody got it: that he has as long as he has the device."""
    if term is None or not any((device.resource, each) in holdings.held for each in device.ids):
        return device.parts
    return tuple(sorted({*term.parts, *device.parts}))


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
    old: Listing, devices: Collection[Device], inventory: Inventory, holdings: Holdings, *, now: float, linger: float
) -> list[_Draft]:
    """Ids that kubelet knows and the inventory does not; not those that have lingered and nobody holds."""
    whole = {device.ids for device in devices}
    suspects = [line for line in old.lines if line.ids not in whole]
    if not suspects:
        return []
    current = {each for device in devices for each in device.ids}
    excluded = {each.path: each for each in inventory.exclusions}
    drafts: list[_Draft] = []
    for line in suspects:
        left = [each for each in line.ids if each not in current]
        since = now if line.departed is None else line.departed
        if line.departed is not None and since <= now - linger:
            left = [each for each in left if (old.resource, each) in holdings.held]
        if left:
            fault = departed(line.device, excluded.get(line.device.sysfs_path))
            drafts.append((line.device, tuple(left), frozenset({fault}), since))
    return drafts


def departed(device: Device, exclusion: Exclusion | None) -> Fault:
    """Return what is wrong with a device that is not offered any more; `exclusion` says why, if that was seen."""
    if exclusion is None:
        return Fault(Reason.GONE, "inventory", f"{device.id} is not there any more, or not under this id")
    return Fault(exclusion.reason, "inventory", f"not offered any more: {exclusion.evidence}: {exclusion.remedy}")


class _Then(NamedTuple):
    """A device as it was when somebody got it."""

    resource: str
    id: str
    shares: int
    """Among how many ids it was divided."""
    here: bool
    """Whether this process has told of it: then its path says which device it is, even under another id."""


def _pins(before: Roster, inventory: Inventory, holdings: Holdings) -> dict[str, Pin]:
    """Return which devices pods hold on other terms than today's, by sysfs path; a device may be away meanwhile."""
    holders = holdings.held
    if not holders and not before.pins:
        return {}
    owners = _owners(before, inventory, holders)
    pins: dict[str, dict[Key, str | None]] = {
        path: {key: holders.get(key) or who for key, who in pin.items() if _still(key, who, holdings)}
        for path, pin in before.pins.items()
    }
    for device in inventory.devices:
        pin = pins.setdefault(device.sysfs_path, {})
        for path in device.paths:
            for key, then in owners.get(path, ()):
                if _other_terms(key[1], then, device):
                    pin[key] = holders[key] or pin.get(key)
    return {path: pin for path, pin in pins.items() if pin}


def _owners(before: Roster, inventory: Inventory, holders: Iterable[Key]) -> dict[str, list[tuple[Key, _Then]]]:
    """Return, by sysfs path, the held ids and the device behind each or around it, as it was then."""
    held: dict[str, list[str]] = {}
    for resource, each in holders:
        held.setdefault(resource, []).append(each)
    paths = {(device.resource, device.id): device.sysfs_path for device in inventory.devices}
    nodes = _nodes(inventory) if before.nodes else {}
    owners: dict[str, list[tuple[Key, _Then]]] = {}
    for resource, ids in held.items():
        listing = before.listings.get(resource)
        lines = {} if listing is None else listing.lines_of(ids)
        terms = before.terms.get(resource, {})
        for each in ids:
            if (line := lines.get(each)) is not None:
                then = _Then(resource, line.device.id, len(line.device.ids), here=True)
                term = terms.get(line.device.id)
                where = frozenset(line.device.paths).union(() if term is None else term.parts)
            else:
                then, where = _former(resource, each, terms, paths)
                if not where and (got := before.nodes.get((resource, each))):
                    # Another device plugin called it otherwise: what the container got says which device it is.
                    then = then._replace(here=True)
                    where = frozenset(path for node in got for path in nodes.get((resource, node), ()))
            for path in where:
                owners.setdefault(path, []).append(((resource, each), then))
    return owners


def _nodes(inventory: Inventory) -> dict[tuple[str, Node], list[str]]:
    """Return the sysfs paths of devices by resource and node."""
    found: dict[tuple[str, Node], list[str]] = {}
    for device in inventory.devices:
        for node in device.edits.device_nodes:
            found.setdefault((device.resource, (node.path, node.host_path)), []).append(device.sysfs_path)
    return found


def _former(
    resource: str, each: str, terms: Mapping[str, Term], paths: Mapping[Key, str]
) -> tuple[_Then, frozenset[str]]:
    """Return what an id stood for before this process, and the paths of the devices that this may be today."""
    name = next((name for name in (each, device_of(each)) if name in terms or (resource, name) in paths), each)
    # Of an id that nobody knows it can be said that there were more of them than there are.
    term = terms.get(name) or Term(SEVERAL, "")
    # Where there was a second id, whoever had it was not alone, whatever is remembered.
    shares = term.shares if each in {name, f"{name}-0"} else max(term.shares, SEVERAL)
    today = paths.get((resource, name), "")
    return _Then(resource, name, shares, here=False), frozenset({term.path, *term.parts, today} - {""})


def _still(key: Key, who: str | None, holdings: Holdings) -> bool:
    """Whether the pod that held an id still does: another pod may have got it since, on today's terms."""
    if not holdings.known:
        return True
    return key in holdings.held and who in {None, holdings.held[key]}


def _other_terms(held: str, then: _Then, now: Device) -> bool:
    """Whether who has the id `held` may have to himself what others could get now, or the other way round."""
    if then.resource != now.resource:
        return True
    alone = 1 in {then.shares, len(now.ids)}
    if then.id != now.id:  # the numbers of cards change with a reboot, too, and pods come back with their old ids
        return alone and then.here
    return alone and (then.shares != len(now.ids) or held not in now.ids)
