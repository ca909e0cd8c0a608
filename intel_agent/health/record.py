"""What is wrong on the node, since when, and until when it counts: the memory behind every device's health.

Pure: every method takes the time and returns another record. Rules:

* A fault acts at once. When it is over it acts for as long as the hold time: a recovery has to last.
* A fault that comes back after a recovery, within an hour of it, has twice the hold time, up to an hour: a device that
  flaps is left out for longer and longer.
* What a look sees lasts until a look does not see it any more. What a message says lasts until a message, another
  binding of the driver, or another life of the device ends it: no file shows it.
* What leaves the node takes its faults with it; whatever comes to the same place starts without any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from intel_agent.health.bodies import Bodies, at, body
from intel_agent.health.condition import (
    EVERY_KIND,
    HIDDEN,
    MEMORY,
    MOMENTARY,
    PATIENCE,
    Condition,
    Conditions,
    Key,
    Life,
    begun,
    ended,
    lived,
)
from intel_agent.inventory import Found, Inventory
from intel_agent.model import LASTING, Fault, Reason, Verdict


class Count(NamedTuple):
    """What is counted where; `source` says who counts."""

    kind: str
    path: str
    reason: Reason
    source: str


Lives: TypeAlias = Mapping[str, Life | None]
"""By path; `None` for what is not there."""


class Acting(NamedTuple):
    """A fault that counts at the moment, for devices of a kind at or below a path."""

    kind: str
    path: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that is wrong on the node, or was not long ago.

    `bodies` in its methods are those of the devices that the last looks found.
    """

    conditions: Conditions = field(default_factory=dict[Key, Condition])
    counts: Mapping[Count, int] = field(default_factory=dict[Count, int])

    def told(self, kind: str, verdict: Verdict, now: float, recovery: float, bodies: Bodies) -> "Record":
        """Return the record after a verdict.

        What is said of something above bodies (a bridge) is said of each of them: each ends it by its own new life.
        """
        record = self._relieved(kind, verdict, now) if verdict.over else self
        if (fault := verdict.fault) is None:
            return record
        conditions = dict(record.conditions)
        for path in bodies.subjects(verdict.path):
            key = Key(kind, path, fault.reason, told=True)
            before = conditions.get(key)
            conditions[key] = replace(
                begun(fault.reason, before, _with(before, fault), now, recovery),
                over=now if verdict.passed else None,
                until=None if verdict.seconds is None else now + verdict.seconds,
                then=verdict.then,
                outlasts_driver=verdict.outlasts_driver,
                life=None,
            )
        return replace(record, conditions=conditions)

    def _relieved(self, kind: str, verdict: Verdict, now: float) -> "Record":
        """Return the record without the reasons that are over."""
        path, over = verdict.path, verdict.over
        over_now = {
            key
            for key in self.conditions
            if key.told and key.reason in over and kind in {EVERY_KIND, key.kind} and at(key.path, path)
        }
        # A count that is read after this has risen because of what is over now, there or on the way there.
        stale = {each for each in self.counts if each.reason in over and (at(each.path, path) or at(path, each.path))}
        relieved = _changed(self, {key: ended(key.reason, self.conditions[key], now) for key in over_now})
        counts = {each: count for each, count in self.counts.items() if each not in stale}
        return replace(relieved, counts=counts) if stale else relieved

    def bound(self, path: str, now: float) -> "Record":
        """Return the record after a driver was bound at `path`: what was told of the time before is over."""
        changes = {
            key: ended(key.reason, each, now)
            for key, each in self.conditions.items()
            if key.told and not each.outlasts_driver and at(key.path, path)
        }
        return _changed(self, changes)

    def reborn(self, path: str) -> "Record":
        """Return the record after what is at `path` left or came: nothing is known of it."""
        counts = {each: count for each, count in self.counts.items() if not at(each.path, path)}
        record = self if counts == self.counts else replace(self, counts=counts)
        return _changed(record, {key: None for key in self.conditions if at(key.path, path)})

    def forgiven(self, path: str) -> "Record":
        """Return the record without what was told of the body of a device, by an administrator's word."""
        told = {key: None for key in self.conditions if key.told and at(key.path, body(path))}
        return _changed(self, dict(told))

    def seen(
        self, inventory: Inventory, now: float, recovery: float, bodies: Bodies, *, again: bool = False
    ) -> "Record":
        """Return the record after a look at the kinds in `inventory`.

        `again`: it is the look that was taken in last, with other words of a judge. What it counted is no news, and may
        be older than what messages told since.
        """
        record = self._spread(bodies)
        if not again:
            record = record.risen(inventory, now, recovery, bodies)
        present = _present(inventory)
        changes: dict[Key, Condition | None] = {
            key: begun(key.reason, record.conditions.get(key), faults, now, recovery) for key, faults in present.items()
        }
        hidden = {key._replace(reason=each) for key in present for each in HIDDEN.get(key.reason, ())}
        absent = [key for key in record.conditions if not key.told and key not in present and key not in hidden]
        places = {kind: _Places.of(inventory.found[kind]) for kind in {key.kind for key in absent} & {*inventory.found}}
        for key in absent:
            if (place := places.get(key.kind)) is None:
                continue
            if key.path in place.known:
                changes[key] = ended(key.reason, record.conditions[key], now)
            elif key.path not in place.excluded:  # of what is not offered any more nothing is known: it is as it was
                changes[key] = None
        return _changed(record, changes)

    def _spread(self, bodies: Bodies) -> "Record":
        """Return the record with what was told of bridges, before it was known what is below them, told of that."""
        changes: dict[Key, Condition | None] = {}
        for key, each in self.conditions.items():
            if key.told and (subjects := bodies.subjects(key.path)) != [key.path]:
                changes[key] = None
                changes |= {key._replace(path=path): replace(each, life=None) for path in subjects}
        return _changed(self, changes)

    def risen(self, inventory: Inventory, now: float, recovery: float, bodies: Bodies) -> "Record":
        """Return the record after the counts in `inventory`: what rose happened, what was set back is over."""
        record, counts = self, self._going_on(inventory, bodies)
        for kind, found in inventory.found.items():
            for sign in found.signs:
                for fault, count in sign.counts.items():
                    name = Count(kind, sign.path, fault.reason, fault.source)
                    if count > (before := self.counts.get(name, count)):
                        verdict = Verdict(sign.path, fault, passed=fault.reason not in LASTING)
                        record = record.told(kind, verdict, now, recovery, bodies)
                    elif count < before:
                        record = _set_back(record, Key(kind, sign.path, fault.reason, told=True), fault, now, bodies)
                    counts[name] = count
        return record if counts == self.counts else replace(record, counts=counts)

    def _going_on(self, inventory: Inventory, bodies: Bodies) -> dict[Count, int]:
        """Return the counts of what is there; one that cannot be read for a while goes on from where it was."""
        places = {kind: _Places.of(found) for kind, found in inventory.found.items()}
        return {
            each: count
            for each, count in self.counts.items()
            if (place := places.get(each.kind)) is None
            or any(each.path in paths for paths in (place.known, place.excluded, bodies.carriers))
        }

    def living(self, lives: Lives, now: float, bodies: Bodies) -> "Record":
        """Return the record once it is known which lives the devices live that something was told of."""
        changes: dict[Key, Condition | None] = {}
        for key in self.telling:
            each = self.conditions[key]
            if (life := lives.get(key.path)) is not None:
                changes[key] = lived(key.reason, each, life, now)
            elif key.path in lives and key.path not in bodies.carriers:
                changes[key] = None
        return _changed(self, changes)

    @property
    def telling(self) -> list[Key]:
        """What was told, and of which no look shows the end."""
        return [key for key in self.conditions if key.told]

    def elapsed(self, now: float, recovery: float) -> "Record":
        """Return the record at a later time: what lasted too long becomes worse, what is long over is forgotten."""
        record = self
        for key, each in self.conditions.items():
            if now >= each.ends(recovery) + MEMORY:
                record = _changed(record, {key: None})
            elif each.until is not None and each.until <= now and key.reason not in MOMENTARY:
                record = _overdue(record, key, each.until, recovery)
        return record

    def moment(self, now: float, recovery: float) -> float:
        """Return the next time at which something changes although nothing is seen or told."""
        moments = (
            moment
            for key, each in self.conditions.items()
            for moment in (
                each.acts,
                each.until or 0.0,
                each.since + _patience(key),
                each.ends(recovery),
                each.ends(recovery) + MEMORY,
            )
            if moment > now
        )
        return min(moments, default=float("inf"))

    def acting(self, now: float, recovery: float) -> tuple[Acting, ...]:
        """Return every fault that counts at the moment, in a fixed order."""
        return tuple(
            sorted(
                Acting(key.kind, key.path, _worded(fault, each, recovery))
                for key, each in self.conditions.items()
                if each.acting(now, recovery)
                for fault in _meant(key, each, now)
            )
        )


