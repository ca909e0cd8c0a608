"""One look at the devices of a kind: a hop to a worker thread, with a deadline for every device.

A read that does not come back costs the one device it belongs to: that device is quarantined until the read returns,
and the look starts again without it.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import structlog
from anyio import from_thread, to_thread

from intel_agent import vitals
from intel_agent.backends import Backend
from intel_agent.inventory import Found
from intel_agent.links import Links
from intel_agent.sources.known import NOTHING, ByPath
from intel_agent.sysfs import Host, Look

if TYPE_CHECKING:
    from intel_agent.sources.links import Source

log = structlog.get_logger()

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

NODE_IP = "NODE_IP"
"""The variable with this node's address (downward API: `status.hostIP`)."""
THREADS = 256
"""Most looks at a time that somebody waits for; one that is stuck does not count any more."""
PATIENCE = 0.05
"""Seconds that a look may stay at one place before the next one begins beside it."""
LONGEST_WAIT = 1.0
"""Seconds that a look waits for others at most, however well these get on."""
SLICES = 4
"""In how many parts a deadline is waited out.

What one of them takes longer than it should is no time that a device had: the whole process may have stood still, as
one that is frozen, or that gets no processor.
"""


class _Job(Generic[T_co]):
    """One reading, as it runs in a worker thread."""

    def __init__(self, reading: Callable[[Look], T_co], look: Look, release: Callable[[str], object]) -> None:
        self._reading = reading
        self.look = look
        self._release = release
        self.started = False
        self.done = False

    def run(self) -> T_co:
        self.started = True
        self.look.since = monotonic()  # waiting for a thread is no fault of a device
        try:
            return self._reading(self.look)
        finally:
            self.done = True
            if (device := self.look.abandoned_at) is not None:
                self._release(device)


class Looker:
    """Looks at one node, at any number of kinds at a time, and remembers where threads are stuck."""

    def __init__(
        self,
        host: Host,
        deadline: Callable[[], float],
        released: Callable[[], None],
        *,
        node_ip: str = "",
        threads: int = THREADS,
    ) -> None:
        """Look at `host`, whose address in the cluster is `node_ip` if that is known.

        `deadline` is how long a device may take, in seconds; `released` is told when one is back.
        """
        self._host = host
        self._node_ip = node_ip
        self.links: Source | None = None
        """Where the host's links come from; made for the first kind that wants to know them."""
        self._deadline = deadline
        self._on_release = released
        self._quarantine: dict[str, str] = {}
        """Paths of devices with a read that has not come back, and what to say about it."""
        self._lost: dict[tuple[str, str], _Job[object]] = {}
        """Readings that are stuck where no single device is to blame, by kind and step."""
        self._threads = anyio.CapacityLimiter(threads)
        self._turn = anyio.Lock()
        self._looking = Look()
        """Where the look is that has the turn."""

    async def at(self, backend: Backend, before: Found, known: ByPath = NOTHING) -> Found:
        """Look until it succeeds; a device whose read does not end is left out of the next try.

        `known` is what the backend may know from before, beside what it sees.

        Raises:
            AgentError: the backend cannot look at all.
            TimeoutError: it does not come back, and no single device is to blame.
        """
        links = await self._gathered(backend)
        return await self.read(
            backend.name,
            "sysfs",
            lambda look: _looked(backend, self._host.looking(look, links, known), before),
        )

    async def _gathered(self, backend: Backend) -> Links | None:
        """Return what the backend wants to know of the host's links, or `None` when that is nothing.

        Raises:
            LinksError: it cannot be had.
        """
        if not (facts := backend.link_facts):
            return None
        if self.links is None:
            from intel_agent.sources.links import Source

            self.links = Source(self._host, self._node_ip, self, self._deadline)
        return await self.links.links(backend.name, facts)

    async def follow_links(self, changed: Callable[[], object]) -> None:
        """Call `changed` whenever the host's links change, for ever; a pretended node's never do by themselves."""
        if not self._host.simulated:
            from intel_agent.sources import linkevents

            await linkevents.follow(lambda: None if self.links is None else self.links.concerned, changed)

    async def read(self, kind: str, step: str, reading: Callable[[Look], T]) -> T:
        """Read in a thread until it succeeds; a device whose read does not end is left out of the next try.

        `step` tells apart what is read for one kind: each of them may be stuck.

        Raises:
            TimeoutError: it does not come back, and no single device is to blame.
        """
        deadline = self._deadline()
        if (lost := self._lost.get((kind, step))) is not None and not lost.done:
            raise TimeoutError(_too_long(deadline))  # one stuck thread is enough
        while True:
            async with self._in_turn() as look:
                job = _Job(reading, look, self._release)
                results = await self._finished(job, deadline)
            for result in results:
                return result
            look.abandoned_at = stuck = look.at
            if not job.started:
                raise TimeoutError(f"no thread could look for devices within {deadline:g} s")
            if stuck is None or stuck in look.quarantined:
                self._lost[kind, step] = job
                raise TimeoutError(_too_long(deadline))
            if stuck not in self._quarantine:  # several kinds may have come there at the same time
                self._quarantine[stuck] = f"a read of it has not come back for {deadline:g} s"
                log.error("device.quarantined", backend=kind, device=stuck, problem=self._quarantine[stuck])
            if job.done:
                self._released(stuck)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncGenerator[Look]:
        """Wait for the looks before this one as long as they get on, and not too long; give the look to be had.

        Python runs one thread at a time anyway: those that take it from each other need three times as long together.
        """
        has_turn = await self._has_turn()
        look = Look(quarantined=dict(self._quarantine))
        if has_turn:
            self._looking = look
        try:
            yield look
        finally:
            if has_turn:
                self._turn.release()

    async def _has_turn(self) -> bool:
        """Wait for the turn; give it up when the one who has it waits for the kernel and needs nothing, or for long."""
        began = monotonic()
        while monotonic() - began < LONGEST_WAIT:
            with anyio.move_on_after(PATIENCE):
                await self._turn.acquire()
                return True
            if monotonic() - self._looking.since > PATIENCE:
                break
        return False

    async def _finished(self, job: _Job[T], deadline: float) -> list[T]:
        """Return the one result, or nothing when the job did not leave one place within `deadline` seconds."""
        results: list[T] = []
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def run() -> None:
                try:
                    results.append(await to_thread.run_sync(job.run, abandon_on_cancel=True, limiter=self._threads))
                except Exception as error:  # noqa: BLE001 - raised below, as itself and not in a group
                    errors.append(error)
                group.cancel_scope.cancel()

            group.start_soon(run)
            since, left = job.look.since, deadline
            while left > 0:
                part = min(left, deadline / SLICES)
                await anyio.sleep(part)
                left -= part
                if job.look.since != since:  # it is somewhere else by now, and has been there for a part at most
                    since = job.look.since
                    left = deadline - min(anyio.current_time() - since, part)
            group.cancel_scope.cancel()
        if errors:
            raise errors[0]
        return results

    def _release(self, device: str) -> None:
        """Release a device from the thread that was stuck with it."""
        from_thread.run_sync(self._released, device)

    def _released(self, device: str) -> None:
        """Let the device be looked at again: the read that was stuck came back."""
        if self._quarantine.pop(device, None) is not None:
            log.info("device.released", device=device)
            self._on_release()


def _looked(backend: Backend, host: Host, before: Found) -> Found:
    """Return what there is, with the vital signs of what devices hang on, and what `before` knows of the unreadable."""
    return vitals.examined(host, Found.of(backend.discover(host))).after(before)


def _too_long(deadline: float) -> str:
    return f"looking for devices took longer than {deadline:g} s"
