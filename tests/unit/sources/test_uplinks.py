"""What the node lives on: whatever tree of interfaces there is, everything that carries its traffic is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.sources.uplinks import Tie, above, below

INDICES = st.integers(1, 12)
TIES = st.builds(
    Tie,
    master=st.none() | INDICES,
    lower=st.frozensets(INDICES, max_size=2),
    peer=st.none() | INDICES,
)
"""Any ties, also such as no kernel has: loops, and ties to what is not there."""
NAMESPACES = st.dictionaries(INDICES, TIES, max_size=12)


@st.composite
def stacks(draw: st.DrawFn) -> dict[int, Tie]:
    """Return interfaces as administrators stack them: each is a port of a later one, or sends over earlier ones."""
    size = draw(st.integers(1, 12))
    ties: dict[int, Tie] = {}
    for index in range(1, size + 1):
        master = draw(st.none() | st.integers(index + 1, size + 1))
        lower = draw(st.frozensets(st.integers(1, index - 1), max_size=2)) if index > 1 else frozenset[int]()
        ties[index] = Tie(master if master is not None and master <= size else None, lower)
    return ties


def directly_below(ties: dict[int, Tie], index: int) -> set[int]:
    return {each for each, tie in ties.items() if tie.master == index} | ties[index].lower


def carried_by(ties: dict[int, Tie], index: int, tops: set[int]) -> bool:
    """Return whether anything above an interface is one of the tops: the same rule, from the other end."""
    over = above(ties)
    ahead, seen = [index], set[int]()
    while ahead:
        here = ahead.pop()
        if here in tops:
            return True
        if here not in seen:
            seen.add(here)
            ahead += over[here]
    return False


@given(NAMESPACES, st.sets(INDICES))
def test_tops_themselves_are_found_and_nothing_that_is_not_there(ties: dict[int, Tie], tops: set[int]) -> None:
    found = below(ties, tops)

    assert tops & ties.keys() <= found <= ties.keys()


@given(NAMESPACES, st.sets(INDICES))
def test_what_carries_an_uplink_is_one(ties: dict[int, Tie], tops: set[int]) -> None:
    found = below(ties, tops)

    for index in found:
        assert directly_below(ties, index) & ties.keys() <= found
    assert below(ties, found) == found


@given(NAMESPACES, st.sets(INDICES), st.sets(INDICES))
def test_more_tops_are_more_uplinks(ties: dict[int, Tie], some: set[int], others: set[int]) -> None:
    assert below(ties, some) | below(ties, others) == below(ties, some | others)


@given(stacks(), st.sets(INDICES))
def test_without_cables_an_uplink_is_what_has_a_top_above_it(ties: dict[int, Tie], tops: set[int]) -> None:
    assert below(ties, tops) == {index for index in ties if carried_by(ties, index, tops)}


@given(NAMESPACES)
def test_above_is_below_from_the_other_side(ties: dict[int, Tie]) -> None:
    over = above(ties)

    assert over.keys() == ties.keys()
    for index in ties:
        for each in ties:
            assert (each in over[index]) == (index in directly_below(ties, each))


PF, OTHER, BOND, VLAN, BRIDGE, HERE, THERE = range(1, 8)


@pytest.mark.parametrize(
    ("ties", "top", "uplinks"),
    [
        pytest.param({PF: Tie(), OTHER: Tie()}, PF, {PF}, id="a function itself"),
        pytest.param(
            {PF: Tie(BOND), OTHER: Tie(BOND), BOND: Tie(), VLAN: Tie(lower=frozenset({BOND}))},
            VLAN,
            {PF, OTHER, BOND, VLAN},
            id="a VLAN over a bond of two",
        ),
        pytest.param(
            {PF: Tie(), VLAN: Tie(BRIDGE, frozenset({PF})), OTHER: Tie(), BRIDGE: Tie()},
            BRIDGE,
            {PF, VLAN, BRIDGE},
            id="a bridge with a VLAN as its port",
        ),
        pytest.param(
            {PF: Tie(BRIDGE), BRIDGE: Tie(), HERE: Tie(peer=THERE), THERE: Tie(BRIDGE, peer=HERE), OTHER: Tie()},
            HERE,
            {PF, BRIDGE, HERE, THERE},
            id="a cable whose other end is a port of a bridge",
        ),
        pytest.param(
            {PF: Tie(), HERE: Tie(peer=THERE), THERE: Tie(peer=HERE)}, HERE, {HERE, THERE}, id="a cable to nowhere"
        ),
        pytest.param({PF: Tie(), HERE: Tie(peer=THERE)}, HERE, {HERE}, id="a cable to another namespace"),
        pytest.param({PF: Tie(), VLAN: Tie(lower=frozenset({PF}))}, PF, {PF}, id="what sends over an uplink is none"),
        pytest.param({PF: Tie(BOND), BOND: Tie()}, PF, {PF}, id="what an uplink is a port of is none"),
    ],
)
def test_uplinks(ties: dict[int, Tie], top: int, uplinks: set[int]) -> None:
    assert below(ties, {top}) == uplinks