def _changed(record: Record, changes: Mapping[Key, Condition | None]) -> Record:
    """Return the record with these changes of conditions; the same one if they change nothing."""
    if all(record.conditions.get(key) == each for key, each in changes.items()):
        return record
    merged = {**record.conditions, **changes}
    return replace(record, conditions={key: each for key, each in merged.items() if each is not None})


def _set_back(record: Record, told: Key, fault: Fault, now: float, bodies: Bodies) -> Record:
    """Return the record without what a count told that begins anew; others may have told the same reason."""
    keys = (told._replace(path=path) for path in bodies.subjects(told.path))
    found = {key: each for key in keys if (each := record.conditions.get(key)) and fault in each.faults}
    return _changed(
        record,
        {
            key: replace(each, faults=rest) if (rest := each.faults - {fault}) else ended(key.reason, each, now)
            for key, each in found.items()
        },
    )


def _with(before: Condition | None, fault: Fault) -> frozenset[Fault]:
    """Return a fault that is told, with what others told of the same reason and is not over."""
    told = before.faults if before is not None and before.over is None else frozenset[Fault]()
    return frozenset({fault, *(each for each in told if each.source != fault.source)})


def _overdue(record: Record, key: Key, since: float, recovery: float) -> Record:
    """Return the record after what lasted too long: it is over, or something worse, since then."""
    each = record.conditions[key]
    if (fault := each.then) is None:
        return _changed(record, {key: ended(key.reason, each, since)})
    worse = key._replace(reason=fault.reason)
    follows = begun(worse.reason, record.conditions.get(worse), frozenset({fault}), since, recovery)
    follows = replace(follows, outlasts_driver=each.outlasts_driver, life=each.life)
    return _changed(record, {key: None, worse: follows})


