"""Connections of a listener, for ever, whatever happens to one of them or to the system; and who is connected."""

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import anyio
from anyio.abc import Listener

from intel_agent.errors import leaves

T = TypeVar("T")

_CREDENTIALS = struct.Struct("3i")

PAUSE = 1.0
"""Seconds until connections are accepted again after the system refused one (too many open files)."""


async def accept(
    listener: Listener[T], handle: Callable[[T], Awaitable[object]], failed: Callable[[OSError], object]
) -> None:
    """Have `handle` serve each connection, which it does to its end; `failed` is told why none was accepted."""
    while True:
        try:
            await listener.serve(handle)
        except* OSError as group:
            failed(next(leaves(group)))
        await anyio.sleep(PAUSE)


class Peer(NamedTuple):
    """Who is at the other end of a unix socket; the process is 0 where this one cannot see it (another namespace)."""

    process: int
    user: int
    group: int


def peer(connection: socket.socket) -> Peer:
    """Return who is at the other end, as the kernel says (SO_PEERCRED, unix(7)).

    Raises:
        OSError: the kernel does not say.
    """
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(content))
