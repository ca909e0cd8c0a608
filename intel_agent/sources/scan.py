"""Looks at the node whenever something hints at change, and now and then without a hint.

Every kind has a loop of its own, so that none waits for another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import time

import anyio
import structlog
from anyio import to_thread

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import AgentError
from intel_agent.inventory import Found, Inventory
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.sources.known import NOTHING, ByPath, KnownFiles, by_path
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

log = structlog.get_logger()

AGAIN = (0.1, 0.5, 2.0)
"""Seconds after a hint when to look again: udev makes its links after the kernel's message."""
GAP = 0.02
"""Least seconds between the starts of two looks at a kind: what comes in between is looked at together."""
LONGEST = 10.0
"""Seconds that a step of the agent's own may take, after a look or before, before something must be wrong with it."""
RETRY = 5.0
"""Seconds between looks at a kind that cannot be looked at as a whole."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at one kind so far. `succeeded` is when the last good one ended, in seconds since 1970, 0 before it."""

    count: int = 0
    failures: int = 0
    seconds: float = 0.0
    succeeded: float = 0.0

    def plus(self, seconds: float, now: float | None) -> "Looks":
        """Return them with one more that took so long; `now` is `None` when it failed."""
        failures, succeeded = (self.failures + 1, self.succeeded) if now is None else (self.failures, now)
        return Looks(self.count + 1, failures, self.seconds + seconds, succeeded)


