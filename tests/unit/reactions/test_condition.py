"""What the node's condition says, and when it is written."""

from datetime import UTC, datetime

import pytest

from intel_agent.cluster.node import Condition, following
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Exclusion, Fault, Reason
from intel_agent.publish.roster import Line, Listing
from intel_agent.reactions.condition import LONGEST, SPACING, TYPE, Told, condition, due
from intel_agent.reactions.health import NodeHealth, Unhealthy, observed
from intel_agent.reactions.observer import LEAST

XE = "gpu.intel.com/xe"
WEDGED = Fault(Reason.WEDGED, "kernel", "the driver gave up")
HOT = Fault(Reason.OVERHEATED, "hwmon", "105 degrees")
RESERVED = Fault(Reason.RESERVED, "rule", "it is reserved")
GONE = Fault(Reason.GONE, "inventory", "it left")


def card(number: int, *faults: Fault) -> Device:
    attributes = {"pciAddress": f"0000:3b:0{number}.0"}
    path = f"/sys/devices/card{number}"
    return Device(
        f"card{number}", XE, path, NO_EDITS, f"card{number}", 2, attributes=attributes, faults=frozenset(faults)
    )


def listing(*lines: Line) -> Listing:
    return Listing(XE, "gpu", lines)


def line(device: Device, *faults: Fault, departed: float | None = None) -> Line:
    return Line(device, device.ids, frozenset(faults), hints=False, message=b"", departed=departed)


def here(*devices: Device, exclusions: tuple[Exclusion, ...] = ()) -> Inventory:
    return Inventory.of({"gpu": Found(devices, exclusions)})


KINDS = {"gpu": {"hidden", "denied"}}
LEFT = line(card(1), GONE, departed=1.0)
HIDDEN = Exclusion("/sys/devices/card1", "hidden", "a rule hides it", "change the rule")
UNBOUND = Exclusion("/sys/devices/card1", "driver", "no driver", "bind it")
DENIED = Exclusion("/sys/devices/card1", "denied", "its id is in denyIDs", "take it out")
DOWN = Exclusion("/sys/devices/card1", "state", "it is down", "echo up > state", Reason.DISABLED)
OFF = Fault(Reason.DISABLED, "inventory", "it is down")


@pytest.mark.parametrize(
    ("inventory", "listings", "unhealthy", "devices"),
    [
        pytest.param(here(card(0)), [listing(line(card(0)))], [], 1, id="well"),
        pytest.param(here(card(0, WEDGED)), [], [("card0", [Reason.WEDGED])], 1, id="broken, not listed yet"),
        pytest.param(here(card(0, RESERVED)), [], [], 1, id="reserved"),
        pytest.param(here(card(0, RESERVED, WEDGED)), [], [("card0", [Reason.WEDGED])], 1, id="reserved, and broken"),
        pytest.param(here(card(0)), [listing(LEFT)], [("card1", [Reason.GONE])], 2, id="left"),
        pytest.param(here(card(0)), [listing(LEFT, LEFT)], [("card1", [Reason.GONE])], 2, id="left, in two lines"),
        pytest.param(here(card(0), exclusions=(HIDDEN,)), [listing(LEFT)], [], 1, id="hidden"),
        pytest.param(here(card(0), exclusions=(DENIED,)), [listing(LEFT)], [], 1, id="denied"),
        pytest.param(
            here(card(0), exclusions=(UNBOUND,)), [listing(LEFT)], [("card1", [Reason.GONE])], 2, id="without a driver"
        ),
        pytest.param(
            here(card(0)), [listing(line(card(1)))], [("card1", [Reason.GONE])], 2, id="left, and not listed so yet"
        ),
        pytest.param(
            here(card(0), exclusions=(DOWN,)),
            [listing(line(card(1)))],
            [("card1", [Reason.DISABLED])],
            2,
            id="switched off, and not listed so yet",
        ),
        pytest.param(here(card(0), exclusions=(HIDDEN,)), [listing(line(card(1)))], [], 1, id="hidden a moment ago"),
        pytest.param(
            here(card(0), exclusions=(DOWN,)),
            [listing(line(card(1), OFF, departed=1.0))],
            [("card1", [Reason.DISABLED])],
            2,
            id="switched off",
        ),
        pytest.param(
            here(card(0), card(1)), [listing(line(card(1), GONE, departed=1.0))], [], 2, id="under another name"
        ),
        pytest.param(
            here(card(0)), [Listing("npu.intel.com/accel", "npu", (LEFT,))], [], 1, id="of a kind that is switched off"
        ),
    ],
)
def test_what_counts_is_what_broke_or_left_and_not_what_was_decided(
    inventory: Inventory, listings: list[Listing], unhealthy: list[tuple[str, list[Reason]]], devices: int
) -> None:
    health = observed(KINDS, inventory, listings)
    assert [(each.device.id, [fault.reason for fault in each.faults]) for each in health.unhealthy] == unhealthy
    assert (health.devices, health.unknown) == (devices, {})


