"""An hour of storm by a clock that need not wait: the record does not grow, and in the end it knows what is so."""

import os
import random
from pathlib import Path

import pytest

from intel_agent.health.condition import LONGEST_HOLD, MEMORY, Life
from intel_agent.model import Device, Event, Reason

from .course import Course, device, event, fault

SECONDS = 3600 if os.environ.get("SOAK_HOUR") else 60
"""Simulated seconds of the storm; `tox -e soak` makes it an hour."""
RATE = 200
"""Messages in a second."""
LOOKS = 5
"""Seconds between two looks."""
GROWTH = 2 << 20
"""Bytes that this process may have more after the storm than after its first tenth."""

CARDS = [f"/sys/devices/pci0000:3a/0000:3a:0{number}.0/0000:{number}b:00.0" for number in range(8)]

pytestmark = pytest.mark.timeout(20 * 60)


class Agent(Course):
    """An agent that looks for everything that it was told of: what is not on the node is not remembered."""

    def settle(self) -> "Agent":
        lives = {key.path: self.lives.get(key.path) for key in self.record.telling}
        self.record = self.record.living(lives, self.now, self.bodies).elapsed(self.now, self.recovery)
        return self


class Node:
    """Cards, what is so of them, and an agent that hears of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.course = Agent(lives={path: Life(1, 2) for path in CARDS})
        self.wedged: set[str] = set()
        self.halted: set[str] = set()
        self.numbers = 3
        self.look()

    def message(self) -> Event:
        """Return a random message; what it says is so from now on."""
        number = self.random.randrange(len(CARDS))
        path = CARDS[number]
        match self.random.randrange(6):
            case 0:
                self.wedged.add(path)
                return event("change", f"{path}/drm/card{number}", "drm", WEDGED="rebind")
            case 1:
                self.wedged.discard(path)
                self.numbers += 1
                self.course.lives[path] = Life(1, self.numbers)
                return event("bind", path)
            case 2:
                return event("change", f"{path}/drm/card{number}", "drm", WEDGED="none")
            case 3:
                return event("change", path, ERROR_EVENT=self.random.choice(["BEGIN_RECOVERY", "SUCCESSFUL_RECOVERY"]))
            case 4:
                return event("add", f"/sys/devices/x{self.random.randrange(10**6)}")
            case _:
                return event("change", f"/sys/devices/x{self.random.randrange(10**6)}", ERROR_EVENT="FAILED_RECOVERY")

    def visible(self) -> list[Device]:
        return [
            device(path, *([fault(Reason.HALTED)] if path in self.halted else []), name=f"card{number}")
            for number, path in enumerate(CARDS)
        ]

    def look(self) -> None:
        self.halted = {path for path in CARDS if self.random.random() < 0.2}
        self.course.look(*self.visible())

    def second(self) -> None:
        for _ in range(RATE):
            self.course.hear(self.message())
        self.course.wait(1)

    def calm(self) -> None:
        """Let everything come to its end."""
        for path in CARDS:
            self.course.hear(event("change", path, ERROR_EVENT="SUCCESSFUL_RECOVERY"))
        self.course.look(*self.visible()).wait(LONGEST_HOLD)


def resident() -> int:
    """Return the memory of this process that is no file's, in bytes. Source: smaps_rollup in proc(5)."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines())
    return sum(1024 * int(words[1]) for words in lines if words[0] in {"Anonymous:", "Swap:"})


def test_an_hour_of_storm_leaves_what_is_so_and_nothing_else() -> None:
    node = Node(seed=1)
    first, most = 0, 0
    for second in range(SECONDS):
        node.second()
        if second % LOOKS == 0:
            node.look()
        if second == SECONDS // 10:
            first = resident()
        most = max(most, len(node.course.record.conditions))
    grown = resident() - first
    node.calm()

    assert grown <= GROWTH
    assert most <= len(CARDS) * len(Reason)
    assert node.course.faults == {
        f"card{number}": {
            *([Reason.WEDGED] if path in node.wedged else []),
            *([Reason.HALTED] if path in node.halted else []),
        }
        for number, path in enumerate(CARDS)
    }
    assert len(node.course.wait(MEMORY).record.conditions) == sum(len(each) for each in node.course.faults.values())
