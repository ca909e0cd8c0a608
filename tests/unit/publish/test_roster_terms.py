"""On which terms a device is held: of before a restart, under another name, as a part, or from another plugin."""

from dataclasses import replace

import pytest
from unit.publish.told import I915, XE, card, health, held, reasons, told

from intel_agent.model import ContainerEdits, Device, DeviceNode, Health, Reason
from intel_agent.publish.holdings import Key, Node
from intel_agent.publish.roster import Roster
from intel_agent.publish.terms import Term


@pytest.mark.parametrize(
    ("former", "shares", "healthy"),
    [
        pytest.param(1, 3, {"card0-0"}, id="it was exclusive and is shared"),
        pytest.param(3, 1, {"card0-0"}, id="it was shared and is exclusive"),
        pytest.param(2, 3, {"card0-0", "card0-1", "card0-2"}, id="it was shared and still is"),
        pytest.param(1, 1, {"card0-0"}, id="nothing changed"),
    ],
)
def test_terms_of_before_this_process_hold_until_the_pod_is_gone(former: int, shares: int, healthy: set[str]) -> None:
    roster = Roster(terms={I915: {"card0": Term(former, "/sys/devices/0")}})
    for _ in range(3):
        roster = told(roster, card(shares=shares), card(1, shares=shares), holdings=held((I915, "card0-0")))
        told_of = health(roster).items()
        there = {each for each, state in told_of if state == "Healthy" and each.startswith("card0")}
        assert there == healthy
    roster = told(roster, card(shares=shares), card(1, shares=shares))
    assert set(health(roster).values()) == {"Healthy"}


def test_several_former_shares_of_what_is_exclusive_now_are_held_together() -> None:
    roster = Roster(terms={I915: {"card0": Term(3, "")}})
    roster = told(roster, card(shares=1), holdings=held((I915, "card0-0"), (I915, "card0-2")))
    assert health(roster)["card0-0"] == "Unhealthy"
    roster = told(roster, card(shares=1), holdings=held((I915, "card0-0")))
    assert health(roster)["card0-0"] == "Healthy"


def test_what_is_held_on_todays_terms_is_not_on_former_ones() -> None:
    roster = told(Roster(terms={I915: {"card0": Term(1, "")}}), card(shares=3))
    roster = told(roster, card(shares=3), holdings=held((I915, "card0-0")))
    assert set(health(roster).values()) == {"Healthy"}


def test_terms_of_a_device_that_is_found_late_hold_too() -> None:
    """After a restart one card hangs, and is found when the others have been for long."""
    roster = Roster(terms={I915: {"card0": Term(1, "/sys/devices/0"), "card1": Term(1, "/sys/devices/1")}})
    holdings = held((I915, "card0-0"))
    for _ in range(2):
        roster = told(roster, card(1, shares=3), holdings=holdings)
    roster = told(roster, card(shares=3), card(1, shares=3), holdings=holdings)
    assert [each for each, state in health(roster).items() if state == "Healthy"] == [
        "card0-0",
        "card1-0",
        "card1-1",
        "card1-2",
    ]


@pytest.mark.parametrize("shares", [1, 3])
def test_a_device_that_got_another_driver_over_a_restart_is_held_as_what_it_was(shares: int) -> None:
    roster = Roster(terms={I915: {"card0": Term(1, "/sys/devices/0")}})
    roster = told(roster, card(resource=XE, shares=shares), holdings=held((I915, "card0-0")))
    assert set(health(roster, XE).values()) == {"Unhealthy"}
    roster = told(roster, card(resource=XE, shares=shares))
    assert set(health(roster, XE).values()) == {"Healthy"}


