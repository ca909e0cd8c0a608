"""An administrator's word about devices: kept until it is taken back, over restarts and boots."""

import os
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from intel_agent import statefile
from intel_agent.errors import AgentError
from intel_agent.health.bodies import above, body
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Fault, Reason

FILE = "marks.json"
VERSION = 1
LIMIT = 1 << 20
"""The largest file that is read, in bytes."""
Word = Literal["unhealthy", "healthy", "auto"]
"""Unhealthy or healthy whatever is seen or told, or as it is seen and told again."""
Place: TypeAlias = tuple[str, str]
"""Kind and path."""


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word that counts."""

    word: Literal["unhealthy", "healthy"]
    reason: str = ""

    @property
    def fault(self) -> Fault:
        return Fault(Reason.MARKED, "administrator", self.reason or "marked by `intel-agent mark`")


Marks: TypeAlias = Mapping[Place, Mark]


class _File(msgspec.Struct, frozen=True):
    """What is in the file."""

    version: int
    marks: tuple[tuple[Place, Mark], ...]


def of(marks: Marks, kind: str, device: Device) -> Mark | None:
    """Return the word that counts for a device: the one nearest to it."""
    if not marks:
        return None
    return next((mark for path in above(device.sysfs_path) if (mark := marks.get((kind, path))) is not None), None)


def places(inventory: Inventory, name: str) -> list[Place]:
    """Return what a person means by `name`: an id, with or without its resource, a PCI address, or a path in /sys.

    Raises:
        AgentError: nothing or several things are called so.
    """
    devices = [(kind, device) for kind, found in inventory.found.items() for device in found.devices]
    named = {(kind, each.sysfs_path) for kind, each in devices if name in _names(each) or name == each.sysfs_path} or {
        (kind, body(each.sysfs_path)) for kind, each in devices if name in _addresses(each)
    }
    paths = {path for _, path in named}
    if not named:
        raise AgentError(f"{name!r} is no device here: give an id, a PCI address or a path of `intel-agent devices`")
    if len(paths) > 1:
        known = ", ".join(sorted(f"{each.resource}/{each.id}" for _, each in devices if each.sysfs_path in paths))
        raise AgentError(f"{name!r} may be any of: {known}")
    return sorted(named)


def _names(device: Device) -> Iterable[str]:
    return (device.id, f"{device.resource}/{device.id}", *device.ids)


def _addresses(device: Device) -> Iterable[str]:
    path = body(device.sysfs_path)
    return (path, path.rpartition("/")[2]) if path != device.sysfs_path else (path.rpartition("/")[2],)


def read(directory: str) -> Marks:
    """Return the marks of before; none if there is no file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or of another version.
    """
    content = statefile.read(os.path.join(directory, FILE), VERSION, limit=LIMIT)
    return dict(msgspec.json.decode(content, type=_File).marks) if content else {}


def write(directory: str, marks: Marks) -> None:
    """Keep the marks.

    Raises:
        OSError: they cannot be written.
    """
    content = msgspec.json.encode(_File(VERSION, tuple(marks.items())))
    statefile.write(os.path.join(directory, FILE), content)
