"""Which of the free ids a container should rather get: kubelet's GetPreferredAllocation. Pure, and fast.

Ids of one shared device have everything before their last hyphen in common (`card0-0`, `card0-1`).
A PCI function that nobody shares has one id, its address.
"""

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from intel_agent.sysfs import natural

PolicyName = Literal["none", "balanced", "packed"]

Policy: TypeAlias = Callable[[Sequence[str], Sequence[str], int], list[str]]
"""Returns the ids to add to what is taken: of those that are free, as many as are wanted. There are enough."""


def preferred(policy: Policy, available: Sequence[str], must_include: Sequence[str], size: int) -> list[str]:
    """Return `size` ids of `available`, all of `must_include` among them: those that the policy prefers.

    An empty answer is legal and means: no opinion. It is given when the request makes no sense.
    The same request always gets the same answer.
    """
    taken = list(dict.fromkeys(must_include))
    chosen = frozenset(taken)
    free = [each for each in dict.fromkeys(available) if each not in chosen]
    wanted = size - len(taken)
    if size <= 0 or wanted < 0 or wanted > len(free) or not chosen <= set(available):
        return []
    return taken + policy(taken, free, wanted)


def preferring(
    policy: Policy, available: Sequence[str], must_include: Sequence[str], size: int, last: Collection[str]
) -> list[str]:
    """Return what `preferred` does, but an id of `last` only when there are too few others."""
    taken = frozenset(must_include)
    others = [each for each in available if each not in last or each in taken]
    if len(set(others)) >= size:
        return preferred(policy, others, must_include, size)
    return preferred(policy, available, [*must_include, *others], size)


def device_of(share: str) -> str:
    """Return the id of the device that an advertised id is a share of."""
    return share.rpartition("-")[0] or share


def _distinct_first(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer one id of each device that is not used yet, then the others; both in the given order."""
    seen = {device_of(each) for each in taken}
    first: list[str] = []
    others: list[str] = []
    for each in free:
        device = device_of(each)
        (others if device in seen else first).append(each)
        seen.add(device)
    return (first + others)[:wanted]


def _fullest_first(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer ids taken, one by one, from the device that has most left."""
    del taken
    left: dict[str, list[str]] = {}
    for each in sorted(free, key=natural, reverse=True):
        left.setdefault(device_of(each), []).append(each)
    fullest = [(-len(shares), natural(device), device) for device, shares in left.items()]
    heapq.heapify(fullest)
    picked: list[str] = []
    while len(picked) < wanted:
        count, order, device = fullest[0]
        picked.append(left[device].pop())
        heapq.heapreplace(fullest, (count + 1, order, device))
    return picked


def _used_first(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer ids of the devices that are used already, then those of one device after the other."""
    used = {device_of(each) for each in taken}
    return sorted(free, key=lambda each: (device_of(each) not in used, natural(each)))[:wanted]


def _given(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer what comes first."""
    del taken
    return [*free[:wanted]]


def _by_address(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer low addresses: functions of one device, then those of the next one."""
    del taken
    return sorted(free)[:wanted]


def _by_function(taken: Sequence[str], free: Sequence[str], wanted: int) -> list[str]:
    """Prefer low numbers on the bus, whatever the bus: the first function of each device, then the second ones."""
    del taken
    return sorted(free, key=lambda each: each.split(":")[::-1])[:wanted]


SHARES: Mapping[PolicyName, Policy] = MappingProxyType(
    {"none": _distinct_first, "balanced": _fullest_first, "packed": _used_first}
)
"""Policies for ids of shared devices."""

FUNCTIONS: Mapping[PolicyName, Policy] = MappingProxyType(
    {"none": _given, "balanced": _by_function, "packed": _by_address}
)
"""Policies for the addresses of PCI functions. Both orders are those of texts, as the existing QAT plugin has them."""
