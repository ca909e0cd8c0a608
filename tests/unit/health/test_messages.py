"""What the kernel's messages say of any PCI device."""

import pytest

from intel_agent.health.condition import Life
from intel_agent.health.messages import RECOVERY
from intel_agent.model import Reason, Signs

from .course import BRIDGE, CARD, HOLD, Course, device, event, fault

OTHER = f"{BRIDGE}/0000:3b:00.1"


def recovery(what: str, path: str = CARD) -> Course:
    """Return a node that has heard this of a recovery from a PCIe error."""
    return Course().look(device()).hear(event("change", path, ERROR_EVENT=what))


def heard(course: Course, what: str, path: str = CARD) -> Course:
    return course.hear(event("change", path, ERROR_EVENT=what))


def test_a_recovery_that_succeeds_is_over_when_it_held() -> None:
    course = recovery("BEGIN_RECOVERY")
    assert course.faults == {"card0": {Reason.RECOVERING}}
    heard(course.wait(1), "SUCCESSFUL_RECOVERY")
    assert not course.wait(HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


def test_a_recovery_that_fails_lasts() -> None:
    course = heard(recovery("BEGIN_RECOVERY"), "FAILED_RECOVERY")
    assert course.wait(1e5).faults == {"card0": {Reason.NOT_RECOVERED}}


def test_a_recovery_that_does_not_end_has_failed() -> None:
    course = recovery("BEGIN_RECOVERY").wait(RECOVERY - 0.001)
    assert course.faults == {"card0": {Reason.RECOVERING}}
    assert course.wait(0.001).faults == {"card0": {Reason.NOT_RECOVERED}}
    assert course.wait(1e5).faults == {"card0": {Reason.NOT_RECOVERED}}


def test_a_late_success_counts() -> None:
    course = heard(recovery("BEGIN_RECOVERY").wait(RECOVERY), "SUCCESSFUL_RECOVERY")
    assert course.wait(HOLD).healthy


def test_before_linux_6_18_only_the_bridge_is_said_to_have_failed() -> None:
    both = Course().look(device(), device(OTHER, name="card1"))
    heard(both, "FAILED_RECOVERY", BRIDGE)
    assert both.faults == {"card0": {Reason.NOT_RECOVERED}, "card1": {Reason.NOT_RECOVERED}}
    both.hear(event("bind", CARD)).wait(HOLD)
    assert both.faults == {"card0": set(), "card1": {Reason.NOT_RECOVERED}}


def test_other_words_say_nothing() -> None:
    assert recovery("").healthy
    assert recovery("MAYBE").healthy


def counted(course: Course, endpoint: int, port: int = 0) -> Course:
    kind = fault(Reason.FATAL_ERRORS)
    return course.look(device(), Signs(CARD, counts={kind: endpoint}), Signs(BRIDGE, counts={kind: port}))


@pytest.mark.parametrize("place", [(1, 0), (0, 1)], ids=["at the device", "at the port above it"])
def test_a_fatal_error_lasts(place: tuple[int, int]) -> None:
    course = counted(counted(Course(), 0), *place)
    assert course.wait(1e5).faults == {"card0": {Reason.FATAL_ERRORS}}
    assert course.hear(event("bind")).wait(HOLD).healthy


@pytest.mark.parametrize("place", [(1, 0), (0, 1)], ids=["at the device", "at the port above it"])
def test_a_recovery_ends_a_fatal_error_whether_it_was_counted_before_or_after(place: tuple[int, int]) -> None:
    before = heard(counted(heard(counted(Course(), 0), "BEGIN_RECOVERY"), *place), "SUCCESSFUL_RECOVERY")
    after = counted(heard(heard(counted(Course(), 0), "BEGIN_RECOVERY"), "SUCCESSFUL_RECOVERY"), *place)
    assert before.wait(HOLD).healthy
    assert after.wait(HOLD).healthy


def test_a_driver_that_lets_go_makes_the_device_unhealthy_until_one_takes_it() -> None:
    course = Course(lives={CARD: Life(1)}).look(device()).hear(event("unbind"))
    assert course.wait(60).faults == {"card0": {Reason.UNBOUND}}
    assert course.hear(event("bind")).healthy


def test_a_driver_that_took_it_without_a_word_is_seen() -> None:
    course = Course(lives={CARD: Life(1)}).look(device()).hear(event("unbind"))
    course.lives[CARD] = Life(1, 7)
    assert course.wait(0).healthy


def test_drivers_of_other_buses_are_no_matter() -> None:
    assert Course().look(device()).hear(event("unbind", subsystem="auxiliary")).healthy


def test_a_device_off_the_bus_is_believed_after_a_while() -> None:
    """A look may fall into a reset, when every device reads as ones."""
    gone = Signs(CARD, frozenset({fault(Reason.OFF_BUS)}))
    course = Course().look(device(), gone)
    assert course.wait(2.499).healthy
    assert course.wait(0.001).faults == {"card0": {Reason.OFF_BUS}}
    assert not course.look(device(), Signs(CARD)).wait(HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


def test_a_reset_is_no_fault() -> None:
    gone = Signs(CARD, frozenset({fault(Reason.OFF_BUS)}))
    course = Course().look(device(), gone).wait(2).look(device(), Signs(CARD)).wait(0.5)
    assert course.healthy
    assert course.look(device(), gone).wait(2).healthy