def _patience(key: Key) -> float:
    return float("inf") if key.told else PATIENCE.get(key.reason, float("inf"))


def _meant(key: Key, condition: Condition, now: float) -> Iterator[Fault]:
    """Yield the faults of a condition, and what it means that it lasts too long."""
    yield from condition.faults
    if condition.failed(patience := _patience(key), now):
        for each in condition.faults:
            yield Fault(Reason.NOT_RECOVERED, each.source, f"{each.detail}, for more than {patience:g} s")


def _worded(fault: Fault, condition: Condition, recovery: float) -> Fault:
    if condition.over is None:
        return fault
    return replace(fault, detail=f"{fault.detail}; over, if it stays so for {condition.hold(recovery):g} s")


def _present(inventory: Inventory) -> dict[Key, frozenset[Fault]]:
    """Return what is wrong by the last look."""
    present: dict[Key, set[Fault]] = {}
    for kind, found in inventory.found.items():
        for path, faults in _faulty(found):
            for fault in faults:
                present.setdefault(Key(kind, path, fault.reason, told=False), set()).add(fault)
    return {key: frozenset(faults) for key, faults in present.items()}


def _faulty(found: Found) -> Iterator[tuple[str, frozenset[Fault]]]:
    # What the configuration reserves is that one device, and is free as soon as the configuration says so.
    for device in found.devices:
        if faults := frozenset(each for each in device.faults if each.reason is not Reason.RESERVED):
            yield device.sysfs_path, faults
    yield from ((sign.path, sign.faults) for sign in found.signs if sign.faults)


class _Places(NamedTuple):
    """Paths of which a look told something, and those of what it saw and does not offer."""

    known: frozenset[str]
    excluded: frozenset[str]

    @classmethod
    def of(cls, found: Found) -> "_Places":
        devices = (device.sysfs_path for device in found.devices)
        return cls(
            frozenset((*devices, *(sign.path for sign in found.signs))),
            frozenset(each.path for each in found.exclusions),
        )
