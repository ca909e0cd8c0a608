"""What the node itself lives on: interfaces that carry its traffic, down to the hardware. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tie:
    """What an interface is tied to, by index: interfaces of the same network namespace only.

    `master` is what it is a port of: a bond, a bridge, a team, a VRF, the datapath of Open vSwitch.
    `lower` are those that it sends over: that of a VLAN or a MAC VLAN, the two of a redundant ring.
    `peer` is the other end of a cable (veth): what is sent here arrives there.
    """

    master: int | None = None
    lower: frozenset[int] = frozenset()
    peer: int | None = None


def below(ties: Mapping[int, Tie], tops: Iterable[int]) -> frozenset[int]:
    """Return `tops` and everything that what is sent over them may leave by."""
    ports: dict[int, list[int]] = {}
    for index, tie in ties.items():
        if tie.master is not None:
            ports.setdefault(tie.master, []).append(index)
    reached: set[int] = set()
    ahead = [index for index in tops if index in ties]
    while ahead:
        if (index := ahead.pop()) not in reached:
            reached.add(index)
            ahead += (each for each in _next(ties, ports, index) if each in ties)
    return frozenset(reached)


def _next(ties: Mapping[int, Tie], ports: Mapping[int, list[int]], index: int) -> Iterator[int]:
    """Yield where what is sent over the interface goes on."""
    tie = ties[index]
    yield from ports.get(index, ())
    yield from tie.lower
    if tie.peer is not None and tie.peer in ties:
        # It arrives at the other end: there it goes nowhere, or into what that is a port of.
        yield tie.peer
        if (master := ties[tie.peer].master) is not None:
            yield master


def above(ties: Mapping[int, Tie]) -> dict[int, frozenset[int]]:
    """Return for each interface what it is a port of, or what sends over it."""
    found: dict[int, set[int]] = {index: set() for index in ties}
    for index, tie in ties.items():
        if tie.master in found:
            found[index].add(tie.master)
        for lower in tie.lower:
            if lower in found:
                found[lower].add(index)
    return {index: frozenset(over) for index, over in found.items()}
