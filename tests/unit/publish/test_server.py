"""A server that drains leaves no connection open and deaf."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio import to_thread

from intel_agent._proto import v1beta1
from intel_agent.publish.server import Service, SocketServer

pytestmark = pytest.mark.anyio


class Plugin(Service):
    """Answers one question."""

    async def get_device_plugin_options(self, message: v1beta1.Empty) -> v1beta1.DevicePluginOptions:
        return v1beta1.DevicePluginOptions()


class Late(SocketServer):
    """Gets a peer when it has begun to drain: just before its socket file goes."""

    peer: socket.socket | None = None

    def _unlink(self) -> None:
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(60)
        self.peer.connect(self.path)
        super()._unlink()

    def heard(self) -> bool:
        """Return whether the peer's connection ends."""
        assert self.peer is not None
        with self.peer, contextlib.suppress(ConnectionError):
            while self.peer.recv(1000):
                pass
        return True


@pytest.fixture
def path() -> Iterator[Path]:
    # A socket's path has room for 107 letters only: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ia") as name:
        yield Path(name, "server.sock")


async def test_a_peer_that_comes_amid_a_drain_is_not_kept_waiting(path: Path) -> None:
    for _ in range(50):  # who comes first, the peer or the drain, is for the loop to choose
        server = Late(Plugin(), str(path))
        await server.listen()
        await server.drain()
        assert await to_thread.run_sync(server.heard)
