"""Which of the free ids a container should rather get: kubelet's GetPreferredAllocation. Pure, and fast.

Ids of one device share everything before their last hyphen (`card0-0`, `card0-1`).
"""

from collections.abc import Sequence
from typing import Literal

from intel_agent.sysfs import natural

PolicyName = Literal["none", "balanced", "packed"]



def preferred(policy: PolicyName, available: Sequence[str], must_include: Sequence[str], size: int) -> list[str]:
    """Return `size` ids of `available`, all of `must_include` among them: those that the policy prefers.

    An empty answer is legal and means: no opinion. It is given when the request makes no sense.
    The same request always gets the same answer.
    """
    taken = list(dict.fromkeys(must_include))
    free = [each for each in dict.fromkeys(available) if each not in set(taken)]
    wanted = size - len(taken)
    if size <= 0 or wanted < 0 or wanted > len(free) or not set(taken) <= set(available):
        return []
    match policy:
        case "none":
            return taken + _distinct_first(taken, free)[:wanted]
        case "balanced":
            return taken + _balanced(free, wanted)
        case "packed":
            return taken + _packed(taken, free)[:wanted]


def device_of(share: str) -> str:
    """Return the id of the device that an advertised id is a share of."""
    return share.rpartition("-")[0] or share


def _distinct_first(taken: Sequence[str], free: Sequence[str]) -> list[str]:
    """One id of each device that is not used yet, then the others; both in the given order."""
    seen = {device_of(each) for each in taken}
    first: list[str] = []
    others: list[str] = []
    for each in free:
        device = device_of(each)
        (others if device in seen else first).append(each)
        seen.add(device)
    return first + others


def _balanced(free: Sequence[str], wanted: int) -> list[str]:
    """Take, again and again, from the device that has most ids left."""
    left: dict[str, list[str]] = {}
    for each in sorted(free, key=natural, reverse=True):
        left.setdefault(device_of(each), []).append(each)
    picked: list[str] = []
    while len(picked) < wanted:
        fullest = min(left, key=lambda device: (-len(left[device]), natural(device)))
        picked.append(left[fullest].pop())
    return picked


def _packed(taken: Sequence[str], free: Sequence[str]) -> list[str]:
    """Fill the devices that are used already, then one device after the other."""
    used = {device_of(each) for each in taken}
    return sorted(free, key=lambda each: (device_of(each) not in used, natural(each)))
