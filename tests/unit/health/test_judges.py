"""What xpumd says of cards: which words count, for which devices, and for how long."""

from dataclasses import replace

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.config import Config, Devices, Health
from intel_agent.health import judges
from intel_agent.health.condition import Life
from intel_agent.health.judges import Statement, Words
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Fault, Reason, Signs

from .course import CARD, HOLD, Course, device, event

ADDRESS = "0000:3b:00.0"
OTHER = "0000:4b:00.0"
NOTHING: list[Statement] = []
MEMORY = Statement("memory", 3, "ecc", "12 errors")
ILL: Words = judges.heard({}, [(ADDRESS, [MEMORY])])


def faults(words: Words, address: str = ADDRESS) -> set[tuple[Reason, str]]:
    """Return what is wrong with a card, by words alone."""
    found = Found((device(f"/sys/devices/pci0000:3a/{address}"),))
    (signs,) = judges.witnessed(Inventory.of({"gpu": found}), words).found["gpu"].signs or (Signs(""),)
    assert {each.source for each in signs.faults} <= {"xpumd"}
    return {(each.reason, each.detail) for each in signs.faults}


@pytest.mark.parametrize(
    ("severity", "reason"),
    [
        pytest.param(0, None, id="unknown"),
        pytest.param(1, None, id="ok"),
        pytest.param(2, Reason.JUDGED_WARNING, id="warning"),
        pytest.param(3, Reason.JUDGED_CRITICAL, id="critical"),
        pytest.param(4, Reason.JUDGED_FAILED, id="failed"),
        pytest.param(5, None, id="one that nobody knows"),
        pytest.param(-1, None, id="one that makes no sense"),
    ],
)
def test_a_severity_is_a_reason(severity: int, reason: Reason | None) -> None:
    words = judges.heard({}, [(ADDRESS, [Statement("memory", severity, "ecc", "12 errors")])])
    assert faults(words) == (set() if reason is None else {(reason, "memory: ecc: 12 errors")})


@pytest.mark.parametrize(
    ("said", "after"),
    [
        pytest.param([], {Reason.JUDGED_CRITICAL}, id="a card that is not named is as it was"),
        pytest.param([(ADDRESS, NOTHING)], set[Reason](), id="a part that is not named is well"),
        pytest.param([(ADDRESS, [Statement("memory", 1)])], set[Reason](), id="ok"),
        pytest.param([(ADDRESS, [Statement("memory", 0)])], {Reason.JUDGED_CRITICAL}, id="unknown is as it was"),
        pytest.param([(ADDRESS, [Statement("memory", 9)])], {Reason.JUDGED_CRITICAL}, id="not known is as it was"),
        pytest.param([(ADDRESS, [Statement("bus", 0)])], set[Reason](), id="unknown of a part that was well"),
        pytest.param([(ADDRESS, [Statement("memory", 4)])], {Reason.JUDGED_FAILED}, id="worse"),
        pytest.param(
            [(ADDRESS, [MEMORY, Statement("bus", 2)])], {Reason.JUDGED_CRITICAL, Reason.JUDGED_WARNING}, id="two parts"
        ),
        pytest.param([(ADDRESS.upper(), NOTHING)], set[Reason](), id="large letters"),
        pytest.param([(OTHER, NOTHING), ("", NOTHING), ("card0", NOTHING)], {Reason.JUDGED_CRITICAL}, id="others"),
    ],
)
def test_what_was_said_last_counts(said: list[tuple[str, list[Statement]]], after: set[Reason]) -> None:
    assert {reason for reason, _ in faults(judges.heard(ILL, said))} == after


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_words_about_a_part_the_worse_one_counts(order: int) -> None:
    said = [Statement("memory", 2), Statement("memory", 4)][::order]
    assert faults(judges.heard({}, [(ADDRESS, said)])) == {(Reason.JUDGED_FAILED, "memory")}


