"""Follows the inventory and keeps kubelet's picture of it: one registration for each resource."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import KubeletError
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.publish import cdi, holdings, wire
from intel_agent.publish.audit import Audit, Members
from intel_agent.publish.deviceplugin import DevicePlugin, Grants, Knowledge
from intel_agent.publish.holdings import Holdings
from intel_agent.publish.kubelet import Kubelet
from intel_agent.publish.lock import NodeLock
from intel_agent.publish.registration import Registration
from intel_agent.publish.roster import RECHECK, Listing, Roster, projected
from intel_agent.sysfs import Host

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Published:
    """A resource at kubelet: its listing, and who keeps it registered."""

    listing: Latest[Listing]
    plugin: DevicePlugin
    registration: Registration


class Publisher:
    """The only writer of listings."""

    def __init__(
        self,
        config: Latest[Config],
        inventory: Latest[Inventory],
        kubelet: Kubelet,
        host: Host,
        suspect: Callable[[str], None],
    ) -> None:
        """Publish `inventory` to `kubelet`; `suspect` is told the backend of a device that is not as it says."""
        self._config = config
        self._inventory = inventory
        self._kubelet = kubelet
        self._lock = NodeLock(kubelet.directory)
        self._knowledge = Knowledge(host, self._backends, suspect)
        self._grants = Grants(set(), {})
        self._holdings = Holdings()
        self._roster = Roster()
        self._remembered: frozenset[str] = frozenset()
        self._cdi_problem: str | None = None
        self._no_cdi_files = False
        """Whether none of ours are there: an agent before this one may have left some."""
        self._holdings_problem: str | None = None
        self.published: dict[str, Published] = {}
        self.audit = Audit(self._pod_resources, self._members)

    def _pod_resources(self) -> str:
        return self._config.value.kubelet.pod_resources_socket

    def _members(self) -> Members:
        return {name: (each.plugin, each.registration) for name, each in self.published.items()}

    def _backends(self) -> Mapping[str, Backend]:
        return {each.name: each for each in self._config.value.devices.backends}

    async def run(self) -> None:
        """Publish every inventory, for ever; end with the device plugins drained and the lock released."""
        try:
            async with anyio.create_task_group() as group:
                self._remembered = await anyio.to_thread.run_sync(cdi.remembered, self._kubelet.directory)
                await self._ask()
                group.start_soon(self.audit.run)
                revision = 0
                while True:
                    inventory, revision = await self._next(revision)
                    await self._publish(inventory, self._holdings.guess(self._grants.ever), group)
                    if self._roster.unsettled:
                        await self._ask()
                        await self._publish(inventory, self._holdings, group)
        finally:
            self._lock.release()

    async def _next(self, revision: int) -> tuple[Inventory, int]:
        """Wait for a newer inventory, or for the moment when the last one means something else."""
        if self._roster.unsettled:
            with anyio.move_on_after(self._pause()):
                return await self._inventory.newer(revision)
            return self._inventory.value, self._inventory.revision
        return await self._inventory.newer(revision)

    def _pause(self) -> float:
        """Return the seconds until a departing id may be dropped, if that is soon."""
        since = [line.departed for each in self._roster.listings.values() for line in each.lines if line.departed]
        linger = self._config.value.health.linger_seconds
        left = [each + linger - anyio.current_time() for each in since]
        return min((pause for pause in left if pause > 0), default=RECHECK)

    async def _ask(self) -> None:
        """Ask kubelet who holds what; when it cannot be asked, assume the worst of what is known."""
        path = self._pod_resources()
        try:
            self._holdings = await holdings.ask(path)
            problem = None
        except KubeletError as error:
            self._holdings = self._holdings.guess(self._grants.ever)
            problem = str(error)
        if problem == self._holdings_problem:
            return
        self._holdings_problem = problem
        if problem is None:
            log.info("podresources.available", socket=path)
        else:
            log.warning("podresources.unavailable", problem=problem)

    async def _publish(self, inventory: Inventory, held: Holdings, group: TaskGroup) -> None:
        """Tell kubelet what it should hear now. CDI files come before the names they define."""
        project = partial(
            projected,
            self._roster,
            inventory,
            held,
            now=anyio.current_time(),
            linger=self._config.value.health.linger_seconds,
            busy=self._grants.busy,
        )
        before, self._roster = self._roster, await anyio.to_thread.run_sync(project)
        await self._write_cdi()
        for name, listing in self._roster.listings.items():
            if listing is before.listings.get(name):
                continue
            if len(listing.message) > wire.LIMIT:
                log.error("resource.refused", resource=name, problem="the list is longer than kubelet takes (4 MiB)")
            elif (known := self.published.get(name)) is not None:
                known.listing.set(listing)
            else:
                self.published[name] = self._introduced(listing)
                group.start_soon(self.published[name].registration.run)

    def _introduced(self, listing: Listing) -> Published:
        latest = Latest(listing)
        plugin = DevicePlugin(latest, self._knowledge, self._grants)
        return Published(latest, plugin, Registration(plugin, self._kubelet, self._lock))

    async def _write_cdi(self) -> None:
        kinds = [name for name, each in self._backends().items() if each.cdi != "none"]
        if not kinds and not self._remembered and self._no_cdi_files:
            return
        lines = [(each.backend, line) for each in self._roster.listings.values() for line in each.lines]
        # Who is there comes last: a name means what is there, not what left.
        lines.sort(key=lambda each: each[1].departed is None)
        devices = [(backend, line.device) for backend, line in lines]
        specs = cdi.Specs.of(devices, self._remembered, kinds)
        directory = self._config.value.cdi.directory
        try:
            await anyio.to_thread.run_sync(cdi.write, directory, specs, self._knowledge.host)
            self._no_cdi_files = not specs.kinds
            problem = None
        except (OSError, ValueError) as error:
            problem = str(error)
            if problem != self._cdi_problem:
                log.error("cdi.failed", directory=directory, problem=problem)
        self._cdi_problem = problem
