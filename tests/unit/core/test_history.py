"""What is remembered of each thing: what was said last, within bounds whatever is said."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.history import LONGEST, MOST, MOST_EACH, MOST_STATES, History

XE = "gpu.intel.com/xe"
CARD = "/sys/devices/pci0000:00/0000:00:02.0"


def added(history: History, number: int, health: str = "Healthy", event: str = "device.added", **more: object) -> None:
    keys = {"device": f"card{number}", "resource": XE, "path": f"/sys/{number}", "health": health, **more}
    history.note("info", event, keys)


def test_a_thing_is_known_by_what_events_call_it() -> None:
    history = History()
    history.note("info", "device.excluded", {"device": CARD, "rule": "driver"})
    history.note("warning", "fault.damped", {"device": CARD, "count": 2})
    history.note("info", "allocation.granted", {"resource": XE, "ids": ["card0-0", "card0-1"]})
    history.note("info", "resource.registered", {"resource": XE})
    history.note("error", "scan.failed", {"backend": "gpu", "problem": "no"})
    history.note("info", "agent.started", {"kinds": ["gpu"]})

    assert [each.event for each in history.of([CARD])] == ["device.excluded", "fault.damped"]
    assert [each.text for each in history.of([f"{XE}/card0-1"])] == [f"resource: {XE}, ids: card0-0; card0-1"]
    assert [each.event for each in history.of([XE])] == ["allocation.granted", "resource.registered"]
    assert [(each.level, each.event) for each in history.of(["gpu"])] == [("error", "scan.failed")]
    # what is about two of the things that are asked for is told once
    assert len(history.of([f"{XE}/card0-0", f"{XE}/card0-1", XE])) == 2
    assert history.of(["nothing"]) == []


def test_since_is_when_faults_or_warnings_changed_and_nothing_else() -> None:
    history = History()
    key = (XE, "card1")
    assert history.since(key) is None
    added(history, 1)
    first = history.since(key)
    added(history, 1, event="device.changed")
    assert history.since(key) == first
    added(history, 1, "Unhealthy", "device.changed", faults=["hot: it is hot"])
    second = history.since(key)
    added(history, 1, "Unhealthy", "device.changed", faults=["hot: it is hot", "gone: it is gone"])
    third = history.since(key)
    added(history, 1, "Unhealthy", faults=["hot: it is hot", "gone: it is gone"])  # it left, and another one came
    assert first is not None
    assert second is not None
    assert third is not None
    assert first < second < third < (history.since(key) or 0)


def test_of_a_device_that_was_forgotten_it_is_unknown_since_when_it_is_so() -> None:
    history = History()
    for number in range(MOST_STATES + 1):
        added(history, number)
    key = (XE, "card0")
    assert history.since(key) is None
    turns = history.turns
    added(history, 0, event="device.changed")  # something else than its faults is new
    assert history.since(key) is None
    assert history.turns == turns
    added(history, 0, "Unhealthy", "device.changed", faults=["hot: it is hot"])
    assert history.since(key) is not None


def test_a_clock_that_is_set_back_does_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    history, clock = History(), iter([3.0, 1.0, 2.0])
    monkeypatch.setattr("intel_agent.history.time", lambda: next(clock))
    for event in ("device.added", "device.changed", "device.removed"):
        history.note("info", event, {"device": "card0", "path": CARD})
    assert [each.event for each in history.of([CARD])] == ["device.added", "device.changed", "device.removed"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3 * MOST_EACH)), max_size=20))
def test_of_each_thing_the_last_words_are_kept_in_their_order(said: list[tuple[int, int]]) -> None:
    history = History()
    texts: dict[int, list[str]] = {}
    for thing, times in said:
        for _ in range(times):
            history.note(
                "info", "device.changed", {"path": f"/sys/{thing}", "number": len(texts.setdefault(thing, []))}
            )
            texts[thing].append(f"path: /sys/{thing}, number: {len(texts[thing])}")
    for thing, known in texts.items():
        assert [each.text for each in history.of([f"/sys/{thing}"])] == known[-MOST_EACH:]


def test_whatever_is_said_it_fits_into_some_megabytes() -> None:
    """Measured: 5.6 MB here; of 100 devices 0.1 MB after the first list, 0.5 MB when all had many events."""
    tracemalloc.start()
    try:
        history = History()
        for number in range(MOST_STATES + 2000):
            added(history, number, faults=[f"unreadable: {number} " + "x" * LONGEST])
            added(history, number % 700, "Unhealthy", "device.changed", faults=[f"hot: {number} " + "y" * LONGEST])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 8 << 20
    kept = [each for number in range(MOST_STATES + 2000) for each in history.of([f"/sys/{number}"])]
    assert len(kept) == MOST
    assert max(len(each.text) for each in kept) == LONGEST
    assert history.since((XE, f"card{MOST_STATES + 1999}")) is not None
