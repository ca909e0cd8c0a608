"""The kernel's uevents. The only user of pyroute2.

Source: NETLINK_KOBJECT_UEVENT, group 1 (lib/kobject_uevent.c). No udevd and no capability is needed.
Events are hints: they may be lost, and an overrun of the socket says so.
"""

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import anyio

from intel_agent.model import Event

if TYPE_CHECKING:
    from pyroute2.netlink.uevent import AsyncUeventSocket  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

KERNEL_GROUP = 1


def parse(message: bytes) -> Event | None:
    """Return the event in a uevent message, or `None` for anything else (udevd's form, garbage, no ACTION)."""
    head, *pieces = message.split(b"\0")
    if b"@" not in head:
        return None
    try:
        pairs = [piece.decode().partition("=") for piece in pieces if piece]
    except UnicodeDecodeError:
        return None
    properties = {key: value for key, equals, value in pairs if equals}
    try:
        return Event(
            action=properties["ACTION"],
            subsystem=properties["SUBSYSTEM"],
            path=properties["DEVPATH"],
            properties=MappingProxyType(properties),
        )
    except KeyError:
        return None


class Missed(Protocol):
    """Told that events may have been missed: before we listened, or, with `overrun`, because we were too slow."""

    def __call__(self, *, overrun: bool) -> None: ...


async def follow(on_event: Callable[[Event], None], on_missed: Missed) -> None:
    """Call `on_event` for each event of the kernel, as it arrives, for ever; `on_missed` when some were missed.

    Raises:
        OSError: the kernel gives us no socket.
    """
    closing = False

    def arrived(data: bytes, sender: tuple[int, int] | None) -> None:
        if closing:
            return  # the socket tells of its own end, too
        if sender is None:  # pyroute2's sign for an error of the socket, an overrun (ENOBUFS) above all
            on_missed(overrun=True)
        elif sender[0] == 0 and (event := parse(data)) is not None:  # port 0 is the kernel
            on_event(event)

    socket = _socket(arrived)
    try:
        await socket.bind(groups=KERNEL_GROUP)
        await socket.setup_endpoint()
        on_missed(overrun=False)
        await anyio.sleep_forever()
    finally:
        closing = True
        socket.close()


def _socket(arrived: Callable[[bytes, tuple[int, int] | None], None]) -> "AsyncUeventSocket":
    """Return a socket that hands messages over as they come: nothing is queued, so a storm cannot fill the memory."""
    _import_sparingly()
    from pyroute2.netlink.uevent import AsyncUeventSocket  # pyright: ignore[reportMissingTypeStubs]

    class Socket(AsyncUeventSocket):  # type: ignore[misc]  # pyroute2 is not typed
        def enqueue(self, data: bytes, addr: tuple[int, int] | None) -> None:
            arrived(data, addr)

    return Socket()


def _import_sparingly() -> None:
    """Make `pyroute2.netlink.uevent` importable without all of pyroute2, which is 9 MB more (docs/adr)."""
    if "pyroute2" in sys.modules:
        return
    spec = PathFinder.find_spec("pyroute2")
    if spec is None:
        return  # the import that follows says it better
    sys.modules["pyroute2"] = module_from_spec(spec)