@dataclass(slots=True, eq=False)
class _Kind:
    """One kind of devices, while its section is enabled."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    seen: Found | None = None
    """What the last look saw; nothing before the first one."""
    found: Found | None = None
    """The same as the rules of the section have it."""
    hinted: anyio.Event = field(default_factory=anyio.Event)
    looked: anyio.Event = field(default_factory=anyio.Event)
    """Set when the next look that begins has ended."""
    again: list[float] = field(default_factory=list[float])
    """When to look again because of the last hint."""
    looks: Looks = Looks()
    failing: float | None = None
    """Since when it cannot be looked at as a whole."""
    known: ByPath | None = None
    """What the last good look found, also one of the agent before this one; of kinds that ask for it."""


class Scanner:
    """The only writer of what was seen, before anything else is known of it."""

    def __init__(
        self,
        config: Latest[Config],
        host: Host,
        inventory: Latest[Inventory],
        liveness: Liveness,
        known: KnownFiles,
        *,
        node_ip: str = "",
    ) -> None:
        """Look at `host`, whose address in the cluster is `node_ip` if that is known."""
        self._config = config
        self._known = known
        self._inventory = inventory
        self._liveness = liveness
        self._kinds: dict[str, _Kind] = {}
        self._looker = Looker(host, lambda: config.value.health.read_deadline_seconds, self.hint, node_ip=node_ip)
        self._turn = anyio.Lock()

    @property
    def backends(self) -> Mapping[str, Backend]:
        return {each.name: each for each in self._config.value.devices.backends}

    @property
    def looks(self) -> Mapping[str, Looks]:
        """How often, how long and with what success each kind was looked at."""
        return {name: kind.looks for name, kind in self._kinds.items()}

    @property
    def found(self) -> Mapping[str, Found]:
        """What the last look at each kind found, with what it measured."""
        return {name: kind.found for name, kind in self._kinds.items() if kind.found is not None}

    def hint(self, backends: Iterable[str] | None = None) -> None:
        """Look soon: at the kinds named, or at all."""
        now = anyio.current_time()
        for name in self._kinds if backends is None else backends:
            if (kind := self._kinds.get(name)) is not None:
                kind.again = [now + pause for pause in AGAIN]
                kind.hinted.set()

    async def run(self) -> None:
        """Keep looking, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
            group.start_soon(self._follow_links)
            while True:
                revision = self._config.revision
                for name in self._kinds.keys() - self.backends.keys():
                    self._kinds.pop(name).scope.cancel()
                for name in self.backends.keys() - self._kinds.keys():
                    self._kinds[name] = _Kind()
                    group.start_soon(self._follow, name, self._kinds[name])
                if self._inventory.value.found.keys() - self.backends.keys():
                    await self._publish()
                await self._config.newer(revision)

    async def _tick(self) -> None:
        """Look at everything now and then, one kind after the other: nobody waits for it, and that is less work."""
        while True:
            revision = self._config.revision
            with anyio.move_on_after(self._config.value.health.rescan_seconds):
                await self._config.newer(revision)
                continue
            for kind in list(self._kinds.values()):
                kind.hinted.set()
                with anyio.move_on_after(self._config.value.health.read_deadline_seconds):
                    await kind.looked.wait()

    async def _follow_links(self) -> None:
        """Look at the kinds that want to know the host's links when these change, while there are such kinds."""
        while True:
            revision = self._config.revision
            kinds = [name for name, each in self.backends.items() if each.link_facts]
            async with anyio.create_task_group() as group:
                if kinds:
                    group.start_soon(self._looker.follow_links, partial(self.hint, kinds))
                await self._config.newer(revision)
                group.cancel_scope.cancel()

    async def _follow(self, name: str, kind: _Kind) -> None:
        """Look at one kind whenever there is a reason to, until its section is disabled."""
        with kind.scope:
            while True:
                started = anyio.current_time()
                kind.hinted = anyio.Event()
                looked, kind.looked = kind.looked, anyio.Event()
                if (backend := self.backends.get(name)) is not None:
                    await self._look(backend, kind)
                looked.set()
                await anyio.sleep_until(started + GAP)
                await self._wait(kind)

    async def _wait(self, kind: _Kind) -> None:
        """Wait for a hint, or for the next look after one, or after a failure."""
        now = anyio.current_time()
        kind.again = [each for each in kind.again if each > now]
        moments = [*kind.again, float("inf")]
        if kind.failing is not None:
            judged = kind.failing + self._config.value.health.grace_seconds
            moments += [now + RETRY, judged if judged > now else float("inf")]
        with anyio.CancelScope(deadline=min(moments)):
            await kind.hinted.wait()

    async def _look(self, backend: Backend, kind: _Kind) -> None:
        """Look at one kind and publish what was found, or why nothing can be said."""
        before = kind.seen or Found()
        started = anyio.current_time()
        try:
            kind.seen = await self._looker.at(backend, before, await self._recalled(backend, kind))
            kind.found = await ruled(backend, kind.seen)
        except Exception as error:  # the border of one backend: it must not take another down
            expected = isinstance(error, (AgentError, TimeoutError))
            problem = str(error) if expected else f"unexpected: {error!r}"
            now = anyio.current_time()
            kind.failing = now if kind.failing is None else kind.failing
            kind.looks = kind.looks.plus(now - started, None)
            lasting = now - kind.failing >= self._config.value.health.grace_seconds
            kind.seen = before.failed(problem, lasting=lasting)
            kind.found = (kind.found or Found()).failed(problem, lasting=lasting)
            if before.problem != problem:
                log.error("scan.failed", backend=backend.name, problem=problem, exc_info=None if expected else error)
        else:
            kind.looks = kind.looks.plus(anyio.current_time() - started, time())
            kind.failing = None
            if before.problem is not None:
                log.info("scan.recovered", backend=backend.name)
            await self._remember(backend, kind, kind.seen)
        await self._publish()

    async def _recalled(self, backend: Backend, kind: _Kind) -> ByPath:
        """Return what is known of the kind from before, if it asks for that."""
        if not backend.remembers:
            return NOTHING
        if kind.known is None:
            with self._liveness.within(LONGEST, f"recalling devices of {backend.name}"):
                kind.known = await to_thread.run_sync(self._known.recalled, backend.name)
        return kind.known

    async def _remember(self, backend: Backend, kind: _Kind, found: Found) -> None:
        """Keep what was found before anybody can get any of it; what is wrong with it is nothing to keep."""
        if backend.remembers:
            facts = tuple(replace(each, faults=frozenset()) if each.faults else each for each in found.devices)
            kind.known = by_path(facts)
            with self._liveness.within(LONGEST, f"remembering devices of {backend.name}"):
                await to_thread.run_sync(self._known.keep, backend.name, facts)

    async def _publish(self) -> None:
        """Make what was found known, if anything changed."""
        async with self._turn:
            kinds = [(name, self._kinds.get(name)) for name in self.backends]
            found = {name: kind.found for name, kind in kinds if kind is not None and kind.found is not None}
            before = self._inventory.value
            with self._liveness.within(LONGEST, "putting together what was found"):
                inventory = await to_thread.run_sync(_news, before, found)
            if inventory is not None:
                self._inventory.set(inventory)


async def ruled(backend: Backend, seen: Found) -> Found:
    """Return what a look saw as the rules of the section have it; many rules for many devices take milliseconds."""
    return await to_thread.run_sync(backend.ruled, seen) if backend.rules else seen


def _news(before: Inventory, found: Mapping[str, Found]) -> Inventory | None:
    """Return what was found as an inventory; `None` when it is what `before` says."""
    inventory = Inventory.of(found).keeping(before)
    return None if inventory == before else inventory
