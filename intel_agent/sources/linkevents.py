"""Changes of the host's network interfaces, addresses and routes, as hints. They are not what is known of these.

Sources: rtnetlink(7) (RTMGRP_LINK and so on), include/uapi/linux/rtnetlink.h. No capability is needed.
"""

import errno
import socket
import struct
from collections.abc import Callable

import anyio
import structlog

from intel_agent.sources.hints import Works, listened
from intel_agent.sources.netlink import NetlinkError, attributes, listening, messages, number

log = structlog.get_logger()

SPACING = 0.25
"""Least seconds between two hints: what comes in between is told of at once."""
BATCH = 64
"""Most datagrams that are read before the rest of the agent has its turn."""

_GROUPS = (1, 5, 7, 9, 11, 32)
"""RTNLGRP_LINK, addresses and routes of IPv4 and of IPv6, next hops."""
_MASK = sum(1 << group - 1 for group in _GROUPS)
_LARGEST = 1 << 14
"""Bytes of a datagram that are read: of a longer one too little to be understood."""

_NEW_LINK, _LINKS, _ADDRESSES, _ROUTES, _NEXTHOPS = 16, {16, 17}, {20, 21}, {24, 25}, {104, 105}
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=xxxB"), struct.Struct("=BB")
_LOWER, _MASTER, _INFO, _PARENT, _KIND = 5, 10, 18, 56, 1
_EVERYWHERE = 0
_INTERNET = {socket.AF_INET, socket.AF_INET6}


async def follow(concerned: Callable[[], frozenset[int] | None], changed: Callable[[], object]) -> None:
    """Call `changed` when something happened to interfaces that matter, for ever: at once, and not too often.

    `concerned` are those that matter, `None` stands for all.
    """

    async def listen(works: Works) -> None:
        with listening(_MASK) as listener:
            works()
            await _heed(listener, concerned, changed)

    await listened(listen)


async def _heed(
    listener: socket.socket, concerned: Callable[[], frozenset[int] | None], changed: Callable[[], object]
) -> None:
    """Call `changed` as long as the socket can be read.

    Raises:
        OSError: it cannot.
    """
    changed()  # whatever happened before
    while True:
        await anyio.wait_readable(listener)
        try:
            news = _drained(listener, concerned())
        except _OverrunError:
            log.warning("events.overrun")
            news = True
        if news:
            changed()
            await anyio.sleep(SPACING)


class _OverrunError(Exception):
    """The kernel could not put a message into the socket."""


def _drained(listener: socket.socket, concerned: frozenset[int] | None) -> bool:
    """Read what is there, up to a limit; return whether some of it matters."""
    news = False
    for _ in range(BATCH):
        try:
            datagram, (port, _) = listener.recvfrom(_LARGEST)
        except BlockingIOError:
            return news
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            raise _OverrunError from error
        news = news or (port == 0 and matters(datagram, concerned))  # port 0 is the kernel
    return news


def matters(datagram: bytes, concerned: frozenset[int] | None) -> bool:
    """Return whether a broadcast tells of something that may change what is known of the host's links."""
    try:
        return any(_matters(kind, body, concerned) for kind, _, _, body in messages(datagram))
    except (NetlinkError, struct.error):
        return True  # who does not understand it had better look


def _matters(kind: int, body: bytes, concerned: frozenset[int] | None) -> bool:
    """Most of what a busy node broadcasts is about its pods: their cables, and routes to them."""
    if kind in _ROUTES:
        family, destination = _ROUTE.unpack_from(body)
        return destination == 0 and family in _INTERNET
    if kind in _ADDRESSES:
        (scope,) = _ADDRESS.unpack_from(body)
        return bool(scope == _EVERYWHERE)
    if kind in _LINKS:
        family, _, index, _, _ = _LINK.unpack_from(body)
        if family != 0:
            return False  # what a bridge says of a port
        if concerned is None or index in concerned:
            return True
        return kind == _NEW_LINK and _joins(attributes(body, _LINK.size), concerned)
    return kind in _NEXTHOPS


def _joins(found: dict[int, bytes], concerned: frozenset[int]) -> bool:
    """Return whether an interface that nobody knew is a device's, or is tied to one that matters."""
    if _PARENT in found or _KIND not in attributes(found.get(_INFO, b"")):
        return True
    return any(number(found.get(each, b"")) in concerned for each in (_MASTER, _LOWER))
