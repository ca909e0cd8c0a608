"""Another device plugin, to see what the agent does when somebody else takes its resource."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio.from_thread import start_blocking_portal
from grpclib.client import Channel
from grpclib.server import Server

from intel_agent._proto.v1beta1 import (
    Device,
    DevicePluginBase,
    DevicePluginOptions,
    Empty,
    ListAndWatchResponse,
    RegisterRequest,
    RegistrationStub,
)

DEADLINE = 15.0
"""Seconds that a registration may take: kubelet alone may need ten."""


@contextmanager
def rival(directory: Path, resource: str, ids: Collection[str]) -> Generator[None, None, None]:
    """Offer devices for a resource, whoever offers it already, until the block ends."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_registered(directory, resource, ids)):
        yield


class _Plugin(DevicePluginBase):
    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._over = asyncio.Event()
        self._ended = asyncio.Event()

    async def end(self) -> None:
        """End the open stream and wait until its caller has heard of it."""
        self._over.set()
        await self._ended.wait()

    async def get_device_plugin_options(self, message: Empty) -> DevicePluginOptions:
        return DevicePluginOptions()

    async def list_and_watch(self, message: Empty) -> AsyncIterator[ListAndWatchResponse]:
        try:
            yield ListAndWatchResponse(devices=[Device(id=each, health="Healthy") for each in self._ids])
            await self._over.wait()
        finally:
            self._ended.set()


@asynccontextmanager
async def _registered(directory: Path, resource: str, ids: Collection[str]) -> AsyncGenerator[None, None]:
    plugin = _Plugin(ids)
    server = Server([plugin])
    endpoint = directory / "rival.sock"
    await server.start(path=str(endpoint))
    try:
        await _register(directory, endpoint.name, resource)
        yield
    finally:
        await plugin.end()
        server.close()
        # From Python 3.12 on this waits for kubelet's connection, too, and kubelet closes it when it likes.
        with anyio.move_on_after(DEADLINE):
            await server.wait_closed()
        endpoint.unlink(missing_ok=True)


async def _register(directory: Path, endpoint: str, resource: str) -> None:
    async with Channel(path=str(directory / "kubelet.sock")) as channel:
        request = RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource)
        await RegistrationStub(channel).register(request, timeout=DEADLINE)
