"""Every reason of every kind, seen or told: it appears, clears and flaps, and agents come and go in between."""

from dataclasses import replace
from pathlib import Path

import pytest

from intel_agent.config import Config
from intel_agent.health import state
from intel_agent.health.condition import MEMORY, Life
from intel_agent.health.record import Record
from intel_agent.model import SETTLED, WARNINGS, Reason, Verdict

from .course import CARD, HOLD, Course, device, fault

KINDS = [each.name for each in Config().devices.backends]
CONDITIONS = [each for each in Reason if each not in SETTLED]


class Patient:
    """A device of a kind with one reason, and agents that follow one another if they are to."""

    def __init__(self, kind: str, reason: Reason, place: Path | None, *, told: bool) -> None:
        self.reason = reason
        self.told = told
        self.place = place
        self.course = Course(backend=next(each for each in Course().config.devices.backends if each.name == kind))
        if reason is Reason.UNBOUND:
            self.course.lives[CARD] = Life(1)
        self.course.look(device())

    def restart(self) -> None:
        if self.place is not None:
            state.write(str(self.place), "boot", self.course.record)
            self.course = replace(self.course, record=state.read(str(self.place), "boot"))

    def begin(self) -> None:
        if self.told:
            self.course.tell(Verdict(CARD, fault(self.reason)))
        else:
            self.course.look(device(CARD, fault(self.reason)))
        self.course.wait(2.5)  # some are doubtful at first
        self.restart()

    def end(self) -> None:
        if self.told:
            self.course.tell(Verdict(CARD, over=frozenset({self.reason})))
        else:
            self.course.look(device())
        self.restart()

    @property
    def wrong(self) -> bool:
        sides = (self.course.warnings, self.course.faults)
        found, other = sides if self.reason in WARNINGS else sides[::-1]
        assert other == {"card0": set()}
        return found["card0"] == {self.reason}


@pytest.mark.parametrize("restart", [False, True], ids=["same agent", "restart"])
@pytest.mark.parametrize("told", [False, True], ids=["seen", "told"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reason", CONDITIONS, ids=str)
def test_a_reason_lasts_as_long_as_it_is_so_and_for_the_hold_time_which_doubles(
    reason: Reason, kind: str, *, told: bool, restart: bool, tmp_path: Path
) -> None:
    patient = Patient(kind, reason, tmp_path if restart else None, told=told)
    assert not patient.wrong
    for hold in (HOLD, 2 * HOLD, 4 * HOLD):
        patient.begin()
        assert patient.wrong
        patient.end()
        if reason is not Reason.UNBOUND:  # what is bound again needs no proof
            assert patient.wrong
            patient.course.wait(hold - 0.001)
            assert patient.wrong
            patient.course.wait(0.001)
        assert not patient.wrong
        patient.course.wait(1)


def test_an_empty_record_is_what_everything_begins_and_ends_with() -> None:
    course = Course().look(device(CARD, fault(Reason.HALTED))).look(device()).wait(HOLD + MEMORY)
    assert course.record == Record()
