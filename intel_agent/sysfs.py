"""Typed reads below the roots of a node's /sys and /dev.

Sources: Documentation/filesystems/sysfs.rst (one value a file, at most a page), Documentation/admin-guide/devices.rst.
A missing optional attribute is `None`; everything else that is odd raises `SysfsError` with the path.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from time import monotonic
from types import MappingProxyType

from intel_agent.errors import SysfsError
from intel_agent.model import UNREADABLE_RULE, Device, DeviceNode, Exclusion

PAGE = 4096
"""The most that the kernel puts into one attribute, in bytes."""

SIMULATION_MARK = ".intel-agent-simulation"
"""A file with this name in the root says: a simulated node; device nodes may be stand-ins (regular files)."""

_INT64 = 2**63
_PIECES = re.compile(r"([^0-9]*)([0-9]*)")
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


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

    def looking(self, look: Look) -> "Host":
        """Return this host for one look."""
        host = copy(self)
        host.look = look
        return host

    def kernel_path(self, directory: "Dir") -> str:
        """Return the path as the kernel knows it, without our root: `/sys/devices/...`."""
        return directory.path.removeprefix(self.root)

    def node(self, path: str, permissions: str = "rw") -> DeviceNode | None:
        """Return the device node `path` (`/dev/...`) as containers get it, or `None` when it is not there.

        Raises:
            SysfsError: something else than a character device has that name.
        """
        return None if self.number(path) is None else self.node_named(path, permissions)

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
            if error.errno in _MISSING:
                return None
            raise SysfsError(path, _words(error)) from error
        if stat.S_ISCHR(status.st_mode):
            return DeviceNumber(os.major(status.st_rdev), os.minor(status.st_rdev))
        if self.simulated and stat.S_ISREG(status.st_mode):
            return _stand_in(path, _read(here))
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
            if error.errno in _MISSING:
                return None
            raise SysfsError(path, "is not a link" if error.errno == errno.EINVAL else _words(error)) from error
        return os.path.normpath(f"{os.path.dirname(path)}/{target}" if not target.startswith("/") else target)

    @contextmanager
    def reading(self, device: "Dir") -> Generator[None]:
        """Say which device is being read until the block ends.

        Raises:
            SysfsError: the device is in quarantine: an earlier read of it has not come back yet.
        """
        path = self.kernel_path(device)
        if (why := self.look.quarantined.get(path)) is not None:
            raise SysfsError(path, why)
        if self.look.abandoned_at is not None:
            raise SysfsError(path, "nobody waits for this look any more")
        self.look.at, self.look.since = path, monotonic()
        try:
            yield
        finally:
            self.look.at, self.look.since = None, monotonic()

    def each(
        self, devices: Iterable["Dir"], read: Callable[["Dir"], Iterable[Device | Exclusion]]
    ) -> Iterator[Device | Exclusion]:
        """Read one device after the other; one that cannot be read becomes an exclusion and harms no other."""
        for device in devices:
            try:
                with self.reading(device):
                    items = list(read(device))
            except SysfsError as error:
                items = [unreadable(self.kernel_path(device), error)]
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
        return _stat(f"{self.path}/{name}") is not None

    def text(self, name: str) -> str:
        """Return the content of an attribute, stripped of white space at both ends.

        Raises:
            SysfsError: there is none, it cannot be read, or it is not text.
        """
        return _read(f"{self.path}/{name}")

    def optional_text(self, name: str) -> str | None:
        """Return the content as `text` does, or `None` when there is no such attribute.

        Raises:
            SysfsError: it is there and cannot be read, or it is not text.
        """
        path = f"{self.path}/{name}"
        try:
            return _read(path)
        except SysfsError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _MISSING:
                return None
            raise

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
            return PurePosixPath(os.readlink(path)).name
        except OSError as error:
            if error.errno in _MISSING:
                return None
            problem = "is not a link" if error.errno == errno.EINVAL else _words(error)
            raise SysfsError(path, problem) from error

    def resolved(self, name: str = ".") -> "Dir":
        """Return the directory that `name` leads to, all links followed.

        Raises:
            SysfsError: it leads nowhere.
        """
        path = f"{self.path}/{name}"
        try:
            real = os.path.realpath(path, strict=True)
        except OSError as error:
            raise SysfsError(path, _words(error)) from error
        if not (real.isascii() and real.isprintable()):
            raise SysfsError(path, f"leads to {real!r}, no name that the kernel gives")
        return Dir(real)

    def children(self, pattern: str = "*") -> list["Dir"]:
        """Return what is in the directory and matches `pattern`, in natural order; nothing when it is not there.

        Raises:
            SysfsError: it is there and cannot be listed.
        """
        try:
            names = os.listdir(self.path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []
            raise SysfsError(self.path, _words(error)) from error
        return [self / name for name in sorted(fnmatch.filter(names, pattern), key=natural)]


def natural(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts card2 before card10."""
    return [(text, int(digits or -1)) for text, digits in _PIECES.findall(name)]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise SysfsError(path, _words(error)) from error


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read(PAGE + 1) or b""
    except OSError as error:
        raise SysfsError(path, _words(error)) from error
    if len(content) > PAGE:
        raise SysfsError(path, f"is longer than an attribute can be ({PAGE} bytes)")
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise SysfsError(path, "is not text") from error
    if not text.isprintable() and any(letter not in "\n\t" and not letter.isprintable() for letter in text):
        raise SysfsError(path, "is not text")
    return text


def _stand_in(path: str, text: str) -> DeviceNumber:
    match text.split():
        case ["c", numbers] if all(part.isdecimal() for part in numbers.split(":", 1)) and ":" in numbers:
            major, minor = numbers.split(":", 1)
            return DeviceNumber(int(major), int(minor))
        case _:
            raise SysfsError(path, "is not a character device, nor the stand-in of one")


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
