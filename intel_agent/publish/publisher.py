"""Follows the inventory and keeps kubelet's picture of it: one registration for each resource."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import KubeletError
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.model import Device, Fault, Reason
from intel_agent.publish import cdi, checkpoint, holdings, terms, wire
from intel_agent.publish.audit import Audit, Members
from intel_agent.publish.cdifiles import CdiFiles, Wanted
from intel_agent.publish.deviceplugin import DevicePlugin, Knowledge
from intel_agent.publish.grants import Grants
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.kubelet import Kubelet
from intel_agent.publish.lock import NodeLock
from intel_agent.publish.registration import Registration
from intel_agent.publish.roster import RECHECK, Listing, Roster, projected
from intel_agent.publish.terms import TermsFile
from intel_agent.sysfs import Host

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE = 0.02
"""Most seconds that a list waits for a file to be written: devices that left must not."""
TRIES = 4
"""How often a list is made beside the loop before it is made on it: something is handed out all the time, then."""


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
        self.cdi = CdiFiles(self._lock, kubelet.directory, host)
        self._terms = TermsFile(self._lock, kubelet.directory)
        self._knowledge = Knowledge(host, self._backends, suspect)
        self._grants = Grants()
        self._holdings = Holdings()
        self._roster = Roster()
        self._woken = anyio.Event()
        self._holdings_problem: str | None = None
        self.published: dict[str, Published] = {}
        self.refused: set[str] = set()
        """Resources whose lists kubelet would not take."""
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
                await self._lock.hold()
                await self._remember()
                await self._ask()
                group.start_soon(self._terms.run)
                group.start_soon(self.audit.run)
                group.start_soon(self.cdi.run)
                group.start_soon(self._wake, self._inventory)
                group.start_soon(self._wake, self._config)
                group.start_soon(self._wake, self.cdi.outcome)
                while True:
                    await self._due()
                    await self._publish(lambda: self._holdings.guess(self._grants.ever), group)
                    if self._roster.unsettled:
                        await self._ask()
                        await self._publish(lambda: self._holdings.plus(self._grants.recent), group)
        finally:
            self._lock.release()

    async def _remember(self) -> None:
        """Begin with what is known of the device plugins before this one, ours or others."""
        directory = self._kubelet.directory
        remembered = await self._read(checkpoint.read, f"{directory}/{checkpoint.NAME}") or checkpoint.Checkpoint()
        ours = await self._read(terms.read, f"{directory}/{terms.NAME}") or {}
        self._grants.ever |= remembered.held
        self._roster = Roster(terms=terms.merged(ours, remembered.shares))

    async def _read(self, read: Callable[[str], T], file: str) -> T | None:
        """Return what `read` makes of kubelet's directory; `None`, and a word in the log, if the file is no good."""
        try:
            return await anyio.to_thread.run_sync(read, self._kubelet.directory)
        except (OSError, ValueError) as error:
            log.error("record.refused", file=file, problem=str(error))
            return None

    async def _wake(self, latest: Latest[Any]) -> None:
        """Have something published whenever there is a newer value."""
        revision = 0
        while True:
            _, revision = await latest.newer(revision)
            self._woken.set()

    async def _due(self) -> None:
        """Wait until there is something new, or the last inventory means something else."""
        with anyio.move_on_after(self._pause() if self._roster.unsettled else float("inf")):
            await self._woken.wait()
        self._woken = anyio.Event()

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
            self._grants.known(self._holdings.held)
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

    async def _publish(self, holdings: Callable[[], Holdings], group: TaskGroup) -> None:
        """Tell kubelet what it should hear now."""
        before, self._roster = self._roster, await self._projected(holdings)
        for name, listing in self._roster.listings.items():
            if listing is not before.listings.get(name):
                self._tell(listing, group)

    async def _projected(self, holdings: Callable[[], Holdings]) -> Roster:
        """Return what kubelet should hear now. Nothing was handed out that it does not reckon with."""
        faults: Mapping[Key, Fault] = {}
        for _ in range(TRIES):
            revision = self._grants.revision
            roster, wanted = await anyio.to_thread.run_sync(self._projection(holdings, faults))
            self._terms.want(roster.terms)
            await self._terms.tried(PATIENCE)
            if (undefined := await self._undefined(wanted, roster)) != faults:
                faults = undefined
            elif revision == self._grants.revision:
                return roster
        return self._projection(holdings, faults)()[0]

    def _projection(
        self, holdings: Callable[[], Holdings], faults: Mapping[Key, Fault]
    ) -> Callable[[], tuple[Roster, Wanted]]:
        project = partial(
            projected,
            self._roster,
            self._inventory.value,
            holdings(),
            now=anyio.current_time(),
            linger=self._config.value.health.linger_seconds,
            faults=faults,
        )
        named = {name for name, each in self._backends().items() if each.cdi != "none"}
        directory = self._config.value.cdi.directory

        def run() -> tuple[Roster, Wanted]:
            roster = project()
            return roster, Wanted.of(directory, _devices(roster), named)

        return run

    async def _undefined(self, wanted: Wanted, roster: Roster) -> dict[Key, Fault]:
        """Have CDI files define what containers get by name; return the faults of devices that they do not define.

        Files that are not written in a moment are not waited for: whoever is to hear of them is told of later.
        """
        self.cdi.want(wanted)
        if self.cdi.undefined:
            with anyio.move_on_after(PATIENCE):
                await self.cdi.tried()
        if not (undefined := self.cdi.undefined):
            return {}
        return {
            (device.resource, device.id): Fault(Reason.UNDEFINED, "cdi", problem)
            for kind, device in _devices(roster)
            if (problem := undefined.get(cdi.name(kind, device))) is not None
        }

    def _tell(self, listing: Listing, group: TaskGroup) -> None:
        """Give kubelet a new list; of one that is too long for it, what it knows already."""
        name = listing.resource
        known = self.published.get(name)
        if listing.largest > wire.LIMIT:
            if name not in self.refused:
                self.refused.add(name)
                log.error("resource.refused", resource=name, problem="the list is longer than kubelet takes (4 MiB)")
            if known is None:
                return
            listing = listing.only(known.listing.value.ids)
        else:
            self.refused.discard(name)
        if known is not None:
            known.listing.set(listing)
        else:
            self.published[name] = self._introduced(listing)
            group.start_soon(self.published[name].registration.run)

    def _introduced(self, listing: Listing) -> Published:
        latest = Latest(listing)
        plugin = DevicePlugin(latest, self._knowledge, self._grants)
        return Published(latest, plugin, Registration(plugin, self._kubelet, self._lock))


def _devices(roster: Roster) -> list[tuple[str, Device]]:
    """Return every device that kubelet hears of, with its kind; those that are there come last."""
    lines = [(each.backend, line) for each in roster.listings.values() for line in each.lines]
    lines.sort(key=lambda each: each[1].departed is None)
    return [(kind, line.device) for kind, line in lines]