def test_kinds_that_were_not_looked_at_are_unknown() -> None:
    """That a kind cannot be looked at does not say that a device has left."""
    failed = Inventory.of({"gpu": Found(problem="no directory")})
    health = observed({"gpu": set(), "npu": set()}, failed, [listing(line(card(0)))])
    assert health == NodeHealth((), 0, {"gpu": "no directory", "npu": "not looked at yet"})


ILL = NodeHealth((Unhealthy("gpu", card(0), (HOT, WEDGED)),), 3)
ILL_SAID = Told(
    "True",
    "DevicesUnhealthy",
    "1 of 3 devices is unhealthy: card0 of gpu.intel.com/xe (0000:3b:00.0): overheated, wedged",
)


@pytest.mark.parametrize(
    ("health", "waited", "said"),
    [
        pytest.param(NodeHealth((), 1), False, Told("False", "DevicesHealthy", "1 device, none unhealthy"), id="well"),
        pytest.param(
            NodeHealth((), 0), False, Told("False", "DevicesHealthy", "0 devices, none unhealthy"), id="nothing"
        ),
        pytest.param(ILL, False, ILL_SAID, id="ill"),
        pytest.param(NodeHealth(ILL.unhealthy, 3, {"npu": "not looked at yet"}), True, ILL_SAID, id="ill, or more"),
        pytest.param(NodeHealth((), 0, {"npu": "a"}), False, None, id="not known yet"),
        pytest.param(
            NodeHealth((), 0, {"npu": "a", "qat": "b"}),
            True,
            Told("Unknown", "DevicesUnknown", "npu: a; qat: b"),
            id="unknown",
        ),
    ],
)
def test_unknown_is_not_healthy_and_what_is_unhealthy_wins(
    health: NodeHealth, said: Told | None, *, waited: bool
) -> None:
    assert condition(health, waited=waited) == said


@pytest.mark.parametrize("letter", ["x", "é", "\udcff"], ids=["a letter", "of two bytes", "no UTF-8"])
def test_a_message_is_bounded(letter: str) -> None:
    told = condition(NodeHealth((), 0, {"npu": letter * 5000}), waited=True)
    assert told is not None
    assert LONGEST - 1 <= len(told.message.encode()) <= LONGEST
    assert told.message.endswith("...")


OTHER_WORDS = Told("True", "DevicesUnhealthy", "2 of 3 devices are unhealthy: ...")
WELL = Told("False", "DevicesHealthy", "3 devices, none unhealthy")


@pytest.mark.parametrize(
    ("written", "age", "expected"),
    [
        pytest.param(None, 0.0, True, id="nothing was written"),
        pytest.param(WELL, LEAST - 1, False, id="another status, at once"),
        pytest.param(WELL, LEAST, True, id="another status"),
        pytest.param(OTHER_WORDS, SPACING - 1, False, id="other words, soon"),
        pytest.param(OTHER_WORDS, SPACING, True, id="other words, later"),
        pytest.param(ILL_SAID, 299.0, False, id="the same"),
        pytest.param(ILL_SAID, 300.0, True, id="a heartbeat"),
    ],
)
def test_it_is_written_when_it_changes_and_else_rarely(written: Told | None, age: float, *, expected: bool) -> None:
    assert due(ILL_SAID, written, age, 300.0) is expected


NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
OLD, MOMENT = "2026-01-30T00:00:00Z", "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("before", "transition"),
    [
        pytest.param(None, MOMENT, id="the first word"),
        pytest.param(Condition(TYPE, "False", last_transition_time=OLD), MOMENT, id="another status"),
        pytest.param(Condition(TYPE, "True", last_transition_time=OLD), OLD, id="the same status"),
        pytest.param(Condition(TYPE, "True"), MOMENT, id="the same status, and nobody knows since when"),
    ],
)
def test_the_last_transition_is_when_the_status_changed(before: Condition | None, transition: str) -> None:
    put = following(before, Condition(TYPE, "True", "a", "b"), NOW)
    assert put == Condition(TYPE, "True", "a", "b", MOMENT, transition)
