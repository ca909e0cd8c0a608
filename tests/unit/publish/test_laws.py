"""Laws of what kubelet is told, over histories of inventories."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intel_agent._proto.v1beta1 import ListAndWatchResponse
from intel_agent.errors import AllocationError
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Fault, Reason
from intel_agent.publish.deviceplugin import granted
from intel_agent.publish.holdings import Holdings
from intel_agent.publish.roster import Listing, Roster, projected

RESOURCES = ("gpu.intel.com/i915", "gpu.intel.com/xe")
FAULT = Fault(Reason.UNREADABLE, "sysfs", "does not answer")


@st.composite
def devices(draw: st.DrawFn) -> Device:
    number = draw(st.integers(0, 4))
    return Device(
        id=f"card{number}",
        resource=draw(st.sampled_from(RESOURCES)),
        sysfs_path=f"/sys/devices/{number}",
        edits=NO_EDITS,
        cdi_name=f"card{number}",
        shares=draw(st.sampled_from([None, 1, 2, 12])),
        numa_nodes=draw(st.sampled_from([(), (0,), (1,), (0, 1)])),
        faults=draw(st.sampled_from([frozenset[Fault](), frozenset({FAULT})])),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Roster]:
    """Return what kubelet was told, one inventory after the other; somebody may hold anything at any time."""
    roster, told = Roster(), list[Roster]()
    for now in range(draw(st.integers(1, 4))):
        found = Found.of(draw(st.lists(devices(), max_size=5)))
        keys = [
            (name, each) for name, listing in roster.listings.items() for line in listing.lines for each in line.ids
        ]
        held = draw(st.lists(st.sampled_from(keys), max_size=3)) if keys else []
        holdings = Holdings(dict.fromkeys(held, "default/pod/c"), known=draw(st.booleans()))
        roster = projected(
            roster,
            Inventory.of({"gpu": found}),
            holdings,
            now=float(now),
            linger=draw(st.sampled_from([0, 2])),
        )
        told.append(roster)
    return told


def listings(told: list[Roster]) -> list[Listing]:
    return [listing for roster in told for listing in roster.listings.values()]


@given(histories())
def test_row_22_ids_are_unique_and_of_a_length_that_kubelet_takes(told: list[Roster]) -> None:
    for listing in listings(told):
        ids = [each.id for each in ListAndWatchResponse.parse(listing.message).devices]
        assert len(ids) == len(set(ids))
        assert all(0 < len(each) <= 63 for each in ids)


@given(st.lists(devices(), max_size=5))
def test_row_22_ids_do_not_depend_on_what_was_before(found: list[Device]) -> None:
    inventory = Inventory.of({"gpu": Found.of(found)})
    fresh = projected(Roster(), inventory, Holdings(known=True), now=0.0, linger=0.0)
    again = projected(fresh, inventory, Holdings(known=True), now=9.0, linger=0.0)
    assert {name: each.message for name, each in again.listings.items()} == {
        name: each.message for name, each in fresh.listings.items()
    }


@given(histories())
def test_row_25_healthy_devices_of_a_resource_have_hints_or_none_has(told: list[Roster]) -> None:
    for listing in listings(told):
        sent = ListAndWatchResponse.parse(listing.message).devices
        assert len({each.topology is not None for each in sent if each.health == "Healthy"}) <= 1
        assert all(node.id >= 0 for each in sent if each.topology for node in each.topology.nodes)


@given(histories())
def test_row_71_allocate_accepts_exactly_what_is_healthy(told: list[Roster]) -> None:
    for listing in listings(told):
        for device in ListAndWatchResponse.parse(listing.message).devices:
            try:
                accepted = len(granted(listing, [device.id])) == 1
            except AllocationError:
                accepted = False
            assert accepted == (device.health == "Healthy")


@given(histories())
def test_a_resource_never_loses_its_name(told: list[Roster]) -> None:
    for before, after in pairwise(told):
        assert before.listings.keys() <= after.listings.keys()


@given(histories())
def test_no_id_is_dropped_before_it_was_unhealthy(told: list[Roster]) -> None:
    for before, after in pairwise(told):
        for name, listing in before.listings.items():
            healthy = {
                each.id for each in ListAndWatchResponse.parse(listing.message).devices if each.health == "Healthy"
            }
            there = {each.id for each in ListAndWatchResponse.parse(after.listings[name].message).devices}
            assert healthy <= there
