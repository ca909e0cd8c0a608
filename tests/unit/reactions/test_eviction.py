"""Who is evicted, when, and who never is."""

from collections import deque
from collections.abc import Mapping

import pytest

from intel_agent.cluster.pods import Owner, PodMetadata
from intel_agent.config import Eviction
from intel_agent.model import NO_EDITS, Device, Fault, Reason
from intel_agent.reactions.eviction import Victim, allowed, excused, lasting, overdue, spared, victims
from intel_agent.reactions.health import Unhealthy

XE = "gpu.intel.com/xe"
WEDGED = Fault(Reason.WEDGED, "kernel", "the driver gave up")


def ill(number: int) -> Unhealthy:
    name = f"card{number}"
    return Unhealthy("gpu", Device(name, XE, f"/sys/{name}", NO_EDITS, name, 2), (WEDGED,))


def key(number: int, share: int = 0) -> tuple[str, str]:
    return XE, f"card{number}-{share}"


FIRST, SECOND = (XE, "card0"), (XE, "card1")


def test_the_clock_begins_when_a_device_breaks_and_again_when_it_healed_meanwhile() -> None:
    since = lasting({}, [ill(0)], 100.0)
    assert since == {FIRST: 100.0}
    since = lasting(since, [ill(0), ill(1)], 200.0)
    assert since == {FIRST: 100.0, SECOND: 200.0}
    since = lasting(since, [ill(1)], 300.0)
    assert lasting(since, [ill(0), ill(1)], 400.0) == {FIRST: 400.0, SECOND: 200.0}


@pytest.mark.parametrize(
    ("now", "expected"),
    [(299.0, []), (300.0, ["card1"]), (399.0, ["card1"]), (400.0, ["card1", "card0"])],
)
def test_what_has_waited_long_enough_is_due_the_longest_first(now: float, expected: list[str]) -> None:
    due = overdue({FIRST: 200.0, SECOND: 100.0}, [ill(0), ill(1)], now, 200.0)
    assert [each.device.id for each in due] == expected


UIDS = {key(0): "u-1", key(0, 1): "u-2", key(1): "u-1"}


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param({}, [], id="nobody"),
        pytest.param({key(2): "a/train/c"}, [], id="of another device"),
        pytest.param({key(0): None}, [], id="nobody knows who"),
        pytest.param({key(0): "a/train/c"}, [("a/train", "u-1", ["card0"])], id="one"),
        pytest.param(
            {key(0): "a/train/c", key(1): "a/train/d"}, [("a/train", "u-1", ["card0", "card1"])], id="both of one pod"
        ),
        pytest.param(
            {key(0): "a/train/c", key(0, 1): "b/train/c"},
            [("a/train", "u-1", ["card0"]), ("b/train", "u-2", ["card0"])],
            id="shared by two",
        ),
        pytest.param({key(1, 1): "a/train/c"}, [("a/train", "", ["card1"])], id="the file does not say which"),
    ],
)
def test_who_holds_what_is_unhealthy_has_to_go(
    held: Mapping[tuple[str, str], str | None], expected: list[tuple[str, str, list[str]]]
) -> None:
    found = victims([ill(0), ill(1)], held, UIDS)
    assert [(each.pod, each.uid, [one.device.id for one in each.unhealthy]) for each in found] == expected


@pytest.mark.parametrize(
    ("victim", "section", "expected"),
    [
        pytest.param(Victim("a", "b", "u-1", ()), Eviction(), None, id="anybody"),
        pytest.param(Victim("a", "b", "", ()), Eviction(), "which pod of this name", id="nobody knows who"),
        pytest.param(Victim("a", "b", "0f3a", ()), Eviction(), "static pod", id="static"),
        pytest.param(Victim("kube-system", "b", "u-1", ()), Eviction(), "kube-system", id="system"),
        pytest.param(
            Victim("kube-system", "b", "u-1", ()), Eviction(namespaces=("kube-system",)), None, id="system, named"
        ),
        pytest.param(Victim("a", "b", "u-1", ()), Eviction(namespaces=("c",)), "eviction.namespaces", id="not named"),
    ],
)
def test_some_are_spared_unasked(victim: Victim, section: Eviction, expected: str | None) -> None:
    why = spared(victim, section)
    assert why is None if expected is None else expected in (why or "")


POD = Victim("a", "b", "u-1", ())
DAEMON = (Owner("DaemonSet", controller=True),)


@pytest.mark.parametrize(
    ("metadata", "section", "expected"),
    [
        pytest.param(PodMetadata("u-1"), Eviction(), None, id="anybody"),
        pytest.param(PodMetadata("u-2"), Eviction(), "another pod has its name now", id="another"),
        pytest.param(PodMetadata("u-1", deletion_timestamp="x"), Eviction(), "it ends already", id="ends"),
        pytest.param(
            PodMetadata("u-1", annotations={"kubernetes.io/config.mirror": "x"}), Eviction(), "static", id="mirror"
        ),
        pytest.param(PodMetadata("u-1", owner_references=DAEMON), Eviction(), "DaemonSet", id="DaemonSet"),
        pytest.param(
            PodMetadata("u-1", owner_references=DAEMON), Eviction(daemon_sets=True), None, id="DaemonSet, configured"
        ),
        pytest.param(
            PodMetadata("u-1", owner_references=(Owner("Job", controller=True), Owner("DaemonSet"))),
            Eviction(),
            None,
            id="not its controller",
        ),
    ],
)
def test_some_are_excused(metadata: PodMetadata, section: Eviction, expected: str | None) -> None:
    why = excused(POD, metadata, section)
    assert why is None if expected is None else expected in (why or "")


@pytest.mark.parametrize(
    ("evicted", "now", "expected", "kept"),
    [
        pytest.param([], 0.0, True, 0, id="the first"),
        pytest.param([10.0], 20.0, True, 1, id="the second"),
        pytest.param([10.0, 20.0], 69.0, False, 2, id="the third in a minute"),
        pytest.param([10.0, 20.0], 70.0, True, 1, id="a minute later"),
    ],
)
def test_no_more_than_configured_go_in_a_minute(evicted: list[float], now: float, *, expected: bool, kept: int) -> None:
    times = deque(evicted)
    assert allowed(times, now, 2) is expected
    assert len(times) == kept
