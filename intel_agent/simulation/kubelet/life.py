"""One life of a kubelet, from the start of the process to its end: sockets, registration, streams.

It follows pkg/kubelet/cm/devicemanager/plugin/v1beta1 of Kubernetes 1.36, with its quirks.
"""

import posixpath
import socket
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline

from intel_agent._proto.v1 import AllocatableResourcesResponse, ListPodResourcesResponse
from intel_agent._proto.v1beta1 import DevicePluginOptions, ListAndWatchResponse, RegisterRequest
from intel_agent.simulation.kubelet import podresources
from intel_agent.simulation.kubelet.admission import Admission
from intel_agent.simulation.kubelet.checkpoint import Memory, load, save
from intel_agent.simulation.kubelet.devices import Devices
from intel_agent.simulation.kubelet.plugin import Plugin, PluginError, TooLongError
from intel_agent.simulation.kubelet.record import Record
from intel_agent.simulation.kubelet.rules import VERSION, broken_by_list, broken_by_registration, is_resource_name
from intel_agent.simulation.kubelet.sockets import KubeletServer, PodResources, Registrations, bound, sweep
from intel_agent.simulation.kubelet.state import RegisterCall

SOCKET = "kubelet.sock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kubelet lives, and how patient it is, in seconds."""

    directory: Path
    pod_resources: Path
    grace: float
    dial: float
    call: float


class Life:
    """A kubelet that runs until `stop`. What others may see of it is in `devices`, `admission` and the record."""

    def __init__(self, place: Place, record: Record) -> None:
        self._place = place
        self._record = record
        self._group = anyio.create_task_group()
        self._stop = anyio.Event()
        self._stopped = anyio.Event()
        self._saving = anyio.Lock()
        self._clients: dict[str, Plugin] = {}
        self._open: set[Plugin] = set()
        self.streams: Counter[str] = Counter()
        self._take_over(Memory({}, {}))

    def _take_over(self, memory: Memory) -> None:
        self.devices = Devices(memory, clock=time.monotonic, grace=self._place.grace)
        self.admission = Admission(self.devices, self._record.note, self._record.broken)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Live until `stop`; started once both sockets answer."""
        memory, *listeners = await anyio.to_thread.run_sync(self._prepare)
        self._take_over(memory)
        for pod, container, _ in memory.assignments:
            if container not in self._record.pods.setdefault(pod, []):
                self._record.pods[pod].append(container)
        services = Registrations(self._register), PodResources(self._assigned, self._allocatable)
        servers = [KubeletServer(service) for service in services]
        try:
            for server, listener in zip(servers, listeners, strict=True):
                await server.start(sock=listener)
            async with self._group:
                self._group.start_soon(self._keep_saving)
                task_status.started()
                await self._stop.wait()
                for server in servers:
                    await server.cut()
                self._group.cancel_scope.cancel()
        finally:
            for plugin in self._open:
                plugin.close()
            self._stopped.set()

    async def stop(self) -> None:
        """End as the process does: no more calls, every connection gone."""
        self._stop.set()
        await self._stopped.wait()

    async def save(self) -> None:
        async with self._saving:
            memory = self.devices.memory
            await anyio.to_thread.run_sync(save, self._place.directory, memory)

    def _prepare(self) -> tuple[Memory, socket.socket, socket.socket]:
        directory = self._place.directory
        directory.mkdir(parents=True, exist_ok=True)
        memory = load(directory)
        sweep(directory)
        return memory, bound(directory / SOCKET), bound(self._place.pod_resources)

    async def _keep_saving(self) -> None:
        revision = self._record.changed.revision
        while True:
            _, revision = await self._record.changed.newer(revision)
            await self.save()

    async def _register(self, request: RegisterRequest, deadline: Deadline | None) -> None:
        given = None if deadline is None else deadline.time_remaining()
        refusal: str | None = "cancelled"
        try:
            await self._connect(request, deadline)
            refusal = None
        except PluginError as error:
            refusal = str(error)
            raise GRPCError(Status.UNKNOWN, refusal) from error
        finally:
            call = RegisterCall(request.endpoint, request.resource_name, request.version, given, refusal)
            self._record.registrations.append(call)
            self._record.note("register" if refusal is None else "refuse", request.resource_name, refusal or "")
        await anyio.sleep(self._record.moods.slow_seconds)

    async def _connect(self, request: RegisterRequest, deadline: Deadline | None) -> None:
        """Do what Register does, in the real one's order."""
        moods, resource = self._record.moods, request.resource_name
        if moods.gate is not None:
            await moods.gate.wait()
        if moods.refusals:
            raise PluginError(moods.refusals.popleft())
        if (problem := _problem(request)) is not None:
            self._record.broken(problem)
            raise PluginError(problem)
        path = posixpath.normpath(f"{self._place.directory}/{request.endpoint}")
        plugin = Plugin(path, call_seconds=self._place.call)
        self._clients[resource] = plugin
        self._open.add(plugin)
        options = await self._options(resource, plugin, deadline)
        for sentence in broken_by_registration(request, options):
            self._record.broken(sentence)
        if self.streams[resource]:
            self._record.broken(f"{resource}: registered while its last stream is open")
        self.devices.connected(resource, plugin, options)
        self._group.start_soon(self._follow, resource, plugin)

    async def _options(self, resource: str, plugin: Plugin, deadline: Deadline | None) -> DevicePluginOptions:
        """Dial, and ask for the options. A failure forgets the resource's client, even one that worked so far."""
        connected = False
        try:
            await plugin.dial(self._place.dial)
            options = await self._asked(plugin, deadline)
            connected = True
        finally:
            if not connected:
                self._clients.pop(resource, None)
                self._open.discard(plugin)
                plugin.close()
        return options

    async def _asked(self, plugin: Plugin, deadline: Deadline | None) -> DevicePluginOptions:
        try:
            return await plugin.options(deadline)
        except PluginError as error:
            raise PluginError(f"failed to get device plugin options: {error}") from error

    async def _follow(self, resource: str, plugin: Plugin) -> None:
        """Take every list until the stream ends, then disconnect the resource's client, which may be a newer one."""
        self.streams[resource] += 1
        try:
            await plugin.follow(partial(self._listed, resource))
        except TooLongError as error:
            self._record.broken(f"{resource}: {error}")
        except PluginError:
            pass  # any end of a stream means the same
        finally:
            self.streams[resource] -= 1
        if (current := self._clients.pop(resource, None)) is not None:
            if not self._record.moods.never_cancel:
                current.close()
            self.devices.disconnected(resource)
        self._record.note("end", resource)

    def _listed(self, resource: str, response: ListAndWatchResponse) -> None:
        allocating = self.admission.allocating.get(resource, frozenset())
        for sentence in broken_by_list(resource, response.devices, allocating):
            self._record.broken(sentence)
        self.devices.replace(resource, response.devices)
        capacity, healthy = self.devices.amounts(resource)
        self._record.note("list", resource, f"{healthy} of {capacity} healthy")

    def _assigned(self) -> ListPodResourcesResponse:
        self.devices.collect(self._record.pods)
        return podresources.assigned(self.devices.assignments, self._record.pods)

    def _allocatable(self) -> AllocatableResourcesResponse:
        return podresources.allocatable(self.devices.allocatable())


def _problem(request: RegisterRequest) -> str | None:
    if request.version != VERSION:
        return (
            f'requested API version "{request.version}" is not supported by kubelet. Supported version is ["{VERSION}"]'
        )
    if not is_resource_name(request.resource_name):
        return f'the ResourceName "{request.resource_name}" is invalid'
    return None
