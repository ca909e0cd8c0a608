"""However a peer fails, the caller gets a `KubeletError` in time."""

import socket
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent._proto import v1beta1
from intel_agent.client import calling
from intel_agent.errors import KubeletError
from intel_agent.publish.holdings import ask
from intel_agent.publish.kubelet import served_by_another

pytestmark = pytest.mark.anyio

PREFACE = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""Settings: what a sound peer says first."""
GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x00" * 8


@pytest.fixture
def path() -> Iterator[Path]:
    # A socket's path has room for 107 letters only: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ia") as name:
        yield Path(name, "peer.sock")


@asynccontextmanager
async def peer(path: Path, serve: Callable[[socket.socket], None]) -> AsyncGenerator[None]:
    """Let `serve` have the first connection to `path`, in a thread."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                serve(connection)

        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, accept)
            yield


def says(answer: bytes) -> Callable[[socket.socket], None]:
    """Return a peer that reads a little, says `answer` and hangs up."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(answer)

    return serve


def hang_up(connection: socket.socket) -> None:
    del connection


def listen(connection: socket.socket) -> None:
    """Read all that comes, and never say a word."""
    while connection.recv(1000):
        pass


async def call(path: Path) -> None:
    async with calling(str(path), KubeletError) as channel:
        await v1beta1.DevicePluginStub(channel).get_device_plugin_options(v1beta1.Empty(), timeout=0.5)


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(hang_up, id="hangs up at once"),
        pytest.param(says(b""), id="hangs up after a word"),
        pytest.param(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), id="speaks another language"),
        pytest.param(says(PREFACE), id="hangs up after its settings"),
        pytest.param(says(PREFACE + GOAWAY), id="says goodbye"),
        pytest.param(says(PREFACE + b"\xff" * 100), id="talks nonsense"),
        pytest.param(listen, id="never answers"),
    ],
)
async def test_a_peer_that_fails_is_a_kubelet_error(path: Path, serve: Callable[[socket.socket], None]) -> None:
    async with peer(path, serve):
        with pytest.raises(KubeletError):
            await call(path)


async def test_nobody_is_a_kubelet_error(path: Path) -> None:
    with pytest.raises(KubeletError, match="no such file"):
        await call(path)
    with pytest.raises(KubeletError, match="no such file"):
        await ask(str(path))
    path.touch()
    with pytest.raises(KubeletError, match="refused"):
        await call(path)


async def test_only_an_answer_proves_that_somebody_serves(path: Path) -> None:
    assert not await served_by_another(str(path))
    async with peer(path, says(PREFACE)):
        assert not await served_by_another(str(path))