def test_another_sentence_alone_is_no_news() -> None:
    assert judges.heard(ILL, [(ADDRESS, [MEMORY._replace(sentence="13 errors")])]) == ILL
    assert judges.heard(ILL, [(ADDRESS, [MEMORY._replace(cause="retired")])]) != ILL


def test_a_judge_without_words_is_quoted_as_such() -> None:
    assert faults(judges.heard({}, [(ADDRESS, [Statement("", 4)])])) == {(Reason.JUDGED_FAILED, "without a word")}


def test_only_severities_that_nobody_knows_are_unclear() -> None:
    said = [(ADDRESS, [Statement("memory", severity) for severity in range(6)])]
    assert judges.unclear({}, said, ILL) == {ADDRESS: {"memory: severity 5, which nobody knows"}}


def test_a_severity_that_nobody_knows_is_news_once_whatever_is_said_of_other_cards() -> None:
    said = [(ADDRESS, [Statement("memory", 5)])]
    first = judges.unclear({}, said, ILL)
    assert judges.unclear(first, [(OTHER, NOTHING)], {**ILL, OTHER: {}}) == first
    assert judges.unclear(first, [(ADDRESS, [MEMORY])], ILL) == {}


def test_what_does_not_count_is_news_within_bounds() -> None:
    said = [(str(number), NOTHING) for number in range(1000)]
    first = judges.unclear({}, said, {})
    assert len(first) == judges.MOST_CARDS
    assert judges.unclear(first, said[::-1], {}) == first
    assert judges.unclear(first, [(ADDRESS, [Statement("memory", 5)])], ILL) == first


@pytest.mark.parametrize(
    ("names", "addresses", "ignored"),
    [
        pytest.param(["3b:00.0"], {ADDRESS}, set[str](), id="without domain"),
        pytest.param(["3B:00.0", "4b:00.0"], {ADDRESS, OTHER}, set[str](), id="two of the first domain"),
        pytest.param(["3b:00.0", ADDRESS], {ADDRESS}, set[str](), id="with and without"),
        pytest.param(["3b:00.0", "0001:3b:00.0"], {"0001:3b:00.0"}, {"3b:00.0"}, id="there is one in another domain"),
        pytest.param(["3b:00.0", "3b:00.0"], set[str](), {"3b:00.0"}, id="two without domain"),
        pytest.param(["", "card0", "3b:00.8", "b:00.0"], set[str](), {"", "card0", "3b:00.8", "b:00.0"}, id="none"),
    ],
)
def test_a_card_is_known_by_its_address_and_what_is_none_is_ignored_aloud(
    names: list[str], addresses: set[str], ignored: set[str]
) -> None:
    said = [(name, [MEMORY]) for name in names]
    words = judges.heard({}, said)
    assert words.keys() == addresses
    problem = {"its PCI address is none, or may be that of two cards"}
    assert judges.unclear({}, said, words) == dict.fromkeys(ignored, problem)


def test_a_card_in_another_domain_that_was_heard_before_makes_an_address_ambiguous() -> None:
    words = judges.heard({}, [("0001:3b:00.0", NOTHING)])
    assert judges.heard(words, [("3b:00.0", [MEMORY])]) == words


def test_a_judge_that_raves_is_remembered_within_bounds() -> None:
    parts = [Statement(f"{number}" * 1000, 2, "x" * 1000, "y" * 1000) for number in range(1000)]
    words = judges.heard({}, [(f"0000:00:{number % 32:02x}.{number % 7}", parts) for number in range(1000)])
    assert len(words) <= judges.MOST_CARDS
    assert all(len(each) <= judges.MOST_PARTS for each in words.values())
    texts = [
        text for each in words.values() for name, word in each.items() for text in (name, word.cause, word.sentence)
    ]
    assert max(map(len, texts)) == judges.LONGEST_TEXT


def test_the_number_of_cards_has_a_bound_and_known_ones_stay_known() -> None:
    said = [(f"{number:04x}:00:00.0", [MEMORY]) for number in range(judges.MOST_CARDS + 1)]
    full = judges.heard({}, said)
    assert len(full) == judges.MOST_CARDS
    assert judges.heard(full, [(said[0][0], [])]) == {**full, said[0][0]: {}}
    assert judges.unclear({}, said, full) == {said[-1][0]: {"more than 256 cards are not heard"}}


