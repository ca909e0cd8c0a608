"""A storm around an agent that is a process of its own: messages of the kernel, devices, kubelet and configuration.

What a storm does is random, of a seed. It ends in a state that is known: the cards in `Storm.wedged` are Unhealthy.
"""

import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from intel_agent.simulation.kubelet import SimulatedKubelet

from .node import Node

RATE = 200
"""Messages of the kernel in a second."""
BATCH = 0.05
"""Seconds between two handfuls of messages."""

WEDGED, BOUND = "send change {drm} drm WEDGED=rebind,bus-reset", "send bind {path} pci DRIVER=xe"
"""The card is broken, and is not any more."""
RECOVERED = "send change {path} pci ERROR_EVENT=SUCCESSFUL_RECOVERY"
MESSAGES = (
    WEDGED,
    BOUND,
    RECOVERED,
    "send change {path} pci ERROR_EVENT=BEGIN_RECOVERY",
    "send change {drm} drm WEDGED=none",
    "send change {drm} drm HOTPLUG=1",
    "send remove {path} pci SYNTH_UUID=0",
    "send add {other} drm",
    "send change {other} pci ERROR_EVENT=FAILED_RECOVERY",
    "send {garbage} {other} {garbage}",
)
"""What is said, all of it equally often."""

Say = Callable[[list[str]], Awaitable[None]]
"""Has the kernel say messages: each the words of a command of uevents.py."""


class Footprint(NamedTuple):
    """What a process has: resident memory in bytes, threads, sockets, other open files."""

    memory: int
    threads: int
    sockets: int
    files: int

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MB, {self.threads} threads, {self.sockets} sockets, {self.files} other files"


def footprint(pid: int) -> Footprint:
    """Return what a process has now. Source: proc(5)."""
    process = Path("/proc", str(pid))
    targets: list[str] = []
    for each in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            targets.append(os.readlink(each))
    sockets = sum(each.startswith("socket:") for each in targets)
    pages = int((process / "statm").read_text().split()[1])
    threads = len(list((process / "task").iterdir()))
    return Footprint(pages * os.sysconf("SC_PAGE_SIZE"), threads, sockets, len(targets) - sockets)


@dataclass
class Storm:
    """Events at `RATE`, and what else happens to a node. `cards` are paths in /sys, in the order of their numbers."""

    node: Node
    kubelet: SimulatedKubelet
    cards: list[str]
    say: Say
    seed: int = 0
    wedged: set[str] = field(default_factory=set[str])
    """Cards that are broken, by what the kernel said last."""
    said: int = 0
    restarts: int = 0
    reloads: int = 0
    plugs: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._order = anyio.Lock()
        """Whoever has it says something: what is so of a card follows the order in which it is said."""

    async def rage(self, seconds: float) -> None:
        """Do this for so long; then everything is plugged in, and kubelet runs."""
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(self._messages)
                group.start_soon(self._every, min(5.0, seconds / 4), self._reload)
                group.start_soon(self._every, 3.0, self._replug)
                group.start_soon(self._every, min(13.0, seconds / 3), self._restart)

    async def _every(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await anyio.sleep(seconds * self._random.uniform(0.5, 1.5))
            with anyio.CancelScope(shield=True):  # what has begun is done, so that the end is a known state
                await do()

    async def _messages(self) -> None:
        began = anyio.current_time()
        count = round(RATE * BATCH)
        while True:
            with anyio.CancelScope(shield=True):
                async with self._order:
                    await self.say([self._message() for _ in range(count)])
            self.said += count
            await anyio.sleep(max(began + self.said / RATE - anyio.current_time(), 0))

    def _message(self) -> str:
        """Return a random message; what it says of a card is so from now on."""
        card, message = self._random.choice(self.cards), self._random.choice(MESSAGES)
        if message == WEDGED:
            self.wedged.add(card)
        if message == BOUND:
            self.wedged.discard(card)
        return self._about(card, message)

    def _about(self, card: str, message: str) -> str:
        path = card.removeprefix("/sys")
        drm = f"{path}/drm/card{self.cards.index(card)}"
        other, garbage = f"/devices/x{self._random.randrange(10**6)}", self._random.randbytes(8).hex()
        return message.format(path=path, drm=drm, other=other, garbage=garbage)

    async def calm(self, *, again: bool) -> None:
        """Have the kernel say the end of what it began, and `again` what is so of every card, if it may be lost."""
        await self.say([self._about(each, RECOVERED) for each in self.cards])
        if again:
            await self.say([self._about(each, WEDGED if each in self.wedged else BOUND) for each in self.cards])

    async def _restart(self) -> None:
        self.restarts += 1
        await self.kubelet.restart()

    async def _reload(self) -> None:
        self.reloads += 1
        level = self._random.choice(["info", "warning"])
        await to_thread.run_sync(
            lambda: self.node.configure(log={"level": level}, health={"lingerSeconds": self._random.randrange(3)})
        )

    async def _replug(self) -> None:
        """Pull a card and put it back: another one, to the kernel, so nothing is known of it."""
        self.plugs += 1
        card = self._random.choice(self.cards)
        path = card.removeprefix("/sys")
        part = await self.node.unplug(card)
        async with self._order:
            await self.say([f"send remove {path} pci"])
        await anyio.sleep(0.2)
        await self.node.plug(part)
        async with self._order:
            await self.say([f"send add {path} pci"])
            self.wedged.discard(card)


def cards_of(node: Node) -> list[str]:
    """Return the cards of a machine, in the order of their numbers."""
    links = (node.root / "sys/class/drm").glob("card*")
    names = sorted(links, key=lambda each: int(each.name.removeprefix("card")))
    return [f"/{each.resolve().parents[1].relative_to(node.root.resolve())}" for each in names]
