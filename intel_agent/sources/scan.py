"""Looks at the node whenever something hints at change, and now and then without a hint.

Every look of a backend is one hop to a worker thread with a deadline. A read that does not come back costs the one
device it belongs to: that device is quarantined until the read returns, and the look starts again without it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import anyio
import structlog
from anyio import from_thread, to_thread

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import SysfsError
from intel_agent.inventory import Change, Found, Inventory
from intel_agent.latest import Latest
from intel_agent.model import Device
from intel_agent.sysfs import Host, Look

log = structlog.get_logger()

AGAIN = (0.1, 0.5, 2.0)
"""Seconds after a hint when to look again: udev makes its links after the kernel's message."""
GAP = 0.02
"""Least seconds between the starts of two looks: what comes in between is looked at together."""
RETRY = 5.0
"""Seconds between looks at a kind that cannot be looked at as a whole."""
THREADS = 256
"""Most looks at a time that somebody waits for; one that is stuck does not count any more."""


class _Job:
    """One look of one backend, as it runs in a worker thread."""

    def __init__(self, backend: Backend, host: Host, before: Found, release: Callable[[str], object]) -> None:
        self._backend = backend
        self._host = host
        self._before = before
        self._release = release
        self.done = False

    def run(self) -> Found:
        try:
            found = Found.of(self._backend.discover(self._host)).after(self._before)
        finally:
            self.done = True
            if (device := self._host.look.abandoned_at) is not None:
                self._release(device)
        return found


class Scanner:
    """The only writer of the inventory."""

    def __init__(self, config: Latest[Config], host: Host, inventory: Latest[Inventory]) -> None:
        self._config = config
        self._host = host
        self._inventory = inventory
        self._found: dict[str, Found] = {}
        self._failing: dict[str, float] = {}
        """Since when a backend as a whole cannot look."""
        self._quarantine: dict[str, str] = {}
        """Paths of devices with a read that has not come back, and what to say about it."""
        self._dirty: set[str] = set()
        self._hinted = anyio.Event()
        self._again: list[float] = []
        """When to look again at the kinds in `_hints`."""
        self._hints: set[str] = set()
        self._tick = 0.0
        """When everything is looked at even if nothing hints at change."""
        self._threads = anyio.CapacityLimiter(THREADS)
        self._turn = anyio.Lock()

    @property
    def backends(self) -> Mapping[str, Backend]:
        return {each.name: each for each in self._config.value.devices.backends}

    def hint(self, backends: Iterable[str] | None = None) -> None:
        """Look soon: at the kinds named, or at all."""
        hinted = set(self.backends if backends is None else backends)
        now = anyio.current_time()
        self._again = [now + pause for pause in AGAIN]
        self._hints |= hinted
        self._dirty |= hinted
        self._hinted.set()

    async def run(self) -> None:
        """Keep the inventory true, for ever."""
        self._dirty.update(self.backends)
        urgent = True
        while True:
            started = anyio.current_time()
            for disabled in {*self._failing, *self._found} - self.backends.keys():
                self._failing.pop(disabled, None)
                self._found.pop(disabled, None)
            if self._dirty >= self.backends.keys():
                self._tick = started + self._config.value.health.rescan_seconds
            dirty, self._dirty, self._hinted = self._dirty, set(), anyio.Event()
            await self._look_at([each for name, each in self.backends.items() if name in dirty], together=urgent)
            await anyio.sleep_until(started + GAP)
            urgent = bool(self._dirty) or await self._wait()

    async def _wait(self) -> bool:
        """Wait for a hint, for the next look after one, or for the tick; return whether it was a hint."""
        now = anyio.current_time()
        self._again = [each for each in self._again if each > now]
        if not self._again:
            self._hints.clear()
        grace = self._config.value.health.grace_seconds
        judged = [since + grace for since in self._failing.values() if since + grace > now]
        retry = [now + RETRY, *judged] if self._failing else []
        with anyio.move_on_after(min((*self._again, *retry, self._tick)) - now):
            await self._hinted.wait()
            return True
        if anyio.current_time() >= self._tick:
            self._dirty.update(self.backends)
        self._dirty.update(self._hints, self._failing)
        return False

    async def _look_at(self, backends: list[Backend], *, together: bool) -> None:
        """Look side by side, so that none waits for another, or in turn, which is less work for everybody."""
        if together:
            async with anyio.create_task_group() as group:
                for backend in backends:
                    group.start_soon(self._look, backend)
        else:
            for backend in backends:
                await self._look(backend)
        if set(self._inventory.value.found) != set(self.backends):
            await self._publish()  # a section was disabled

    async def _look(self, backend: Backend) -> None:
        """Look at one kind and publish what was found, or why nothing can be said."""
        before = self._found.get(backend.name, Found())
        try:
            found = await self._discovered(backend, before)
        except Exception as error:  # the border of one backend: it must not take another down
            expected = isinstance(error, (SysfsError, TimeoutError))
            problem = str(error) if expected else f"unexpected: {error!r}"
            since = self._failing.setdefault(backend.name, anyio.current_time())
            lasting = anyio.current_time() - since >= self._config.value.health.grace_seconds
            found = before.failed(problem, lasting=lasting)
            if before.problem != problem:
                log.error("scan.failed", backend=backend.name, problem=problem, exc_info=None if expected else error)
        else:
            self._failing.pop(backend.name, None)
            if before.problem is not None:
                log.info("scan.recovered", backend=backend.name)
        self._found[backend.name] = found
        await self._publish()

    async def _discovered(self, backend: Backend, before: Found) -> Found:
        """Look until it succeeds; a device whose read does not end is left out of the next try.

        Raises:
            SysfsError: the backend cannot look at all.
            TimeoutError: it does not come back, and no single device is to blame.
        """
        deadline = self._config.value.health.read_deadline_seconds
        while True:
            look = Look(quarantined=dict(self._quarantine))
            job = _Job(backend, self._host.looking(look), before, self._release)
            if (found := await self._finished(job, look, deadline)) is not None:
                return found
            look.abandoned_at = stuck = look.at
            if stuck is None or stuck in look.quarantined:
                raise TimeoutError(f"looking for devices took longer than {deadline:g} s")
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
            self.hint()

    async def _publish(self) -> None:
        """Make what was found the latest inventory, if anything changed."""
        async with self._turn:
            found = {each: self._found[each] for each in self.backends if each in self._found}
            before = self._inventory.value
            inventory = await to_thread.run_sync(_told, before, found)
            if inventory is not None:
                self._inventory.set(inventory)


