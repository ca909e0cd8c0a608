"""One look at the devices of a kind: a hop to a worker thread, with a deadline for every device.

A read that does not come back costs the one device it belongs to: that device is quarantined until the read returns,
and the look starts again without it.
"""

from collections.abc import Callable
from time import monotonic

import anyio
import structlog
from anyio import from_thread, to_thread

from intel_agent.backends import Backend
from intel_agent.inventory import Found
from intel_agent.sysfs import Host, Look

log = structlog.get_logger()

THREADS = 256
"""Most looks at a time that somebody waits for; one that is stuck does not count any more."""


class _Job:
    """One look of one backend, as it runs in a worker thread."""

    def __init__(self, backend: Backend, host: Host, before: Found, release: Callable[[str], object]) -> None:
        self._backend = backend
        self._host = host
        self._before = before
        self._release = release
        self.started = False
        self.done = False

    def run(self) -> Found:
        self.started = True
        self._host.look.since = monotonic()  # waiting for a thread is no fault of a device
        try:
            found = Found.of(self._backend.discover(self._host)).after(self._before)
        finally:
            self.done = True
            if (device := self._host.look.abandoned_at) is not None:
                self._release(device)
        return found


class Looker:
    """Looks at one node, at any number of kinds at a time, and remembers where threads are stuck."""

    def __init__(
        self, host: Host, deadline: Callable[[], float], released: Callable[[], None], threads: int = THREADS
    ) -> None:
        """Look at `host`. `deadline` is how long a device may take, in seconds; `released` is told when one is back."""
        self._host = host
        self._deadline = deadline
        self._on_release = released
        self._quarantine: dict[str, str] = {}
        """Paths of devices with a read that has not come back, and what to say about it."""
        self._lost: dict[str, _Job] = {}
        """Looks that are stuck where no single device is to blame, by kind."""
        self._threads = anyio.CapacityLimiter(threads)

    async def at(self, backend: Backend, before: Found) -> Found:
        """Look until it succeeds; a device whose read does not end is left out of the next try.

        Raises:
            SysfsError: the backend cannot look at all.
            TimeoutError: it does not come back, and no single device is to blame.
        """
        deadline = self._deadline()
        if (lost := self._lost.get(backend.name)) is not None and not lost.done:
            raise TimeoutError(_too_long(deadline))  # one stuck thread is enough
        while True:
            look = Look(quarantined=dict(self._quarantine))
            job = _Job(backend, self._host.looking(look), before, self._release)
            if (found := await self._finished(job, look, deadline)) is not None:
                return found
            look.abandoned_at = stuck = look.at
            if not job.started:
                raise TimeoutError(f"no thread could look for devices within {deadline:g} s")
            if stuck is None or stuck in look.quarantined:
                self._lost[backend.name] = job
                raise TimeoutError(_too_long(deadline))
            self._quarantine[stuck] = f"a read of it has not come back for {deadline:g} s"
            log.error("device.quarantined", backend=backend.name, device=stuck, problem=self._quarantine[stuck])
            if job.done:
                self._released(stuck)

    async def _finished(self, job: _Job, look: Look, deadline: float) -> Found | None:
        """Return what a look found, or `None` when it did not leave one place within `deadline` seconds.

        Raises:
            SysfsError: the backend cannot look at all.
        """
        found: list[Found] = []
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def run() -> None:
                try:
                    found.append(await to_thread.run_sync(job.run, abandon_on_cancel=True, limiter=self._threads))
                except Exception as error:  # noqa: BLE001 - raised below, as itself and not in a group
                    errors.append(error)
                group.cancel_scope.cancel()

            group.start_soon(run)
            while (left := look.since + deadline - anyio.current_time()) > 0:  # noqa: ASYNC110 - a thread moves it
                await anyio.sleep(left)
            group.cancel_scope.cancel()
        if errors:
            raise errors[0]
        return found[0] if found else None

    def _release(self, device: str) -> None:
        """Release a device from the thread that was stuck with it."""
        from_thread.run_sync(self._released, device)

    def _released(self, device: str) -> None:
        """Let the device be looked at again: the read that was stuck came back."""
        if self._quarantine.pop(device, None) is not None:
            log.info("device.released", device=device)
            self._on_release()


def _too_long(deadline: float) -> str:
    return f"looking for devices took longer than {deadline:g} s"
