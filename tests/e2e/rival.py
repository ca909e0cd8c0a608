"""Another device plugin, to see what the agent does when somebody else takes its resource.

As a program: `python -m e2e.rival DIRECTORY ENDPOINT RESOURCE ID...` registers with a directory's kubelet and stays.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Generator
from contextlib import contextmanager
from pathlib import Path

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

from .daemon import Daemon
from .node import Node
from .waiting import eventually

ENDPOINT = "rival.sock"
DEADLINE = 15.0
"""Seconds that a registration may take: kubelet alone may need ten."""


@contextmanager
def rival(node: Node, resource: str, ids: Collection[str], *, endpoint: str = ENDPOINT) -> Generator[None, None, None]:
    """Offer devices of a resource, whoever offers it already, until the block ends."""
    directory = node.kubelet.device_plugins
    command = [sys.executable, "-m", "e2e.rival", str(directory), endpoint, resource, *ids]
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    plugin = Daemon(command, node.base / "rival.log", environment=paths)
    plugin.start()
    try:
        expected = frozenset(ids)
        what = f"rival's {resource}"
        eventually(lambda: node.pod_resources.allocatable().get(resource) == expected, what, within=DEADLINE)
        yield
    finally:
        plugin.kill()
        (directory / endpoint).unlink(missing_ok=True)


class Plugin(DevicePluginBase):
    """Offers always the same devices."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids

    async def get_device_plugin_options(self, message: Empty) -> DevicePluginOptions:
        return DevicePluginOptions()

    async def list_and_watch(self, message: Empty) -> AsyncIterator[ListAndWatchResponse]:
        yield ListAndWatchResponse(devices=[Device(id=each, health="Healthy") for each in self._ids])
        await asyncio.Event().wait()


async def serve(directory: Path, endpoint: str, resource: str, ids: Collection[str]) -> None:
    """Register and stay, for ever."""
    server = Server([Plugin(ids)])
    await server.start(path=str(directory / endpoint))
    request = RegisterRequest(version="v1beta1", endpoint=endpoint, resource_name=resource)
    async with Channel(path=str(directory / "kubelet.sock")) as channel:
        await RegistrationStub(channel).register(request, timeout=DEADLINE)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
