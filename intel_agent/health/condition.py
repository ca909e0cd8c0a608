"""One thing that is wrong, or was until a while ago: when it acts, and for how long after its end.

Pure: every function takes the time, in seconds of the monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from intel_agent.model import Fault, Reason

EVERY_KIND = ""
"""The kind of what concerns devices of all kinds."""
LONGEST_HOLD = 3600.0
"""Seconds that a recovery has to last at most, unless the configuration asks for more."""
MEMORY = 3600.0
"""Seconds after a recovery in which a fault that comes back counts as the same one."""
CONFIRMATION = 2.5
"""Seconds that a doubtful sign has to last before it acts; the looks after a hint end before."""

DOUBTFUL = frozenset({Reason.OFF_BUS})
"""Reasons that one look alone does not prove."""
MOMENTARY = frozenset({Reason.GONE, Reason.UNBOUND})
"""Reasons whose end needs no proof: what comes back is a device that was away for a while, not a sick one."""

PATIENCE: Mapping[Reason, float] = MappingProxyType({Reason.RESETTING: 300.0})
"""Seconds after which what should pass, and looks still see, has failed; of messages each one says for itself."""

HIDDEN: Mapping[Reason, frozenset[Reason]] = MappingProxyType({Reason.RESETTING: frozenset({Reason.HALTED})})
"""Reasons that no look can see while it sees another one: they are as they were."""

_MOST_DOUBLINGS = 20


class Key(NamedTuple):
    """What is wrong where. `told`: by a message or a count, so that no look shows its end."""

    kind: str
    path: str
    reason: Reason
    told: bool


class Life(NamedTuple):
    """One stay of a device on the node, and one binding of its driver: numbers that the kernel does not use again."""

    directory: int
    binding: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong, or was until a while ago.

    `since` is when it began, `acts` from when on it counts, `over` since when it has ended, `until` when it ends by
    itself or becomes `then`.
    `returns` is how often it came back after a recovery. `life` is that of the device it belongs to, once known.
    """

    faults: frozenset[Fault]
    since: float
    acts: float
    over: float | None = None
    returns: int = 0
    until: float | None = None
    then: Fault | None = None
    outlasts_driver: bool = False
    life: Life | None = None

    def hold(self, recovery: float) -> float:
        """Return how long the recovery has to last, if it has to last `recovery` seconds the first time."""
        return min(recovery * 2.0 ** min(self.returns, _MOST_DOUBLINGS), max(recovery, LONGEST_HOLD))

    def ends(self, recovery: float) -> float:
        """Return from when on it does not act any more; never, while it is not over."""
        return float("inf") if self.over is None else self.over + self.hold(recovery)

    def acting(self, now: float, recovery: float) -> bool:
        return self.acts <= now < self.ends(recovery)

    def failed(self, patience: float, now: float) -> bool:
        """Whether it lasted, or did, longer than it may."""
        return (now if self.over is None else self.over) - self.since >= patience


Conditions: TypeAlias = Mapping[Key, Condition]


def begun(reason: Reason, before: Condition | None, faults: frozenset[Fault], now: float, recovery: float) -> Condition:
    """Return the condition when `faults` are there: a new one, the same one, or one that came back."""
    if before is None:
        return Condition(faults, since=now, acts=now + (CONFIRMATION if reason in DOUBTFUL else 0.0))
    if before.over is None:
        return before if before.faults == faults else replace(before, faults=faults)
    returns = before.returns + (now >= before.ends(recovery))
    return replace(before, faults=faults, since=now, acts=now, over=None, returns=returns)


def ended(reason: Reason, before: Condition, now: float) -> Condition | None:
    """Return the condition once it is over, or `None` if nothing of it has to be remembered."""
    if reason in MOMENTARY or now < before.acts:
        return None
    return before if before.over is not None else replace(before, over=now, until=None, then=None)


def lived(reason: Reason, before: Condition, life: Life, now: float) -> Condition | None:
    """Return the condition of a device that is there, in this life; `None` if it was another one's."""
    known = before.life or life
    if life.directory != known.directory or (reason in MOMENTARY and _disproved(reason, before, life, now)):
        return None
    here = replace(before, life=life if life.binding is not None else known)
    if life.binding in {None, known.binding} or before.outlasts_driver:
        return here
    return ended(reason, here, now)


def _disproved(reason: Reason, before: Condition, life: Life, now: float) -> bool:
    """Whether what a message told of a device is not so: it did not leave, or has a driver again."""
    if reason is Reason.GONE:
        return before.until is not None and now >= before.until
    return life.binding is not None
