"""A device plugin of somebody else: serves where it is told to, and registers like the Go plugins do."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from grpclib.client import Channel
from grpclib.server import Server

from intel_agent._proto import v1beta1


class Rival(v1beta1.DevicePluginBase):
    """Lists its own two devices until `end` is set."""

    def __init__(self) -> None:
        self.end = anyio.Event()
        self.asked = 0

    async def get_device_plugin_options(self, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        self.asked += 1
        return v1beta1.DevicePluginOptions()

    async def list_and_watch(self, message: v1beta1.Empty) -> AsyncIterator[v1beta1.ListAndWatchResponse]:
        yield v1beta1.ListAndWatchResponse(
            devices=[v1beta1.Device(id=f"rival{number}", health="Healthy") for number in range(2)]
        )
        await self.end.wait()


@asynccontextmanager
async def rival(socket: Path) -> AsyncGenerator[Rival]:
    """Serve a rival on `socket` until the block ends; its stream ends then, and its socket file goes."""
    plugin = Rival()
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
            v1beta1.RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource), timeout=5
        )