class Judged(Course):
    """A node with one card, which xpumd judges."""

    def say(self, words: Words, *devices: Device) -> "Judged":
        self.words = words
        self.look(*(devices or (device(),)))
        return self


def test_a_word_acts_at_once_and_its_end_has_to_last() -> None:
    course = Judged().say(ILL)
    assert course.faults == {"card0": {Reason.JUDGED_CRITICAL}}
    assert not course.say({}).healthy
    course.wait(HOLD - 0.001)
    assert not course.healthy
    course.wait(0.001)
    assert course.healthy


def test_another_word_makes_no_old_count_count_again() -> None:
    """What the card counted by the time that the kernel had recovered it is no news, whoever speaks meanwhile."""
    course, fatal = Judged(), Fault(Reason.FATAL_ERRORS, "sysfs", "counted")
    course.look(device(), Signs(CARD, counts={fatal: 0}))
    course.hear(event("change", ERROR_EVENT="BEGIN_RECOVERY"))
    course.hear(event("change", ERROR_EVENT="SUCCESSFUL_RECOVERY"))
    course.judge(ILL)
    course.judge({ADDRESS: {}})
    course.look(device(), Signs(CARD, counts={fatal: 1}))
    assert course.wait(HOLD).healthy


def test_a_driver_bound_anew_changes_nothing_about_it() -> None:
    course = Judged().say(ILL)
    course.lives[CARD] = Life(1, 99)
    assert not course.say(ILL).wait(HOLD).healthy


def test_virtual_functions_share_what_is_said_of_their_physical_one() -> None:
    physical = f"{CARD[:-1]}7"
    virtual = [device(f"{CARD[:-1]}{number}", name=f"card{number}", depends_on=(physical,)) for number in (1, 2)]
    words = judges.heard({}, [("0000:3b:00.7", [MEMORY])])
    course = Judged().say(words, *virtual)
    assert course.faults == {"card1": {Reason.JUDGED_CRITICAL}, "card2": {Reason.JUDGED_CRITICAL}}
    course.say(judges.heard(words, [("0000:3b:00.7", [])]), *virtual)
    course.wait(HOLD / 2)
    assert not course.healthy
    course.wait(HOLD / 2)
    assert course.healthy


def test_severities_are_treated_as_configured() -> None:
    every = Config(
        health=Health(reasons={"judged-critical": "warning"}),
        devices=Devices(gpu=Gpu(reasons={"judged-failed": "ignore"})),
    )
    words = judges.heard({}, [(ADDRESS, [MEMORY, Statement("bus", 4), Statement("fan", 2)])])
    course = Judged(every).say(words, replace(device(), treatments={Reason.JUDGED_WARNING: "fault"}))
    assert course.warnings == {"card0": {Reason.JUDGED_CRITICAL}}
    assert course.faults == {"card0": {Reason.JUDGED_WARNING}}


def test_nothing_is_said_of_other_kinds() -> None:
    queue = Device("wq0.0", "dsa.intel.com/x", f"{CARD}/dsa0/wq0.0", NO_EDITS, "wq0.0")
    seen = Inventory.of({"gpu": Found((device(),)), "dsa": Found((queue,))})
    assert judges.witnessed(seen, ILL).found["dsa"] == seen.found["dsa"]
    without = Inventory.of({"dsa": Found((queue,))})
    assert judges.witnessed(without, ILL) is without


def test_when_a_card_left_what_was_said_of_it_is_forgotten() -> None:
    both = judges.heard(ILL, [(OTHER, [MEMORY])])
    assert judges.without(both, ADDRESS).keys() == {OTHER}
    assert Fault(Reason.JUDGED_CRITICAL, "xpumd", "memory: ecc: 12 errors") == ILL[ADDRESS]["memory"].fault("memory")