def _told(before: Inventory, found: Mapping[str, Found]) -> Inventory | None:
    """Log what changed since `before` and return the new inventory; `None` when nothing did.

    Devices that did not change are the same objects as before: whoever compares later is done at once.
    """
    inventory = Inventory.of({name: _same_objects(before.found.get(name), each) for name, each in found.items()})
    if inventory == before:
        return None
    _log_change(inventory.since(before))
    known = set(before.exclusions)
    for each in inventory.exclusions:
        if each not in known:
            log.info("device.excluded", device=each.path, rule=each.rule, evidence=each.evidence, remedy=each.remedy)
    return inventory


def _same_objects(before: Found | None, now: Found) -> Found:
    if before is None or before == now:
        return before or now
    old = {(device.resource, device.id): device for device in before.devices}
    devices = (old.get((device.resource, device.id)) for device in now.devices)
    return replace(
        now,
        devices=tuple(known if known == device else device for known, device in zip(devices, now.devices, strict=True)),
    )


def _log_change(change: Change) -> None:
    for device in change.added:
        log.info("device.added", device=device.id, resource=device.resource, path=device.sysfs_path, **_state(device))
    for device in change.removed:
        log.warning("device.removed", device=device.id, resource=device.resource, path=device.sysfs_path)
    for old, new in change.changed:
        say = log.warning if new.faults - old.faults else log.info
        say("device.changed", device=new.id, resource=new.resource, path=new.sysfs_path, **_state(new))


def _state(device: Device) -> dict[str, object]:
    faults = [f"{fault.reason}: {fault.detail}" for fault in sorted(device.faults)]
    state: dict[str, object] = {"health": device.health.value}
    return state | {"faults": faults} if faults else state
