"""Which of the free ids a container should rather get: kubelet's GetPreferredAllocation. Pure, and fast.

Ids of one device share everything before their last hyphen (`card0-0`, `card0-1`).
"""

import heapq
from collections.abc import Sequence
from typing import Literal, assert_never

from intel_agent.sysfs import natural

PolicyName = Literal["none", "balanced", "packed"]


def preferred(policy: PolicyName, available: Sequence[str], must_include: Sequence[str], size: int) -> list[str]:
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
    match policy:
        case "none":
            return taken + _distinct_first(taken, free)[:wanted]
        case "balanced":
            return taken + _balanced(free, wanted)
        case "packed":
            return taken + _packed(taken, free)[:wanted]
        case _:
            assert_never(policy)


def device_of(share: str) -> str:
    """Return the id of the device that an advertised id is a share of."""
    return share.rpartition("-")[0] or share


def _distinct_first(taken: Sequence[str], free: Sequence[str]) -> list[str]:
    """Return one id of each device that is not used yet, then the others; both in the given order."""
    seen = {device_of(each) for each in taken}
    first: list[str] = []
    others: list[str] = []
    for each in free:
        device = device_of(each)
        (others if device in seen else first).append(each)
        seen.add(device)
    return first + others


def _balanced(free: Sequence[str], wanted: int) -> list[str]:
    """Return ids taken, one by one, from the device that has most left."""
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


def _packed(taken: Sequence[str], free: Sequence[str]) -> list[str]:
    """Return ids of the devices that are used already, then those of one device after the other."""
    used = {device_of(each) for each in taken}
    return sorted(free, key=lambda each: (device_of(each) not in used, natural(each)))
