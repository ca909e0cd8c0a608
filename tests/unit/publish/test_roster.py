"""What kubelet is told follows rules that kubelet's own faults made necessary."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from intel_agent._proto.v1beta1 import ListAndWatchResponse
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Fault, Health, Reason
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.roster import NO_FAULTS, Roster, projected
from intel_agent.publish.terms import Term

LINGER = 30.0
NO_HINT: list[int] = []
NOBODY = Holdings(known=True)
I915 = "gpu.intel.com/i915"
XE = "gpu.intel.com/xe"


def card(
    number: int = 0, *, resource: str = I915, shares: int | None = 2, numa: tuple[int, ...] = (), bad: bool = False
) -> Device:
    faults = frozenset({Fault(Reason.UNREADABLE, "sysfs", "does not answer")}) if bad else frozenset[Fault]()
    return Device(
        id=f"card{number}",
        resource=resource,
        sysfs_path=f"/sys/devices/{number}",
        edits=NO_EDITS,
        cdi_name=f"card{number}",
        shares=shares,
        numa_nodes=numa,
        faults=faults,
    )


def inventory(*devices: Device) -> Inventory:
    return Inventory.of({"gpu": Found(devices)})


def held(*keys: Key) -> Holdings:
    return Holdings({key: f"default/pod-of-{key[1]}/main" for key in keys}, known=True)


def told(
    before: Roster,
    *devices: Device,
    holdings: Holdings = NOBODY,
    now: float = 0.0,
    faults: Mapping[Key, Fault] = NO_FAULTS,
) -> Roster:
    return projected(before, inventory(*devices), holdings, now=now, linger=LINGER, faults=faults)


def health(roster: Roster, resource: str = I915) -> dict[str, str]:
    message = ListAndWatchResponse.parse(roster.listings[resource].message)
    return {each.id: each.health for each in message.devices}


def numa(roster: Roster, resource: str = I915) -> dict[str, list[int]]:
    message = ListAndWatchResponse.parse(roster.listings[resource].message)
    return {each.id: [node.id for node in each.topology.nodes] if each.topology else [] for each in message.devices}


def reasons(roster: Roster, resource: str = I915) -> dict[str, set[Reason]]:
    return {
        each: {fault.reason for fault in line.faults} for line in roster.listings[resource].lines for each in line.ids
    }


def test_every_share_of_a_device_is_told() -> None:
    assert health(told(Roster(), card(shares=3))) == dict.fromkeys(["card0-0", "card0-1", "card0-2"], Health.HEALTHY)


def test_a_device_with_a_fault_is_told_as_unhealthy() -> None:
    assert health(told(Roster(), card(bad=True), card(1, shares=None))) == {
        "card0-0": "Unhealthy",
        "card0-1": "Unhealthy",
        "card1": "Healthy",
    }


def test_a_fault_that_is_none_of_the_nodes_is_told_too_and_ends() -> None:
    undefined = Fault(Reason.UNDEFINED, "cdi", "no file")
    roster = told(Roster(), card(), card(1), faults={(I915, "card0"): undefined})
    assert reasons(roster) == {
        "card0-0": {Reason.UNDEFINED},
        "card0-1": {Reason.UNDEFINED},
        "card1-0": set(),
        "card1-1": set(),
    }
    assert set(health(told(roster, card(), card(1))).values()) == {"Healthy"}


def test_a_part_of_a_listing_is_told_like_the_whole() -> None:
    listing = told(Roster(), card(shares=3, numa=(1,)), card(1, bad=True, numa=(0,))).listings[I915]
    part = listing.only({"card0-0", "card0-2", "card1-0", "card7-0"})
    whole = {each.id: each for each in ListAndWatchResponse.parse(listing.message).devices}
    assert ListAndWatchResponse.parse(part.message).devices == [whole["card0-0"], whole["card0-2"], whole["card1-0"]]
    assert part.ids == {"card0-0", "card0-2", "card1-0"}


def test_nothing_new_is_the_same_listing() -> None:
    device = card()
    first = told(Roster(), device)

    assert told(first, device).listings[I915] is first.listings[I915]


def test_a_vanished_device_is_unhealthy_at_once_and_dropped_after_it_lingered() -> None:
    roster = told(told(Roster(), card()), now=100.0)
    assert health(roster) == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}
    assert reasons(roster) == {"card0-0": {Reason.GONE}, "card0-1": {Reason.GONE}}
    assert roster.unsettled

    roster = told(roster, now=100.0 + LINGER - 1)
    assert len(health(roster)) == 2

    roster = told(roster, now=100.0 + LINGER)
    assert health(roster) == {}
    assert not roster.unsettled


def test_a_vanished_device_stays_while_a_pod_holds_it() -> None:
    roster = told(told(Roster(), card()), now=0.0)

    roster = told(roster, holdings=held((I915, "card0-1")), now=1000.0)

    assert health(roster) == {"card0-1": "Unhealthy"}
    assert health(told(roster, now=1001.0)) == {}


def test_a_vanished_device_stays_while_an_allocation_runs() -> None:
    roster = told(told(Roster(), card()), now=0.0)

    answered = NOBODY.plus([(I915, "card0-1")])  # kubelet does not tell of it yet
    assert health(told(roster, holdings=answered, now=1000.0)) == {"card0-1": "Unhealthy"}


def test_a_device_that_was_handed_out_stays_while_kubelet_cannot_be_asked() -> None:
    roster = told(told(Roster(), card()), now=0.0)

    assert health(told(roster, holdings=Holdings().guess([(I915, "card0-0")]), now=1000.0)) == {"card0-0": "Unhealthy"}


def test_a_device_that_comes_back_is_healthy_at_once() -> None:
    gone = told(told(Roster(), card()), now=0.0)

    assert health(told(gone, card(), now=1.0)) == {"card0-0": "Healthy", "card0-1": "Healthy"}


def test_fewer_shares_depart_in_two_steps() -> None:
    roster = told(told(Roster(), card(shares=3)), card(shares=2), now=0.0)
    assert health(roster) == {"card0-0": "Healthy", "card0-1": "Healthy", "card0-2": "Unhealthy"}

    assert health(told(roster, card(shares=2), now=LINGER)) == {"card0-0": "Healthy", "card0-1": "Healthy"}


def test_a_resource_without_devices_stays_with_an_empty_list() -> None:
    roster = told(told(told(Roster(), card()), now=0.0), now=LINGER)

    assert health(roster) == {}
    assert I915 in roster.listings


def test_a_device_under_a_new_name_waits_for_the_pod_that_has_it_under_the_old_one() -> None:
    roster = told(told(Roster(), card()), card(resource=XE), holdings=held((I915, "card0-1")), now=1.0)
    assert health(roster) == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}
    assert health(roster, XE) == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}
    assert reasons(roster, XE)["card0-0"] == {Reason.HELD}

    roster = told(roster, card(resource=XE), now=2.0)
    assert health(roster, XE) == {"card0-0": "Healthy", "card0-1": "Healthy"}


def test_a_card_that_becomes_exclusive_waits_for_all_pods_that_share_it() -> None:
    shared = told(Roster(), card(shares=2))
    both = held((I915, "card0-0"), (I915, "card0-1"))

    roster = told(shared, card(shares=1), holdings=both, now=1.0)
    assert health(roster) == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}

    roster = told(roster, card(shares=1), holdings=held((I915, "card0-1")), now=2.0)
    assert health(roster) == {"card0-0": "Unhealthy", "card0-1": "Unhealthy"}
    assert reasons(roster)["card0-0"] == {Reason.HELD}

    assert health(told(roster, card(shares=1), now=1.0 + LINGER)) == {"card0-0": "Healthy"}


def test_a_card_that_becomes_shared_waits_for_the_pod_that_has_it_alone() -> None:
    alone = told(Roster(), card(shares=1))

    roster = told(alone, card(shares=3), holdings=held((I915, "card0-0")), now=1.0)
    assert health(roster) == {"card0-0": "Healthy", "card0-1": "Unhealthy", "card0-2": "Unhealthy"}

    another = Holdings({(I915, "card0-0"): "default/another/main"}, known=True)
    assert set(health(told(roster, card(shares=3), holdings=another, now=2.0)).values()) == {"Healthy"}


def test_more_shares_of_a_shared_device_are_there_at_once() -> None:
    roster = told(told(Roster(), card(shares=2)), card(shares=4), holdings=held((I915, "card0-0")), now=1.0)

    assert set(health(roster).values()) == {"Healthy"}


def test_a_change_of_terms_is_not_trusted_while_kubelet_cannot_be_asked() -> None:
    granted = Holdings().guess([(I915, "card0-0")])

    roster = told(told(Roster(), card(shares=1)), card(shares=2), holdings=granted, now=1.0)

    assert health(roster) == {"card0-0": "Healthy", "card0-1": "Unhealthy"}
    assert health(told(roster, card(shares=2), now=2.0)) == {"card0-0": "Healthy", "card0-1": "Healthy"}


def test_a_share_from_before_this_process_keeps_an_exclusive_card_back() -> None:
    roster = told(Roster(), card(shares=1), card(1, shares=1), holdings=held((I915, "card0-3")))

    assert health(roster) == {"card0-0": "Unhealthy", "card1-0": "Healthy"}


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        pytest.param([card(numa=(0,)), card(1, numa=(1,))], [[0], [0], [1], [1]], id="all known"),
        pytest.param([card(numa=(0,)), card(1)], [NO_HINT] * 4, id="one unknown: none is told"),
        pytest.param(
            [card(numa=(0,)), card(1, bad=True)], [[0], [0], NO_HINT, NO_HINT], id="a broken one does not decide"
        ),
        pytest.param([card(numa=(0,), bad=True)], [[0], [0]], id="all broken keep their node"),
    ],
)
def test_numa_hints_are_told_for_all_or_none(devices: list[Device], expected: list[list[int]]) -> None:
    assert list(numa(told(Roster(), *devices)).values()) == expected


def test_lines_that_did_not_change_are_the_same_objects() -> None:
    one, other = card(), card(1)
    first = told(Roster(), one, other)

    second = told(first, one, replace(other, faults=card(bad=True).faults))

    assert second.listings[I915].lines[0] is first.listings[I915].lines[0]
    assert second.listings[I915].lines[1] is not first.listings[I915].lines[1]


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


def test_the_largest_message_is_never_larger_than_was_reckoned() -> None:
    listing = told(Roster(), card(shares=50), card(1, shares=7)).listings[I915]
    sick = told(Roster(), card(shares=50, bad=True, numa=(1,)), card(1, shares=7, bad=True, numa=(300,)))
    assert len(sick.listings[I915].message) <= listing.largest
