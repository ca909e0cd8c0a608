"""Every reason as it comes about and ends on a node: who adds one adds a case here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from intel_agent.health import state
from intel_agent.health.condition import CONFIRMATION, DOUBTFUL, Life
from intel_agent.health.marks import Mark
from intel_agent.health.messages import RECOVERY
from intel_agent.health.record import Count
from intel_agent.model import WARNINGS, Reason, Signs

from .course import CARD, HOLD, Course, device, event, fault

DRM = f"{CARD}/drm/card0"
Happening = Callable[[Course], object]


class Case(NamedTuple):
    """What has the reason, and what ends it. `momentary`: it is over with its end, or was never more than a moment."""

    begin: Happening
    end: Happening
    momentary: bool = False


def sound(course: Course) -> None:
    course.look(device())


def seen(reason: Reason) -> Case:
    """Return the case of what a look shows as long as it is so."""

    def begin(course: Course) -> None:
        course.look(device(CARD, fault(reason)))

    return Case(begin, sound)


def counted(reason: Reason, end: Happening) -> Case:
    """Return the case of a number that rises."""

    def begin(course: Course) -> None:
        before = course.record.counts.get(Count("gpu", CARD, reason, fault(reason).source), 0)
        for count in (before, before + 1):
            course.look(device(), Signs(CARD, counts={fault(reason): count}))

    return Case(begin, end)


def bind(course: Course) -> None:
    life = course.lives[CARD]
    assert life is not None
    course.lives[CARD] = Life(life.directory, (life.binding or 0) + 1)
    course.hear(event("bind"))


def unbind(course: Course) -> None:
    course.lives[CARD] = Life(1)
    course.hear(event("unbind"))


def rebind(course: Course) -> None:
    course.lives[CARD] = Life(1, 2)
    course.hear(event("bind"))


def fail(course: Course) -> None:
    course.hear(event("change", ERROR_EVENT="BEGIN_RECOVERY")).wait(RECOVERY)


def says(action: str, path: str = CARD, subsystem: str = "pci", **keys: str) -> Happening:
    return lambda course: course.hear(event(action, path, subsystem, **keys))


def marks(*words: Mark) -> Happening:
    def say(course: Course) -> None:
        course.marks = dict.fromkeys([("gpu", CARD)], words[0]) if words else {}

    return say


def nothing(course: Course) -> None:
    del course


RECOVERED = says("change", ERROR_EVENT="SUCCESSFUL_RECOVERY")
BY_LOOK = (
    Reason.DISABLED,
    *(Reason.UNREADABLE, Reason.HALTED, Reason.UNIDENTIFIED, Reason.OFF_BUS, Reason.POWER, Reason.LINK_WIDTH),
    *(Reason.LINK_DOWN, Reason.DUMPED, Reason.SURVIVABILITY, Reason.HOT, Reason.OVERHEATED, Reason.ERROR_REGISTER),
    *(Reason.JUDGED_WARNING, Reason.JUDGED_CRITICAL, Reason.JUDGED_FAILED),
)
CASES = {
    **{reason: seen(reason) for reason in BY_LOOK},
    Reason.WEDGED: Case(says("change", DRM, "drm", WEDGED="rebind"), bind),
    Reason.HUNG: Case(says("change", DRM, "drm", WEDGED="none"), nothing),
    Reason.RESETTING: Case(says("change", DRM, "drm", ERROR="1"), says("change", DRM, "drm", ERROR="0")),
    Reason.UNBOUND: Case(unbind, rebind, momentary=True),
    Reason.RECOVERING: Case(says("change", ERROR_EVENT="BEGIN_RECOVERY"), RECOVERED),
    Reason.NOT_RECOVERED: Case(fail, RECOVERED),
    Reason.FATAL_ERRORS: counted(Reason.FATAL_ERRORS, RECOVERED),
    Reason.NONFATAL_ERRORS: counted(Reason.NONFATAL_ERRORS, nothing),
    Reason.GONE: Case(says("remove"), says("add"), momentary=True),
    Reason.MARKED: Case(marks(Mark("unhealthy")), marks(), momentary=True),
    Reason.RESERVED: seen(Reason.RESERVED)._replace(momentary=True),
}
PUBLISHED = frozenset({Reason.HELD, Reason.UNDEFINED})
"""Reasons that are no part of the record: publishers give them (tests/unit/publish)."""


def test_every_reason_has_a_case() -> None:
    assert {*CASES} | PUBLISHED == {*Reason}
    assert PUBLISHED.isdisjoint(CASES)


@pytest.mark.parametrize("restart", [False, True], ids=["same agent", "restart"])
@pytest.mark.parametrize("reason", CASES, ids=str)
def test_a_reason_comes_ends_and_comes_again(reason: Reason, *, restart: bool, tmp_path: Path) -> None:
    case, course = CASES[reason], Course().look(device())

    def next_agent(course: Course) -> Course:
        if restart:
            state.write(str(tmp_path), "boot", course.record)
            course = replace(course, record=state.read(str(tmp_path), "boot"))
        return course.settle()

    def wrong() -> set[Reason]:
        found = course.warnings if reason in WARNINGS else course.faults
        return found["card0"] & {reason}

    for hold in (HOLD, 2 * HOLD, 4 * HOLD):
        assert wrong() == set()
        case.begin(course)
        if reason in DOUBTFUL:
            course.wait(CONFIRMATION)
        course = next_agent(course)
        assert wrong() == {reason}
        case.end(course)
        course = next_agent(course)
        if not case.momentary:
            assert wrong() == {reason}
            course.wait(hold - 0.001)
            assert wrong() == {reason}
            course.wait(0.001)
        assert wrong() == set()
        course.wait(1)
