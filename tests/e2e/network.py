"""The network of the tests' own processes: ports, and a look into the network of others."""

import ctypes
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


_given: set[int] = set()
"""Ports that were given away: who got one may not listen on it yet."""


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on, and that were not given before."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.create_server((LOOPBACK, 0)) as listener:
            port: int = listener.getsockname()[1]
        if port not in _given:
            _given.add(port)
            ports.append(port)
    return ports


@contextmanager
def inside(namespace: Path) -> Generator[None]:
    """Have the calling thread in this network namespace throughout the block; sockets stay where they are made."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _set(os.open(namespace, os.O_RDONLY))
        try:
            yield
        finally:
            _set(os.dup(own))
    finally:
        os.close(own)


def _set(descriptor: int) -> None:
    """Move the calling thread. Python 3.12 and later have os.setns."""
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
