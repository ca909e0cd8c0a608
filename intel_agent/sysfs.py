"""Typed reads below the roots of a node's /sys and /dev.

Sources: Documentation/filesystems/sysfs.rst (one value a file, at most a page), Documentation/admin-guide/devices.rst.
A missing optional attribute is `None`; everything else that is odd raises `SysfsError` with the path.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from time import monotonic
from types import MappingProxyType
from typing import TypeVar

from intel_agent import rawfiles
from intel_agent.errors import SysfsError, words
from intel_agent.links import Links
from intel_agent.model import UNREADABLE_RULE, Device, DeviceNode, Exclusion
from intel_agent.rawfiles import MISSING, PAGE

T = TypeVar("T")

REPORT = 64 * PAGE
"""The most that is read of a report, in bytes."""

SIMULATION_MARK = ".intel-agent-simulation"
"""A file with this name in the root says: a simulated node; device nodes may be stand-ins (regular files)."""

_INT64 = 2**63
_PIECES = re.compile(r"([^0-9]*)([0-9]*)")


@dataclass(slots=True)
class Look:
    """Where one look of one backend is at the moment, so that a read that never ends can be blamed on one device.

    Written by the thread that looks, read by the one that waits for it.
    """

    at: str | None = None
    since: float = field(default_factory=monotonic)
    """When it came there, in seconds of the monotonic clock."""
    abandoned_at: str | None = None
    """Set by the one that waits when it waits no longer: the device where the look was stuck."""
    quarantined: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Devices that must not be touched, by path, and why."""

    def reading(self, path: str) -> "Reading":
        """Say that the device at `path` is being read until the block ends.

        Raises:
            SysfsError: as the block begins: it is in quarantine, or nobody waits any more.
        """
        return Reading(self, path)


class Reading:
    """The block in which a device is read. Made by hand: a look has thousands of them."""

    __slots__ = ("_look", "_path")

    def __init__(self, look: Look, path: str) -> None:
        self._look = look
        self._path = path

    def __enter__(self) -> None:
        look = self._look
        if (why := look.quarantined.get(self._path)) is not None:
            raise SysfsError(self._path, why)
        if look.abandoned_at is not None:
            raise SysfsError(self._path, "nobody waits for this look any more")
        look.at, look.since = self._path, monotonic()

    def __exit__(self, *_: object) -> None:
        self._look.at, self._look.since = None, monotonic()


