"""Looks at the node whenever something hints at change, and now and then without a hint.

Every kind has a loop of its own, so that none waits for another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import anyio
import structlog
from anyio import to_thread

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import SysfsError
from intel_agent.inventory import Change, Found, Inventory
from intel_agent.latest import Latest
from intel_agent.model import Device
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

log = structlog.get_logger()

AGAIN = (0.1, 0.5, 2.0)
"""Seconds after a hint when to look again: udev makes its links after the kernel's message."""
GAP = 0.02
"""Least seconds between the starts of two looks at a kind: what comes in between is looked at together."""
RETRY = 5.0
"""Seconds between looks at a kind that cannot be looked at as a whole."""


@dataclass(slots=True, eq=False)
class _Kind:
    """One kind of devices, while its section is enabled."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    found: Found | None = None
    """What the last look saw; nothing before the first one."""
    hinted: anyio.Event = field(default_factory=anyio.Event)
    looked: anyio.Event = field(default_factory=anyio.Event)
    """Set when the next look that begins has ended."""
    again: list[float] = field(default_factory=list[float])
    """When to look again because of the last hint."""
    failing: float | None = None
    """Since when it cannot be looked at as a whole."""


class Scanner:
    """The only writer of the inventory."""

    def __init__(self, config: Latest[Config], host: Host, inventory: Latest[Inventory]) -> None:
        self._config = config
        self._inventory = inventory
        self._kinds: dict[str, _Kind] = {}
        self._looker = Looker(host, lambda: config.value.health.read_deadline_seconds, self.hint)
        self._turn = anyio.Lock()

    @property
    def backends(self) -> Mapping[str, Backend]:
        return {each.name: each for each in self._config.value.devices.backends}

    def hint(self, backends: Iterable[str] | None = None) -> None:
        """Look soon: at the kinds named, or at all."""
        now = anyio.current_time()
        for name in self._kinds if backends is None else backends:
            if (kind := self._kinds.get(name)) is not None:
                kind.again = [now + pause for pause in AGAIN]
                kind.hinted.set()

    async def run(self) -> None:
        """Keep the inventory true, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
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
        before = kind.found or Found()
        try:
            kind.found = await self._looker.at(backend, before)
        except Exception as error:  # the border of one backend: it must not take another down
            expected = isinstance(error, (SysfsError, TimeoutError))
            problem = str(error) if expected else f"unexpected: {error!r}"
            now = anyio.current_time()
            kind.failing = now if kind.failing is None else kind.failing
            lasting = now - kind.failing >= self._config.value.health.grace_seconds
            kind.found = before.failed(problem, lasting=lasting)
            if before.problem != problem:
                log.error("scan.failed", backend=backend.name, problem=problem, exc_info=None if expected else error)
        else:
            kind.failing = None
            if before.problem is not None:
                log.info("scan.recovered", backend=backend.name)
        await self._publish()

    async def _publish(self) -> None:
        """Make what was found the latest inventory, if anything changed."""
        async with self._turn:
            kinds = [(name, self._kinds.get(name)) for name in self.backends]
            found = {name: kind.found for name, kind in kinds if kind is not None and kind.found is not None}
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
