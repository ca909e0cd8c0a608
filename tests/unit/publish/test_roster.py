"""What kubelet is told follows rules that kubelet's own faults made necessary."""

from dataclasses import replace

import pytest
from unit.publish.told import I915, LINGER, NO_HINT, NOBODY, XE, card, health, held, numa, reasons, told

from intel_agent._proto.v1beta1 import ListAndWatchResponse
from intel_agent.inventory import Found, Inventory
from intel_agent.model import Device, Exclusion, Fault, Health, Reason
from intel_agent.publish.holdings import Holdings
from intel_agent.publish.roster import Roster, projected


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


@pytest.mark.parametrize(
    ("exclusions", "fault"),
    [
        pytest.param(
            (),
            Fault(Reason.GONE, "inventory", "card0 is not there any more, or not under this id"),
            id="nobody knows why",
        ),
        pytest.param(
            (Exclusion(card().sysfs_path, "not-enabled", "it is 'disabled'", "enable it", Reason.DISABLED),),
            Fault(Reason.DISABLED, "inventory", "not offered any more: it is 'disabled': enable it"),
            id="switched off",
        ),
        pytest.param(
            (Exclusion(card().sysfs_path, "no-node", "its node is not there", "look for it"),),
            Fault(Reason.GONE, "inventory", "not offered any more: its node is not there: look for it"),
            id="another reason",
        ),
    ],
)
def test_a_vanished_device_says_what_is_known_of_it(exclusions: tuple[Exclusion, ...], fault: Fault) -> None:
    inventory = Inventory({"gpu": Found((), exclusions)})

    roster = projected(told(Roster(), card()), inventory, NOBODY, now=1.0, linger=LINGER)

    assert {each for line in roster.listings[I915].lines for each in line.faults} == {fault}


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


def test_the_largest_message_is_never_larger_than_was_reckoned() -> None:
    listing = told(Roster(), card(shares=50), card(1, shares=7)).listings[I915]
    sick = told(Roster(), card(shares=50, bad=True, numa=(1,)), card(1, shares=7, bad=True, numa=(300,)))
    assert len(sick.listings[I915].message) <= listing.largest
