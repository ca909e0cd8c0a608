"""Follows the inventory and keeps kubelet's picture of it: one registration for each resource."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import TaskGroup

from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import KubeletError
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.model import Device, Fault, Reason
from intel_agent.publish import cdi, checkpoint, deviceinfo, holdings, terms, wire
from intel_agent.publish.audit import Audit, Members
from intel_agent.publish.cdifiles import CdiFiles, Wanted
from intel_agent.publish.deviceinfo import DeviceInfoFiles
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

_NO_KIND = Backend()
"""Stands for a kind whose section was disabled before its first list."""
PATIENCE = 0.02
"""Most seconds that a list waits for a file to be written: devices that left must not."""
LONGEST = 10.0
"""Seconds that making lists may take before something must be wrong with the agent itself."""
TRIES = 4
"""How often a list is made beside the loop before it is made on it: something is handed out all the time, then."""


@dataclass(frozen=True, slots=True)
class Published:
    """A resource at kubelet: its listing, and who keeps it registered."""

    listing: Latest[Listing]
    plugin: DevicePlugin
    registration: Registration


@dataclass(frozen=True, slots=True)
class _Projection:
    """What kubelet should hear, and what files should say for that."""

    roster: Roster
    cdi: Wanted
    infos: deviceinfo.Wanted


class Publisher:
    """The only writer of listings."""

    def __init__(
        self,
        config: Latest[Config],
        inventory: Latest[Inventory],
        kubelet: Kubelet,
        host: Host,
        suspect: Callable[[str], None],
        *,
        begin: Callable[[], Awaitable[object]],
        liveness: Liveness,
        runtime_directory: str,
    ) -> None:
        """Publish `inventory` to `kubelet`; `suspect` is told the backend of a device that is not as it says.

        `begin` is awaited when this is the agent that serves the node, before anybody hears of a device.
        """
        self._begin = begin
        self._liveness = liveness
        self._config = config
        self._inventory = inventory
        self._kubelet = kubelet
        self._lock = NodeLock(kubelet.directory)
        self.cdi = CdiFiles(self._lock, kubelet.directory, host)
        self.infos = DeviceInfoFiles(self._lock, runtime_directory)
        self._terms = TermsFile(self._lock, kubelet.directory)
        self._knowledge = Knowledge(host, self._backends, suspect)
        self._grants = Grants()
        self._holdings = Holdings()
        self._roster = Roster()
        self._woken = anyio.Event()
        self._remembered = checkpoint.Checkpoint()
        """What kubelet remembered when this agent began."""
        self._succeeding: dict[str, anyio.Event] = {}
        """Resources that another device plugin serves no more; set when what it handed out counts."""
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
                await self._begin()
                await self._remember()
                await self._ask()
                group.start_soon(self._terms.run)
                group.start_soon(self.audit.run)
                group.start_soon(self.cdi.run)
                group.start_soon(self.infos.run)
                group.start_soon(self._wake, self._inventory)
                group.start_soon(self._wake, self._config)
                group.start_soon(self._wake, self.cdi.outcome)
                group.start_soon(self._wake, self.infos.outcome)
                while True:
                    await self._due()
                    succeeded, self._succeeding = self._succeeding, {}
                    if succeeded:
                        await self._recall(succeeded)
                    await self._publish(lambda: self._holdings.guess(self._grants.ever), group)
                    if self._unsettled:
                        await self._ask()
                        await self._publish(lambda: self._holdings.plus(self._grants.recent), group)
                    for name, done in succeeded.items():
                        self._tell(self._roster.listings[name], group)
                        done.set()
        finally:
            self._lock.release()

    async def _remember(self) -> None:
        """Begin with what is known of the device plugins before this one, ours or others."""
        directory = self._kubelet.directory
        remembered = await self._read(checkpoint.read, f"{directory}/{checkpoint.NAME}") or checkpoint.Checkpoint()
        ours = await self._read(terms.read, f"{directory}/{terms.NAME}") or {}
        self._remembered = remembered
        self._grants.ever |= remembered.held
        self._roster = Roster(terms=terms.merged(ours, remembered.shares), nodes=remembered.nodes)

    async def _succeed(self, resource: str) -> None:
        """Have what another device plugin of this resource handed out count, in a list that is there on return."""
        self._succeeding[resource] = done = self._succeeding.get(resource) or anyio.Event()
        self._woken.set()
        await done.wait()

    async def _recall(self, resources: Collection[str]) -> None:
        """Learn anew what is known of the device plugins that served these resources until now."""
        directory = self._kubelet.directory
        remembered = await self._read(checkpoint.read, f"{directory}/{checkpoint.NAME}") or checkpoint.Checkpoint()
        # Kubelet forgets how devices were shared when their plugin ends.
        theirs = {name: remembered.shares.get(name) or self._remembered.shares.get(name, {}) for name in resources}
        self._grants.ever |= {key for key in remembered.held if key[0] in resources}
        self._roster = replace(
            self._roster,
            # What this agent has listed meanwhile, nobody has heard.
            listings={
                name: Listing(name, each.backend) if name in resources else each
                for name, each in self._roster.listings.items()
            },
            terms=terms.merged(self._roster.terms, theirs),
            nodes={**self._roster.nodes, **remembered.nodes},
        )
        await self._ask()

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
        with anyio.move_on_after(self._pause() if self._unsettled else float("inf")):
            await self._woken.wait()
        self._woken = anyio.Event()

    @property
    def _unsettled(self) -> bool:
        """Whether time or a pod's end changes something for which nobody else tells us."""
        return self._roster.unsettled or self.infos.unsettled

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
        with self._liveness.within(LONGEST, "making lists for kubelet"):
            before, self._roster = self._roster, await self._projected(holdings)
        for name, listing in self._roster.listings.items():
            if listing is not before.listings.get(name):
                self._tell(listing, group)
        for each in self.published.values():
            each.registration.renew_if_outdated()

    async def _projected(self, holdings: Callable[[], Holdings]) -> Roster:
        """Return what kubelet should hear now. Nothing was handed out that it does not reckon with."""
        faults: Mapping[Key, Fault] = {}
        for _ in range(TRIES):
            revision = self._grants.revision
            projection = await anyio.to_thread.run_sync(self._projection(holdings, faults))
            self._terms.want(projection.roster.terms)
            await self._terms.tried(PATIENCE)
            if (undefined := await self._undefined(projection)) != faults:
                faults = undefined
            elif revision == self._grants.revision:
                return projection.roster
        return self._projection(holdings, faults)().roster

    def _projection(self, holdings: Callable[[], Holdings], faults: Mapping[Key, Fault]) -> Callable[[], _Projection]:
        held = holdings()
        project = partial(
            projected,
            self._roster,
            self._inventory.value,
            held,
            now=anyio.current_time(),
            linger=self._config.value.health.linger_seconds,
            faults=faults,
        )
        backends = self._backends()
        named = {name for name, each in backends.items() if each.cdi != "none"}
        config = self._config.value

        def run() -> _Projection:
            roster = project()
            devices = _devices(roster)
            infos = _infos(backends, devices)
            return _Projection(
                roster,
                Wanted.of(config.cdi.directory, devices, named),
                deviceinfo.Wanted(config.device_info.directory, infos, frozenset(held.held) - infos.keys()),
            )

        return run

    async def _undefined(self, projection: _Projection) -> dict[Key, Fault]:
        """Have files define what is known by them; return the faults of devices that they do not define.

        Files that are not written in a moment are not waited for: whoever is to hear of them is told of later.
        """
        self.cdi.want(projection.cdi)
        self.infos.want(projection.infos)
        with anyio.move_on_after(PATIENCE):
            if self.cdi.undefined:
                await self.cdi.tried()
            if self.infos.undefined:
                await self.infos.tried()
        faults = {key: Fault(Reason.UNDEFINED, "device-info", text) for key, text in self.infos.undefined.items()}
        if undefined := self.cdi.undefined:
            faults |= {
                (device.resource, device.id): Fault(Reason.UNDEFINED, "cdi", problem)
                for kind, device in _devices(projection.roster)
                if (problem := undefined.get(cdi.name(kind, device))) is not None
            }
        return faults

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
        backend = self._backends().get(listing.backend, _NO_KIND)
        endpoint = backend.socket_name(listing.resource)
        return Published(latest, plugin, Registration(plugin, self._kubelet, self._lock, self._succeed, endpoint))


def _devices(roster: Roster) -> list[tuple[str, Device]]:
    """Return every device that kubelet hears of, with its kind; those that are there come last."""
    lines = [(each.backend, line) for each in roster.listings.values() for line in each.lines]
    lines.sort(key=lambda each: each[1].departed is None)
    return [(kind, line.device) for kind, line in lines]


def _infos(backends: Mapping[str, Backend], devices: Iterable[tuple[str, Device]]) -> dict[Key, bytes]:
    """Return the content of each device-info file; those of kinds that are disabled by now have none."""
    told = {
        (device.resource, device.id): backends[kind].device_info(device) for kind, device in devices if kind in backends
    }
    return {key: msgspec.json.encode(info) for key, info in told.items() if info is not None}
