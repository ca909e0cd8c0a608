"""What was written into the node and is not wanted any more: it is taken back, however long that takes."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from intel_agent.backoff import BackOff
from intel_agent.cluster.membership import Membership
from intel_agent.errors import ClusterError
from intel_agent.reactions import observer

log = structlog.get_logger()

WITHDRAWAL = 20.0
"""Seconds after which it is said that something could not be taken back."""


class Leftovers:
    """Knows what was written in this process, by name, and has what nobody wants any more taken back."""

    def __init__(self, what: str, membership: Membership, take_back: Callable[[str], Awaitable[object]]) -> None:
        """Take back each `what` (`taint`) by its name."""
        self._what = what
        self._purpose = f"withdrawal of a {what}"
        self._membership = membership
        self._take_back = take_back
        self._written: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._said: set[str] = set()
        """Of what it was said that it cannot be taken back."""
        self._taking = anyio.Lock()
        self._changed = anyio.Event()

    async def want(self, *names: str) -> None:
        """Have these written from now on, and all others taken back. What is on its way has been done then."""
        self._wanted = frozenset(names)
        async with self._taking:
            self._written.update(names)
        self._changed.set()

    async def run(self) -> None:
        """Take back what has to be, for ever."""
        pauses = BackOff(0.5, observer.SLOWEST)
        since: dict[str, float] = {}
        while True:
            self._changed = anyio.Event()
            left = sorted(self._written - self._wanted)
            since = {name: since.get(name, anyio.current_time()) for name in left}
            problems = {name: error for name in left if (error := await self._problem(name)) is not None}
            for name, error in problems.items():
                if name not in self._said and anyio.current_time() - since[name] >= WITHDRAWAL:
                    log.warning("withdrawal.failed", what=f"{self._what} {name}", problem=str(error))
                    self._said.add(name)
            self._said.intersection_update(problems)
            if problems:
                self._membership.met(self._purpose, next(iter(problems.values())))
                await anyio.sleep(pauses.pause())
                continue
            pauses.reset()
            self._membership.got_over(self._purpose)
            await self._changed.wait()

    async def _problem(self, name: str) -> ClusterError | None:
        """Take it back, unless it is wanted again meanwhile; return what keeps us from that."""
        async with self._taking:
            if name in self._wanted:
                return None
            try:
                await self._take_back(name)
            except ClusterError as error:
                return error
            self._written.discard(name)
            return None
