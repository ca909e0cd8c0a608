"""A device plugin that does as it is told, and what tests ask of kubelet about it."""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from grpclib.client import Channel
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from intel_agent._proto.v1beta1 import (
    AllocateRequest,
    AllocateResponse,
    ContainerAllocateResponse,
    ContainerPreferredAllocationResponse,
    Device,
    DevicePluginBase,
    DevicePluginOptions,
    DeviceSpec,
    Empty,
    ListAndWatchResponse,
    NumaNode,
    PreferredAllocationRequest,
    PreferredAllocationResponse,
    PreStartContainerRequest,
    PreStartContainerResponse,
    RegisterRequest,
    RegistrationStub,
    TopologyInfo,
)
from intel_agent.latest import Latest
from intel_agent.simulation.kubelet import SimulatedKubelet

R = "gpu.intel.com/i915"
NODE = DeviceSpec(container_path="/dev/dri/card0", host_path="/dev/null", permissions="rw")


def devices(*words: str) -> list[Device]:
    """Return devices by words: `a` is healthy, `!a` is not, `a@1` sits on NUMA node 1."""
    return [_device(word) for word in words]


def _device(word: str) -> Device:
    name, _, node = word.removeprefix("!").partition("@")
    topology = TopologyInfo(nodes=[NumaNode(id=int(node))]) if node else None
    return Device(id=name, health="Unhealthy" if word.startswith("!") else "Healthy", topology=topology)


@dataclass
class Plugin(DevicePluginBase):
    """A plugin that does as it is told."""

    path: Path
    devices: Latest[list[Device]]
    options: DevicePluginOptions = field(default_factory=DevicePluginOptions)
    answers: list[ContainerAllocateResponse] = field(
        default_factory=lambda: [ContainerAllocateResponse(devices=[NODE])]
    )
    preferred: list[str] = field(default_factory=list[str])
    error: GRPCError | None = None
    end: anyio.Event = field(default_factory=anyio.Event)
    """Ends the stream from the plugin's side."""
    gate: anyio.Event | None = None
    calls: list[str] = field(default_factory=list[str])
    cancelled: int = 0

    async def get_device_plugin_options(self, message: Empty) -> DevicePluginOptions:
        self.calls.append("options")
        if self.error is not None:
            raise self.error
        return self.options

    async def list_and_watch(self, message: Empty) -> AsyncIterator[ListAndWatchResponse]:
        self.calls.append("list")
        revision = -1
        try:
            while not self.end.is_set():
                listed, revision = await self.devices.newer(revision)
                if not self.end.is_set():
                    yield ListAndWatchResponse(devices=listed)
        except BaseException:
            self.cancelled += 1
            raise

    async def get_preferred_allocation(self, message: PreferredAllocationRequest) -> PreferredAllocationResponse:
        request = message.container_requests[0]
        self.calls.append(f"prefer {request.allocation_size} of {' '.join(request.available_deviceIDs)}")
        if self.error is not None:
            raise self.error
        preferred = ContainerPreferredAllocationResponse(device_i_ds=self.preferred)
        return PreferredAllocationResponse(container_responses=[preferred])

    async def allocate(self, message: AllocateRequest) -> AllocateResponse:
        self.calls.append(f"allocate {' '.join(message.container_requests[0].devices_ids)}")
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return AllocateResponse(container_responses=self.answers)

    async def pre_start_container(self, message: PreStartContainerRequest) -> PreStartContainerResponse:
        self.calls.append(f"start {' '.join(message.devices_ids)}")
        if self.error is not None:
            raise self.error
        return PreStartContainerResponse()

    def finish(self) -> None:
        """End the stream."""
        self.end.set()
        self.devices.set(self.devices.value)


@asynccontextmanager
async def serving(
    kubelet: SimulatedKubelet, *words: str, name: str = "p.sock", options: DevicePluginOptions | None = None
) -> AsyncGenerator[Plugin]:
    """Give a plugin that listens and is not yet registered."""
    plugin = Plugin(kubelet.socket.parent / name, Latest(devices(*words)), options or DevicePluginOptions())
    server = Server([plugin])
    await server.start(path=os.fspath(plugin.path))
    try:
        yield plugin
    finally:
        plugin.finish()
        await anyio.sleep(0.01)
        server.close()


async def register(
    kubelet: SimulatedKubelet, endpoint: str = "p.sock", resource: str = R, version: str = "v1beta1"
) -> None:
    channel = Channel(path=os.fspath(kubelet.socket))
    try:
        await RegistrationStub(channel).register(
            RegisterRequest(version=version, endpoint=endpoint, resource_name=resource), timeout=20
        )
    finally:
        channel.close()


def numbers(kubelet: SimulatedKubelet, resource: str = R) -> tuple[int, int] | None:
    seen = kubelet.resources().get(resource)
    return None if seen is None else (seen.capacity, seen.allocatable)


async def until(kubelet: SimulatedKubelet, capacity: int, allocatable: int, resource: str = R) -> None:
    await kubelet.wait_for(lambda _: numbers(kubelet, resource) == (capacity, allocatable))
