"""A device plugin of somebody else: serves where it is told to, and registers like the Go plugins do."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from grpclib.client import Channel
from grpclib.server import Server

from intel_agent._proto import v1beta1


class Rival(v1beta1.DevicePluginBase):
    """Lists its own devices until `end` is set, and hands out their names, and their nodes where it knows any."""

    def __init__(self, ids: Sequence[str], nodes: Mapping[str, tuple[str, str]]) -> None:
        self.ids = ids
        self.nodes = nodes
        self.end = anyio.Event()
        self.asked = 0

    async def get_device_plugin_options(self, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        self.asked += 1
        return v1beta1.DevicePluginOptions()

    async def list_and_watch(self, message: v1beta1.Empty) -> AsyncIterator[v1beta1.ListAndWatchResponse]:
        yield v1beta1.ListAndWatchResponse(devices=[v1beta1.Device(id=each, health="Healthy") for each in self.ids])
        await self.end.wait()

    async def allocate(self, message: v1beta1.AllocateRequest) -> v1beta1.AllocateResponse:
        return v1beta1.AllocateResponse(
            container_responses=[
                v1beta1.ContainerAllocateResponse(
                    envs={"OLD": " ".join(each.devices_ids)},
                    devices=[self._node(identifier) for identifier in each.devices_ids if identifier in self.nodes],
                )
                for each in message.container_requests
            ]
        )

    def _node(self, identifier: str) -> v1beta1.DeviceSpec:
        path, on_host = self.nodes[identifier]
        return v1beta1.DeviceSpec(container_path=path, host_path=on_host, permissions="rw")


@asynccontextmanager
async def rival(
    socket: Path, ids: Sequence[str] = ("rival0", "rival1"), nodes: Mapping[str, tuple[str, str]] | None = None
) -> AsyncGenerator[Rival]:
    """Serve a rival on `socket` until the block ends; its stream ends then, and its socket file goes.

    `nodes` are what its devices are, by id: their path in a container and on the host.
    """
    plugin = Rival(ids, nodes or {})
    server = Server([plugin])
    await server.start(path=str(socket))
    try:
        yield plugin
    finally:
        plugin.end.set()
        await anyio.sleep(0.05)  # the stream says its goodbye
        server.close()
        socket.unlink(missing_ok=True)


async def register(kubelet: Path, endpoint: str, resource: str) -> None:
    async with Channel(path=str(kubelet)) as channel:
        await v1beta1.RegistrationStub(channel).register(
            v1beta1.RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource), timeout=60
        )