WHOLE = "gpu.intel.com/whole"
PARTS = (card(0, shares=None), card(1, shares=None))
UNION = replace(card(7, resource=WHOLE, shares=None), parts=tuple(part.sysfs_path for part in PARTS))


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_made_of_several_waits_for_each_of_them(restarted: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    roster = told(Roster(), *PARTS)
    roster = Roster(terms=roster.terms) if restarted else roster

    roster = told(roster, UNION, holdings=held((I915, "card0"), (I915, "card1")))
    assert reasons(roster, WHOLE) == {"card7": {Reason.HELD}}
    roster = told(roster, UNION, holdings=held((I915, "card1")))
    assert reasons(roster, WHOLE) == {"card7": {Reason.HELD}}
    assert reasons(told(roster, UNION), WHOLE) == {"card7": set()}


@pytest.mark.parametrize("restarted", [False, True])
def test_parts_wait_for_what_was_made_of_them(restarted: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    roster = told(Roster(), UNION)
    roster = Roster(terms=roster.terms) if restarted else roster

    roster = told(roster, *PARTS, card(2, shares=None), holdings=held((WHOLE, "card7")))
    assert reasons(roster) == {"card0": {Reason.HELD}, "card1": {Reason.HELD}, "card2": set()}
    roster = told(roster, *PARTS, card(2, shares=None))
    assert reasons(roster) == {"card0": set(), "card1": set(), "card2": set()}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_part_that_went_and_came_back_belongs_to_who_got_it(restarted: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    holdings = held((WHOLE, "card7"))
    roster = told(Roster(), UNION, holdings=holdings)
    for _ in range(2):
        roster = told(roster, replace(UNION, parts=UNION.parts[:1]), holdings=holdings)
    roster = Roster(terms=roster.terms) if restarted else roster

    roster = told(roster, *PARTS, holdings=holdings)
    assert reasons(roster) == {"card0": {Reason.HELD}, "card1": {Reason.HELD}}


def test_a_part_that_went_while_nobody_had_it_is_free() -> None:
    roster = told(told(Roster(), UNION), replace(UNION, parts=UNION.parts[:1]))

    roster = told(roster, *PARTS, holdings=held((WHOLE, "card7")))
    assert reasons(roster) == {"card0": {Reason.HELD}, "card1": set()}


def test_a_card_that_got_another_number_is_held_as_what_it_was() -> None:
    roster = told(Roster(), card(shares=1))
    roster = told(roster, replace(card(shares=1), id="card7"), holdings=held((I915, "card0-0")))
    assert health(roster) == {"card7-0": "Unhealthy", "card0-0": "Unhealthy"}


def test_numbers_that_changed_over_a_restart_pin_nothing() -> None:
    """Cards are numbered anew at a reboot, and pods come back with the ids that they had."""
    roster = Roster(terms={I915: {"card0": Term(1, "/sys/devices/1"), "card1": Term(1, "/sys/devices/0")}})
    roster = told(roster, card(shares=1), card(1, shares=1), holdings=held((I915, "card0-0")))
    assert set(health(roster).values()) == {"Healthy"}
    assert not roster.unsettled


GAUDI = "habana.ai/gaudi"
SERIAL = (GAUDI, "AN05012345")


def gaudi(number: int) -> Device:
    name = f"/dev/accel/accel{number}"
    return Device(
        id=f"0000:3{number}:00.0",
        resource=GAUDI,
        sysfs_path=f"/sys/devices/3{number}",
        edits=ContainerEdits((DeviceNode(name, f"/host{name}"),)),
        cdi_name=f"3{number}",
    )


def got(number: int, *, pretended: bool = False) -> dict[Key, frozenset[Node]]:
    name = f"/dev/accel/accel{number}"
    return {SERIAL: frozenset({(name, "/dev/null" if pretended else f"/host{name}")})}


def test_a_device_that_another_plugin_handed_out_under_another_id_is_known_by_its_node() -> None:
    """Kubelet takes the id of the other plugin for a device of its own, and ours for free."""
    before = Roster(terms={GAUDI: {SERIAL[1]: Term(1, "")}}, nodes=got(1))
    while_held = told(before, gaudi(0), gaudi(1), holdings=held(SERIAL))
    after = told(while_held, gaudi(0), gaudi(1))

    assert health(while_held, GAUDI) == {"0000:30:00.0": "Healthy", "0000:31:00.0": "Unhealthy"}
    assert reasons(while_held, GAUDI)["0000:31:00.0"] == {Reason.HELD}
    assert health(after, GAUDI) == {"0000:30:00.0": "Healthy", "0000:31:00.0": "Healthy"}


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param({}, id="nothing is known of it"),
        pytest.param(got(7), id="another node"),
        pytest.param(got(1, pretended=True), id="something else under its name"),
    ],
)
def test_an_id_that_nobody_knows_makes_no_device_unhealthy(nodes: dict[Key, frozenset[Node]]) -> None:
    roster = told(Roster(nodes=nodes), gaudi(0), gaudi(1), holdings=held(SERIAL))

    assert set(health(roster, GAUDI).values()) == {"Healthy"}


@pytest.mark.parametrize(("share", "healthy"), [("card0-2", []), ("card0-0", ["card0-0"])])
def test_a_second_id_of_a_device_shows_that_it_was_shared_whatever_is_remembered(
    share: str, healthy: list[str]
) -> None:
    before = Roster(terms={I915: {"card0": Term(1, "/sys/devices/0")}})
    roster = told(before, card(shares=1), holdings=held((I915, share)))

    assert [each for each, state in health(roster).items() if state == "Healthy"] == healthy


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("shares", "now"), [(None, 1), (1, None)])
def test_a_device_that_is_alone_under_another_id_waits_for_who_has_it(
    shares: int | None,
    now: int | None,
    restarted: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    """`card0` and `card0-0` are one device: kubelet would give it to a second container."""
    roster = told(Roster(), card(shares=shares))
    (identifier,) = health(roster)
    holdings = held((I915, identifier))
    roster = told(Roster(terms=roster.terms) if restarted else roster, card(shares=now), holdings=holdings, now=1.0)

    (other,) = card(shares=now).ids
    assert reasons(roster)[other] == {Reason.HELD}
    assert health(told(roster, card(shares=now), now=2.0))[other] == Health.HEALTHY
