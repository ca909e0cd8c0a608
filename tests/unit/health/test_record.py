"""When a fault acts, how long its recovery has to last, and what ends it."""

from dataclasses import replace

import pytest

from intel_agent.config import Config, Health
from intel_agent.health.condition import LONGEST_HOLD, MEMORY, PATIENCE, Life
from intel_agent.model import LASTING, Device, Event, Exclusion, Fault, Reason, Signs, Verdict

from .course import BRIDGE, CARD, HOLD, Course, device, event, fault

HALTED = fault(Reason.HALTED)
WEDGED = Verdict(CARD, fault(Reason.WEDGED))
HUNG = Verdict(CARD, fault(Reason.HUNG), passed=True)


def test_what_a_look_sees_acts_at_once_and_is_over_when_it_held() -> None:
    course = Course().look(device())
    assert course.healthy
    assert course.look(device(CARD, HALTED)).faults == {"card0": {Reason.HALTED}}
    course.wait(1e6).look(device())
    assert course.wait(HOLD - 0.001).faults == {"card0": {Reason.HALTED}}
    assert course.wait(0.001).healthy


def test_a_recovery_that_does_not_last_begins_anew() -> None:
    course = Course().look(device(CARD, HALTED)).look(device()).wait(HOLD - 1)
    course.look(device(CARD, HALTED)).wait(5).look(device())
    assert not course.wait(HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


def test_while_it_is_over_the_detail_says_so() -> None:
    course = Course().look(device(CARD, HALTED)).look(device())
    assert course.judged.devices[0].faults == {replace(HALTED, detail="it is so; over, if it stays so for 30 s")}


@pytest.mark.parametrize(
    ("times", "hold"),
    [(0, HOLD), (1, 2 * HOLD), (2, 4 * HOLD), (6, 64 * HOLD), (7, LONGEST_HOLD), (40, LONGEST_HOLD)],
)
def test_each_return_doubles_the_hold_time_up_to_an_hour(times: int, hold: float) -> None:
    course = Course().look(device(CARD, HALTED)).look(device())
    for _ in range(times):
        course.wait(LONGEST_HOLD).look(device(CARD, HALTED)).look(device())
    assert not course.wait(hold - 0.001).healthy
    assert course.wait(0.001).healthy


def test_what_comes_back_before_it_recovered_is_no_return() -> None:
    """Nobody has seen the device healthy in between, so it does not flap."""
    course = Course().look(device(CARD, HALTED)).look(device())
    for _ in range(10):
        course.wait(1).look(device(CARD, HALTED)).look(device())
    assert course.wait(HOLD).healthy


def test_returns_are_forgotten_in_an_hour() -> None:
    course = Course().look(device(CARD, HALTED)).look(device()).wait(HOLD + MEMORY)
    assert course.record.conditions == {}
    assert course.look(device(CARD, HALTED)).look(device()).wait(HOLD).healthy


def test_without_a_hold_time_a_device_recovers_at_once() -> None:
    course = Course(Config(health=Health(recovery_seconds=0))).look(device(CARD, HALTED))
    assert course.look(device()).healthy


def test_a_hold_time_longer_than_an_hour_is_kept() -> None:
    course = Course(Config(health=Health(recovery_seconds=7200))).look(device(CARD, HALTED)).look(device())
    assert not course.wait(7199).healthy
    assert course.wait(1).healthy


def test_what_is_told_outlasts_every_look() -> None:
    course = Course().look(device()).tell(WEDGED)
    for _ in range(3):
        assert course.wait(1e5).look(device()).faults == {"card0": {Reason.WEDGED}}


def test_a_new_binding_ends_what_was_told_and_has_to_last() -> None:
    course = Course().look(device()).tell(WEDGED).hear(event("bind"))
    assert not course.wait(HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


@pytest.mark.parametrize(
    ("life", "ends"),
    [
        pytest.param(Life(1, 3), True, id="bound anew"),
        pytest.param(Life(1, None), False, id="not bound"),
        pytest.param(Life(1, 2), False, id="nothing happened"),
    ],
)
def test_a_binding_whose_message_was_lost_is_recognised(life: Life, *, ends: bool) -> None:
    course = Course().look(device()).tell(WEDGED)
    course.lives[CARD] = life
    assert course.wait(1).wait(HOLD).healthy is ends


def test_what_was_told_after_a_binding_is_not_ended_by_it() -> None:
    """The message of the binding was lost, that of the next hang was not."""
    course = Course().look(device()).tell(WEDGED)
    course.lives[CARD] = Life(1, 3)
    course.record = course.record.told("gpu", WEDGED, course.now, course.recovery, course.bodies)
    assert not course.wait(1e5).healthy


def test_a_wedge_that_needs_a_power_cycle_outlasts_bindings() -> None:
    course = Course().look(device()).tell(replace(WEDGED, outlasts_driver=True)).hear(event("bind"))
    course.lives[CARD] = Life(1, 3)
    assert not course.wait(1e5).healthy
    course.lives[CARD] = Life(1, 3)
    assert not course.wait(1e5).healthy


@pytest.mark.parametrize(
    "message",
    [pytest.param(event("add"), id="its message"), pytest.param(event("change"), id="another life, no message")],
)
def test_a_device_that_comes_back_is_healthy_at_once(message: Event) -> None:
    course = Course().look(device(CARD, HALTED)).tell(replace(WEDGED, outlasts_driver=True))
    course.look()
    course.lives[CARD] = Life(9, 10)
    assert course.hear(message).look(device()).healthy


def test_a_device_that_leaves_is_unhealthy_before_anybody_looks() -> None:
    course = Course().look(device()).hear(event("remove"))
    assert course.faults == {"card0": {Reason.GONE}}
    course.lives[CARD] = None
    assert course.wait(60).faults == {"card0": {Reason.GONE}}  # nobody could look since
    assert course.look().record.conditions == {}


def test_a_device_that_did_not_leave_is_healthy_after_a_moment() -> None:
    course = Course().look(device()).hear(event("remove"))
    assert not course.wait(2.499).healthy
    assert course.wait(0.001).healthy


def test_a_device_that_is_back_before_anybody_looks_is_healthy_at_once() -> None:
    course = Course().look(device()).hear(event("remove"))
    assert course.hear(event("add")).healthy


def test_messages_that_somebody_asked_for_mean_nothing() -> None:
    """`udevadm trigger --action=remove` is no removal."""
    assert Course().look(device()).hear(event("remove", SYNTH_UUID="0")).healthy


def test_what_happens_elsewhere_is_not_remembered() -> None:
    course = Course().look(device())
    for number in range(1000):
        course.hear(event("remove", f"/sys/devices/x{number}"))
    assert course.record.conditions == {}


def test_what_happened_is_over_by_itself() -> None:
    course = Course(Config(health=Health(reasons={"hung": "fault"}))).look(device()).tell(HUNG)
    assert not course.wait(HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


def test_a_reason_is_over_when_a_message_says_so() -> None:
    course = Course().look(device()).tell(WEDGED).tell(Verdict(CARD, over=frozenset({Reason.HALTED})))
    assert not course.wait(HOLD).healthy
    assert course.tell(Verdict(CARD, over=frozenset({Reason.WEDGED}))).wait(HOLD).healthy


def test_another_kind_has_no_say() -> None:
    course = Course().look(device()).tell(WEDGED)
    assert not course.tell(Verdict(CARD, over=frozenset({Reason.WEDGED})), "dsa").wait(HOLD).healthy


def test_what_lasts_too_long_becomes_worse() -> None:
    doubtful = Verdict(CARD, fault(Reason.HUNG), seconds=70, then=fault(Reason.WEDGED))
    course = Course().look(device()).tell(doubtful)
    assert (course.wait(69.999).faults, course.warnings) == ({"card0": set()}, {"card0": {Reason.HUNG}})
    assert (course.wait(0.001).faults, course.warnings) == ({"card0": {Reason.WEDGED}}, {"card0": set()})
    assert not course.wait(1e5).healthy


def test_what_ends_in_time_does_not_become_worse() -> None:
    doubtful = Verdict(CARD, fault(Reason.HUNG), seconds=70, then=fault(Reason.WEDGED))
    course = Course().look(device()).tell(doubtful).wait(69).tell(Verdict(CARD, over=frozenset({Reason.HUNG})))
    assert course.wait(1e5).healthy
    assert course.record.conditions == {}


def test_what_lasts_for_a_time_is_over_then() -> None:
    course = Course().look(device()).tell(replace(WEDGED, seconds=10))
    assert not course.wait(10 + HOLD - 0.001).healthy
    assert course.wait(0.001).healthy


def test_of_what_is_not_offered_nothing_is_known() -> None:
    """A halted accelerator's queues are taken apart before they come back: that is no recovery."""
    excluded = Exclusion(CARD, "halted", "it is halted", "wait")
    course = Course().look(device(CARD, HALTED)).look(excluded).wait(1e5).look(device())
    assert course.faults == {"card0": {Reason.HALTED}}
    assert course.wait(HOLD).healthy


def test_a_kind_that_was_not_looked_at_is_as_it_was() -> None:
    course = Course().look(device(CARD, HALTED))
    seen, course.seen = course.seen, replace(course.seen, found={})
    course.record = course.record.seen(course.seen, course.now, course.recovery, course.bodies)
    course.seen = seen
    assert course.faults == {"card0": {Reason.HALTED}}


@pytest.mark.parametrize("before_the_first_look", [False, True])
def test_what_is_told_of_a_bridge_ends_for_each_device_with_its_own_new_life(*, before_the_first_look: bool) -> None:
    cards = [device(f"{BRIDGE}/0000:3b:00.{number}", name=f"card{number}") for number in range(2)]
    course, broken = Course(), Verdict(BRIDGE, fault(Reason.WEDGED))
    if before_the_first_look:
        course.tell(broken, "").look(*cards)
    else:
        course.look(*cards).tell(broken, "")
    assert course.faults == {"card0": {Reason.WEDGED}, "card1": {Reason.WEDGED}}
    course.hear(event("bind", cards[0].sysfs_path)).wait(HOLD)
    assert course.faults == {"card0": set(), "card1": {Reason.WEDGED}}
    course.look(*cards, device(f"{BRIDGE}/0000:3b:00.2", name="card2"))
    assert course.faults == {"card0": set(), "card1": {Reason.WEDGED}, "card2": set()}


class TestCounts:
    """Numbers that only rise."""

    @staticmethod
    def course(*counts: int, reason: Reason = Reason.HUNG) -> Course:
        course, kind = Course(), Fault(reason, "sysfs", "counted")
        for count in counts:
            course.look(device(), Signs(CARD, counts={kind: count}))
        return course

    def test_the_first_count_says_nothing(self) -> None:
        assert self.course(7).warnings == {"card0": set()}

    def test_a_rise_is_the_fault_for_a_while(self) -> None:
        course = self.course(7, 8)
        assert course.wait(HOLD - 0.001).warnings == {"card0": {Reason.HUNG}}
        assert course.wait(0.001).warnings == {"card0": set()}

    def test_a_fall_is_another_life(self) -> None:
        assert self.course(7, 3, 3).warnings == {"card0": set()}
        assert self.course(7, 3, 4).warnings == {"card0": {Reason.HUNG}}

    @pytest.mark.parametrize("reason", sorted(LASTING))
    def test_what_lasts_is_over_when_its_count_is_set_back(self, reason: Reason) -> None:
        course = self.course(7, 8, reason=reason)
        assert course.wait(1e5).faults == {"card0": {reason}}
        course.look(device(), Signs(CARD, counts={Fault(reason, "sysfs", "counted"): 0}))
        assert not course.wait(HOLD - 0.001).healthy
        assert course.wait(0.001).healthy

    @pytest.mark.parametrize(
        "unread",
        [
            pytest.param((device(),), id="its file is away"),
            pytest.param((Exclusion(CARD, "unreadable", "", ""),), id="nothing of it can be read"),
            pytest.param((device(f"{CARD}/drm/card0"), Signs(CARD)), id="of what the device belongs to"),
        ],
    )
    def test_a_count_that_cannot_be_read_for_a_while_goes_on(
        self, unread: tuple[Device | Exclusion | Signs, ...]
    ) -> None:
        kind = Fault(Reason.FATAL_ERRORS, "sysfs", "counted")
        course = self.course(7, reason=Reason.FATAL_ERRORS).look(*unread)
        course.look(device(), Signs(CARD, counts={kind: 8}))
        assert course.faults == {"card0": {Reason.FATAL_ERRORS}}
        course.look(*unread).look(device(), Signs(CARD, counts={kind: 0}))
        assert course.wait(HOLD).healthy

    def test_what_is_not_there_any_more_has_no_count(self) -> None:
        course = self.course(7).look()
        assert course.record.counts == {}

    def test_what_somebody_else_told_is_not_over_then(self) -> None:
        course = self.course(7, 8, reason=Reason.FATAL_ERRORS).tell(Verdict(CARD, fault(Reason.FATAL_ERRORS)))
        course.look(device(), Signs(CARD, counts={Fault(Reason.FATAL_ERRORS, "sysfs", "counted"): 0}))
        assert course.wait(1e5).faults == {"card0": {Reason.FATAL_ERRORS}}

    def test_two_that_count_the_same_reason_are_told_apart(self) -> None:
        pci, own = (Fault(Reason.FATAL_ERRORS, source, "counted") for source in ("sysfs", "qat_ras"))
        course = Course().look(device(), Signs(CARD, counts={pci: 0}), Signs(CARD, counts={own: 5}))
        assert course.look(device(), Signs(CARD, counts={pci: 0}), Signs(CARD, counts={own: 5})).healthy
        course.look(device(), Signs(CARD, counts={pci: 1}), Signs(CARD, counts={own: 5}))
        assert course.judged.devices[0].faults == {pci}

    @pytest.mark.parametrize("last", ["sysfs", "qat_ras"])
    def test_of_two_that_count_the_same_reason_each_ends_its_own(self, last: str) -> None:
        first = ({"sysfs", "qat_ras"} - {last}).pop()
        one, other = (Fault(Reason.FATAL_ERRORS, source, "counted") for source in (first, last))
        course = Course().look(device(), Signs(CARD, counts={one: 0, other: 0}))
        course.look(device(), Signs(CARD, counts={one: 1, other: 0}))
        course.look(device(), Signs(CARD, counts={one: 1, other: 1}))
        assert course.judged.devices[0].faults == {one, other}
        course.look(device(), Signs(CARD, counts={one: 1, other: 0})).wait(1e5)
        assert course.judged.devices[0].faults == {one}
        course.look(device(), Signs(CARD, counts={one: 0, other: 0}))
        assert not course.wait(HOLD - 0.001).healthy
        assert course.wait(0.001).healthy

    def test_what_was_counted_before_its_end_was_told_is_no_news(self) -> None:
        course = self.course(7).tell(Verdict(CARD, over=frozenset({Reason.HUNG})))
        kind = Fault(Reason.HUNG, "sysfs", "counted")
        assert course.look(device(), Signs(CARD, counts={kind: 8})).warnings == {"card0": set()}

    def test_another_device_counts_anew(self) -> None:
        course = self.course(7).hear(event("add"))
        kind = Fault(Reason.HUNG, "sysfs", "counted")
        assert course.look(device(), Signs(CARD, counts={kind: 8})).warnings == {"card0": set()}


def test_the_next_moment_is_when_something_changes_by_itself() -> None:
    course = Course()
    assert course.record.moment(course.now, HOLD) == float("inf")
    course.look(device(CARD, HALTED))
    assert course.record.moment(course.now, HOLD) == float("inf")
    course.look(device())
    assert course.record.moment(course.now, HOLD) == course.now + HOLD
    course.wait(HOLD)
    assert course.record.moment(course.now, HOLD) == course.now + MEMORY
    course.look(device(CARD, fault(Reason.RESETTING)))
    assert course.record.moment(course.now, HOLD) == course.now + PATIENCE[Reason.RESETTING]
    course.tell(replace(WEDGED, seconds=7))
    assert course.record.moment(course.now, HOLD) == course.now + 7
