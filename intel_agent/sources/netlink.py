"""Conversations with the kernel over netlink, for threads that may wait. Messages are read here, not by pyroute2.

Sources: netlink(7), Documentation/userspace-api/netlink/intro.rst (dumps, NLM_F_DUMP_INTR, generic netlink),
include/uapi/linux/netlink.h, include/uapi/linux/genetlink.h. Why without pyroute2: docs/adr/0021.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Self, TypeVar

from intel_agent.errors import AgentError

T = TypeVar("T")

ROUTE, GENERIC = 0, 16
"""Families of sockets: NETLINK_ROUTE, NETLINK_GENERIC."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_ERROR, _DONE = 2, 3
_REQUEST, _INTERRUPTED, _DUMP = 0x1, 0x10, 0x300
_TYPE = 0x3FFF
"""Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_LARGEST = 1 << 18
"""Bytes of the longest datagram: an interface with 256 virtual functions has more than 64 KiB."""
_REPEATS = 5
"""How often a dump is asked for in which the kernel says that something changed meanwhile."""
_RECEIVE_BUFFER = 1 << 20
"""Bytes, before the kernel makes less of it (net.core.rmem_max)."""


class NetlinkError(AgentError):
    """The kernel refuses to say something, or says it in a form that is not documented."""

    def __init__(self, problem: str, number: int = 0) -> None:
        super().__init__(problem)
        self.number = number
        """The error's number (errno.h), if it is the kernel's."""


def attributes(body: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes in `body` from `start` on, by type; of several of one type the last one.

    Raises:
        NetlinkError: they do not fit in.
    """
    return dict(each_attribute(body, start))


def each_attribute(body: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute.

    Raises:
        NetlinkError: one does not fit in.
    """
    end = len(body)
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < _ATTRIBUTE.size or start + length > end:
            raise NetlinkError(f"an attribute of {length} bytes does not fit into the {end - start} that are left")
        yield kind & _TYPE, body[start + 4 : start + length]
        start += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return the attribute as a message has it."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) % 4)


def string(value: bytes) -> str:
    """Return the text of an attribute of type NUL string; letters that are none become marks."""
    return value.partition(b"\0")[0].decode("utf-8", "replace")


def number(value: bytes) -> int:
    """Return the number that an attribute holds, without sign, whatever its width."""
    return int.from_bytes(value, sys.byteorder)


class Conversation:
    """A socket of one family. A question raises `TimeoutError` when it is not answered within its time."""

    def __init__(self, family: int, seconds: float) -> None:
        """Begin one in which each question may take so long.

        Raises:
            OSError: the kernel gives no socket.
        """
        self._seconds = seconds
        self._ends = 0.0
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        try:
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise
        self._room = bytearray(_LARGEST)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes, read: Callable[[bytes], T | None]) -> list[T]:
        """Return what `read` makes of everything that the kernel has of a kind at one moment, without `None`.

        Raises:
            NetlinkError: it refuses, or there is no such moment.
        """
        for _ in range(_REPEATS):
            told: list[T] = []

            def keep(content: bytes, told: list[T] = told) -> None:
                if (what := read(content)) is not None:
                    told.append(what)

            if self._exchange(kind, _REQUEST | _DUMP, body, keep):
                return told
        raise NetlinkError(f"what is told of changed during each of {_REPEATS} readings", errno.EAGAIN)

    def ask(self, kind: int, body: bytes) -> bytes:
        """Return the one answer.

        Raises:
            NetlinkError: the kernel refuses.
        """
        answers: list[bytes] = []
        self._exchange(kind, _REQUEST, body, answers.append)
        if not answers:
            raise NetlinkError("an empty answer")
        return answers[0]

    def family(self, name: str) -> int | None:
        """Return the number of a family of generic netlink, or `None` when the kernel has none of that name.

        Raises:
            NetlinkError: it does not say.
        """
        body = struct.pack("=BBxx", _GET_FAMILY, 1) + attribute(_FAMILY_NAME, name.encode() + b"\0")
        try:
            found = attributes(self.ask(_CONTROLLER, body), 4)
        except NetlinkError as error:
            if error.number == errno.ENOENT:
                return None
            raise
        return number(found[_FAMILY_ID])

    def _exchange(self, kind: int, flags: int, body: bytes, told: Callable[[bytes], object]) -> bool:
        """Hand each answer to one request to `told`; return whether they belong to one moment."""
        self._sequence += 1
        self._ends = monotonic() + self._seconds
        self._socket.settimeout(self._left)
        self._socket.send(_HEADER.pack(len(body) + 16, kind, flags, self._sequence, 0) + body)
        sound = True
        while True:
            for answer, marks, sequence, content in messages(self._datagram()):
                if sequence != self._sequence:
                    continue  # the rest of one that was given up
                sound = sound and not marks & _INTERRUPTED
                if answer in {_ERROR, _DONE}:
                    if problem := _NUMBER.unpack_from(content)[0]:
                        raise NetlinkError(os.strerror(-problem).lower(), -problem)
                    return sound
                told(content)
                if not flags & _DUMP:
                    return sound

    def _datagram(self) -> bytes:
        while True:
            self._socket.settimeout(self._left)
            size, _, flags, sender = self._socket.recvmsg_into([self._room])
            if flags & socket.MSG_TRUNC:
                raise NetlinkError(f"a message is longer than {_LARGEST} bytes")
            if sender[0] == 0:  # the kernel's port
                return bytes(memoryview(self._room)[:size])

    @property
    def _left(self) -> float:
        left = self._ends - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield type, flags, sequence number and body of each message in a datagram.

    Raises:
        NetlinkError: one does not fit in.
    """
    start, end = 0, len(datagram)
    while start + _HEADER.size <= end:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, start)
        if length < _HEADER.size or start + length > end:
            raise NetlinkError(f"a message of {length} bytes does not fit into the {end - start} that are left")
        yield kind, flags, sequence, datagram[start + 16 : start + length]
        start += length + 3 & ~3


def listening(groups: int) -> socket.socket:
    """Return a socket that never waits and gets what the kernel broadcasts to these groups of NETLINK_ROUTE.

    Raises:
        OSError: the kernel gives no socket.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    listener = socket.socket(socket.AF_NETLINK, kind, ROUTE)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listener.bind((0, groups))
    except OSError:
        listener.close()
        raise
    return listener
