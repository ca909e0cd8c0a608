"""The device plugin of one resource: what kubelet can ask, answered from the latest listing.

Source: the device plugin API v1beta1 (protos/deviceplugin.proto).
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.to_thread
import structlog

from intel_agent._proto import v1beta1
from intel_agent.allocation import SHARES, Policy, preferring
from intel_agent.backends import Backend
from intel_agent.errors import AllocationError, EditsError, SysfsError
from intel_agent.latest import Latest
from intel_agent.model import ContainerEdits, Device, Health
from intel_agent.publish import cdi, wire
from intel_agent.publish.grants import Grants
from intel_agent.publish.roster import Listing
from intel_agent.publish.server import Service
from intel_agent.sysfs import Host, natural

log = structlog.get_logger()

ALLOCATE_DEADLINE = 1.0
"""How long the nodes of an allocation may take to be examined, in seconds: kubelet's main loop waits for us."""


MANY = 500
"""More ids than that are not sorted on the loop: 10,000 take 40 ms."""


@dataclass(slots=True, eq=False)
class Listener:
    """Somebody who listens: one ListAndWatch stream."""

    sent: int = -1
    """The revision of the last listing that it took."""
    ended: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What answers need beside the listing: the node, the backends as they are configured now, and whom to tell."""

    host: Host
    backends: Callable[[], Mapping[str, Backend]]
    suspect: Callable[[str], None]
    """Told the backend of a device that is not as the inventory says: it should be looked at."""


class DevicePlugin(Service):
    """Answers for one resource. Streams belong to a server's life: `end_streams` ends those that are open."""

    def __init__(self, listing: Latest[Listing], knowledge: Knowledge, grants: Grants) -> None:
        self._listing = listing
        self._knowledge = knowledge
        self._grants = grants
        self._life = 0
        self.newest: Latest[Listener | None] = Latest(None)
        """The stream that began last."""

    @property
    def resource(self) -> str:
        return self._listing.value.resource

    @property
    def options(self) -> v1beta1.DevicePluginOptions:
        return v1beta1.DevicePluginOptions(get_preferred_allocation_available=self._policy is not None)

    @property
    def _backend(self) -> Backend | None:
        """The backend behind the resource; `None` once its section is disabled."""
        return self._knowledge.backends().get(self._listing.value.backend)

    @property
    def _policy(self) -> Policy | None:
        """How to choose among free ids; a rule that wants some of them to be last is an opinion, too."""
        if (backend := self._backend) is None:
            return None
        return backend.policy(self.resource) or (SHARES["none"] if self._last else None)

    @property
    def _last(self) -> frozenset[str]:
        """The ids that are given only when no other is free."""
        return frozenset(each for line in self._listing.value.lines if line.device.prefer_last for each in line.ids)

    @property
    def revision(self) -> int:
        """The revision of the present list."""
        return self._listing.revision

    @property
    def healthy(self) -> frozenset[str]:
        """The ids that kubelet may hand out by the present list."""
        lines = self._listing.value.lines
        return frozenset(each for line in lines if line.health is Health.HEALTHY for each in line.ids)

    def end_streams(self) -> None:
        """Make every open stream return: kubelet sees a clean end."""
        self._life += 1
        self._listing.set(self._listing.value)

    async def get_device_plugin_options(self, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        return self.options

    async def list_and_watch(self, message: v1beta1.Empty) -> AsyncIterator[v1beta1.ListAndWatchResponse]:
        life = self._life
        revision = -1
        sent: bytes | None = None
        listener = Listener()
        self.newest.set(listener)
        try:
            while True:
                listing, revision = await self._listing.newer(revision)
                if life != self._life:
                    return
                if sent is None or listing.message != sent:
                    sent = listing.message
                    yield wire.Encoded(sent)
                listener.sent = revision
        finally:
            listener.ended.set()

    async def get_preferred_allocation(
        self, message: v1beta1.PreferredAllocationRequest
    ) -> v1beta1.PreferredAllocationResponse:
        return v1beta1.PreferredAllocationResponse(
            container_responses=[
                v1beta1.ContainerPreferredAllocationResponse(device_i_ds=await self._preferred(each))
                for each in message.container_requests
            ]
        )

    async def _preferred(self, request: v1beta1.ContainerPreferredAllocationRequest) -> list[str]:
        if (policy := self._policy) is None:
            return []
        answer = partial(
            preferring,
            policy,
            request.available_deviceIDs,
            request.must_include_deviceIDs,
            request.allocation_size,
            self._last,
        )
        many = len(request.available_deviceIDs) > MANY
        return await anyio.to_thread.run_sync(answer) if many else answer()

    async def allocate(self, message: v1beta1.AllocateRequest) -> v1beta1.AllocateResponse:
        try:
            answers = [await self._allocated(each.devices_ids) for each in message.container_requests]
        except (AllocationError, EditsError, SysfsError, TimeoutError) as error:
            problem = str(error) or "a device node does not answer"
            log.warning("allocation.refused", resource=self.resource, problem=problem)
            raise
        return v1beta1.AllocateResponse(container_responses=answers)

    async def pre_start_container(self, message: v1beta1.PreStartContainerRequest) -> v1beta1.PreStartContainerResponse:
        return v1beta1.PreStartContainerResponse()

    async def _allocated(self, ids: Sequence[str]) -> v1beta1.ContainerAllocateResponse:
        """Return what one container gets.

        Raises:
            AllocationError: it cannot have these ids, and why.
            EditsError: it cannot have them together.
        """
        backend = self._backend
        if backend is None:
            raise AllocationError(f"{self.resource} is not enabled any more in intel-agent's configuration")
        devices = granted(self._listing.value, ids)
        # No await from the look at the list to here: who makes the next list must know of this.
        with self._grants.granting(self.resource, ids):
            edits = backend.allocate(devices)
            await self._check(backend, edits)
        log.info("allocation.granted", resource=self.resource, ids=sorted(ids))
        return answered(backend, devices, edits)

    async def _check(self, backend: Backend, edits: ContainerEdits) -> None:
        """Look once more whether every node is there: kubelet would start the container without asking.

        Raises:
            AllocationError: one is not; the kind is looked at again, so that the list tells, too.
            SysfsError: one is something else.
            TimeoutError: one cannot be examined in time.
        """
        try:
            with anyio.fail_after(ALLOCATE_DEADLINE):
                await anyio.to_thread.run_sync(_check_nodes, self._knowledge.host, edits, abandon_on_cancel=True)
        except (AllocationError, SysfsError, TimeoutError):
            self._knowledge.suspect(backend.name)
            raise


def granted(listing: Listing, ids: Iterable[str]) -> tuple[Device, ...]:
    """Return the devices behind `ids`, each once, in natural order.

    Raises:
        AllocationError: one of them is unknown or unhealthy.
    """
    wanted = list(ids)
    lines = listing.lines_of(wanted)
    for each in wanted:
        if each not in lines:
            raise AllocationError(f"{listing.resource} has no device {each}")
        if faults := sorted(lines[each].faults):
            reasons = "; ".join(f"{fault.reason}: {fault.detail}" for fault in faults)
            raise AllocationError(f"device {each} of {listing.resource} is unhealthy: {reasons}")
    devices = {line.device.id: line.device for line in lines.values()}
    return tuple(devices[each] for each in sorted(devices, key=natural))


def answered(backend: Backend, devices: Iterable[Device], edits: ContainerEdits) -> v1beta1.ContainerAllocateResponse:
    """Return the edits as kubelet takes them: device nodes and mounts, CDI names, or both.

    A device with something that can be had by its CDI name alone is named in any case, one with nothing never.
    """
    answer = v1beta1.ContainerAllocateResponse(envs=dict(edits.env), annotations=dict(edits.annotations))
    if backend.cdi != "names":
        answer.devices = [
            v1beta1.DeviceSpec(container_path=node.path, host_path=node.host_path, permissions=node.permissions)
            for node in edits.device_nodes
        ]
        answer.mounts = [
            v1beta1.Mount(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
            for mount in edits.mounts
            if mount.plain
        ]
    named = [device for device in devices if backend.cdi != "none" or device.edits.needs_cdi]
    answer.cdi_devices = [
        v1beta1.CdiDevice(name=cdi.name(backend.name, device)) for device in named if device.edits.has_cdi
    ]
    return answer


def _check_nodes(host: Host, edits: ContainerEdits) -> None:
    for node in edits.device_nodes:
        if host.number(node.name) is None:
            raise AllocationError(f"{node.host_path} is not there")