@dataclass(frozen=True, slots=True)
class DeviceNumber:
    """Type, major and minor number of a device node."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


class Host:
    """A node as a backend sees it: `sys` and `dev`, and what the host calls them.

    `root` is where the agent finds the trees (in the pod /host), `host_root` what that same place is called on
    the host: paths handed to kubelet start there.
    `stand_in` is handed out in place of everything in /dev, if the machine is only pretended and the host has none.
    `links` is what netlink tells of its network interfaces, or `None` while that is not known.
    `known` is what the last look at the same kind found, by path below /sys: facts that are out of sight by now.
    """

    def __init__(
        self, root: str = "/", host_root: str = "/", look: Look | None = None, *, stand_in: str | None = None
    ) -> None:
        # Links are followed below it, and paths that come out of that are compared with it.
        self.root = os.path.realpath(root).rstrip("/")
        self.host_root = host_root.rstrip("/")
        self._stand_in = stand_in
        self.look = look or Look()
        self.simulated = os.path.exists(f"{self.root}/{SIMULATION_MARK}")
        self.sys = Dir(f"{self.root}/sys")
        self.dev = Dir(f"{self.root}/dev")
        self.links: Links | None = None
        self.known: Mapping[str, Device] = MappingProxyType({})

    def looking(self, look: Look, links: Links | None = None, known: Mapping[str, Device] | None = None) -> "Host":
        """Return this host for one look, with what netlink tells if that is known, and what is known from before."""
        host = copy(self)
        host.look = look
        host.links = self.links if links is None else links
        host.known = self.known if known is None else known
        return host

    def kernel_path(self, directory: "Dir") -> str:
        """Return the path as the kernel knows it, without our root: `/sys/devices/...`."""
        return directory.path.removeprefix(self.root)

    def node(self, path: str, permissions: str = "rw", *, called: str | None = None) -> DeviceNode | None:
        """Return the device node `path` (`/dev/...`) as containers get it, or `None` when it is not there.

        `called` is its path in the container, if not the same.

        Raises:
            SysfsError: something else than a character device has that name.
        """
        if self.number(path) is None:
            return None
        node = self.node_named(path, permissions)
        return node if called in {None, path} else replace(node, path=called, origin=path)

    def node_named(self, path: str, permissions: str = "rw") -> DeviceNode:
        """Return the node `path` without looking whether it is there."""
        return DeviceNode(path, self.host_path(path), permissions)

    def host_path(self, path: str) -> str:
        """Return what the host calls `path` (`/dev/...`), or what stands in for it there."""
        return self._stand_in or self.host_root + path

    def number(self, path: str) -> DeviceNumber | None:
        """Return the numbers of the character device `path` (`/dev/...`), links followed; `None` when there is none.

        Raises:
            SysfsError: something else than a character device has that name, or it cannot be examined.
        """
        here = self.root + path
        try:
            status = os.stat(here)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise SysfsError(path, words(error)) from error
        if stat.S_ISCHR(status.st_mode):
            return DeviceNumber(os.major(status.st_rdev), os.minor(status.st_rdev))
        if self.simulated and stat.S_ISREG(status.st_mode):
            return _stand_in(path, rawfiles.text(here))
        raise SysfsError(path, "is not a character device")

    def target(self, path: str) -> str | None:
        """Return where the link `path` (`/dev/...`) leads in one step, as the host names it; `None` without a link.

        An absolute link starts at the host's root, wherever that is mounted here.

        Raises:
            SysfsError: something else than a link has that name.
        """
        try:
            target = os.readlink(self.root + path)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise SysfsError(path, "is not a link" if error.errno == errno.EINVAL else words(error)) from error
        return os.path.normpath(f"{os.path.dirname(path)}/{target}" if not target.startswith("/") else target)

    def reading(self, device: "Dir") -> Reading:
        """Say which device is being read until the block ends.

        Raises:
            SysfsError: the device is in quarantine: an earlier read of it has not come back yet.
        """
        return self.look.reading(self.kernel_path(device))

    def each(self, devices: Iterable["Dir"], read: Callable[["Dir"], Iterable[T]]) -> Iterator[T | Exclusion]:
        """Read one device after the other; one that cannot be read becomes an exclusion and harms no other."""
        for device in devices:
            try:
                with self.reading(device):
                    items = list(read(device))
            except SysfsError as error:
                yield unreadable(self.kernel_path(device), error)
            else:
                yield from items


def unreadable(path: str, error: SysfsError) -> Exclusion:
    return Exclusion(
        path=path,
        rule=UNREADABLE_RULE,
        evidence=str(error),
        remedy="look at the kernel log for this device; it is offered again as soon as its files can be read",
    )


@dataclass(frozen=True, slots=True, order=True)
class Dir:
    """A directory below one of the roots; names are relative to it and may contain slashes."""

    path: str

    def __truediv__(self, name: str) -> "Dir":
        return Dir(f"{self.path}/{name}")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def exists(self, name: str = ".") -> bool:
        """Return whether `name` is there; links are followed.

        Raises:
            SysfsError: that cannot be told.
        """
        return rawfiles.status(f"{self.path}/{name}") is not None

    def text(self, name: str) -> str:
        """Return the content of an attribute, stripped of white space at both ends.

        Raises:
            SysfsError: there is none, it cannot be read, or it is not text.
        """
        return rawfiles.text(f"{self.path}/{name}")

    def optional_text(self, name: str) -> str | None:
        """Return the content as `text` does, or `None` when there is no such attribute.

        Raises:
            SysfsError: it is there and cannot be read, or it is not text.
        """
        path = f"{self.path}/{name}"
        try:
            content = rawfiles.content(path, PAGE + 1)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise SysfsError(path, words(error)) from error
        return rawfiles.decoded(path, content, PAGE)

    def whole_text(self, name: str) -> str:
        """Return the content of a file that is no attribute but a report, as those of debugfs: longer than a page.

        Raises:
            SysfsError: there is none, it cannot be read, it is not text, or there is no end to it.
        """
        return rawfiles.text(f"{self.path}/{name}", REPORT)

    def optional_bytes(self, name: str, count: int) -> bytes | None:
        """Return up to `count` bytes from the beginning of a binary attribute, or `None` when there is none.

        Raises:
            SysfsError: it is there and cannot be read.
        """
        path = f"{self.path}/{name}"
        try:
            return rawfiles.content(path, count)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise SysfsError(path, words(error)) from error

    def optional_integer(self, name: str) -> int | None:
        """Return an attribute that holds a decimal number, or `None` when there is no such attribute.

        Raises:
            SysfsError: it is there and cannot be read, or it is not a decimal number.
        """
        text = self.optional_text(name)
        if text is None:
            return None
        if not text.removeprefix("-").isdecimal() or not text.isascii():
            raise SysfsError(f"{self.path}/{name}", f"{text[:40]!r} is not a decimal number")
        if not -_INT64 <= (number := int(text)) < _INT64:
            raise SysfsError(f"{self.path}/{name}", f"{text[:40]!r} is more than 64 bits")
        return number

    def link_name(self, name: str) -> str | None:
        """Return the last component of where the link `name` points to, or `None` when there is no such link.

        Raises:
            SysfsError: it is there and is no link.
        """
        path = f"{self.path}/{name}"
        try:
            return os.path.basename(os.readlink(path))
        except OSError as error:
            if error.errno in MISSING:
                return None
            problem = "is not a link" if error.errno == errno.EINVAL else words(error)
            raise SysfsError(path, problem) from error

    def followed(self) -> "Dir":
        """Return where this link leads in one step, as text: far cheaper than `resolved`, and all that a bus needs.

        Raises:
            SysfsError: it is no link.
        """
        try:
            target = os.readlink(self.path)
        except OSError as error:
            raise SysfsError(self.path, "is not a link" if error.errno == errno.EINVAL else words(error)) from error
        return Dir(os.path.normpath(f"{os.path.dirname(self.path)}/{target}"))

    def resolved(self, name: str = ".") -> "Dir":
        """Return the directory that `name` leads to, all links followed.

        Raises:
            SysfsError: it leads nowhere.
        """
        path = f"{self.path}/{name}"
        try:
            real = rawfiles.real(self.path if name == "." else path)
        except OSError as error:
            raise SysfsError(path, words(error)) from error
        if not (real.isascii() and real.isprintable()):
            raise SysfsError(path, f"leads to {real!r}, no name that the kernel gives")
        return Dir(real)

    def children(self, wanted: str | re.Pattern[str] = "*") -> list["Dir"]:
        """Return what is in the directory in natural order; nothing when it is not there.

        `wanted` is a shell's pattern or an expression that the whole name has to match.

        Raises:
            SysfsError: it is there and cannot be listed.
        """
        names = self.names()
        if wanted != "*":
            matches = wanted.fullmatch if isinstance(wanted, re.Pattern) else _matcher(wanted)
            names = [name for name in names if matches(name)]
        if len(names) > 1:
            names.sort(key=natural)
        return [self / name for name in names]

    def names(self) -> list[str]:
        """Return the names of what is in the directory, in no order; nothing when it is not there.

        Raises:
            SysfsError: it is there and cannot be listed.
        """
        try:
            return os.listdir(self.path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []
            raise SysfsError(self.path, words(error)) from error


@cache
def _matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(pattern)).match


def natural(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts card2 before card10."""
    return [(text, int(digits or -1)) for text, digits in _PIECES.findall(name)]


def _stand_in(path: str, text: str) -> DeviceNumber:
    match text.split():
        case ["c", numbers] if all(part.isdecimal() for part in numbers.split(":", 1)) and ":" in numbers:
            major, minor = numbers.split(":", 1)
            return DeviceNumber(int(major), int(minor))
        case _:
            raise SysfsError(path, "is not a character device, nor the stand-in of one")
