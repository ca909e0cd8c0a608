"""What the last look at a kind found, kept for the agent that comes after this one.

Some facts go out of sight while a pod uses a device, and come back with it. Kinds that need them (`Backend.remembers`)
have a file each; it means something within one boot only.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
import structlog

from intel_agent import statefile
from intel_agent.model import Device

log = structlog.get_logger()

VERSION = 1

ByPath = Mapping[str, Device]
NOTHING: ByPath = MappingProxyType({})


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a file."""

    version: int
    boot: str
    devices: tuple[Device, ...]


@dataclass(slots=True)
class KnownFiles:
    """The files of one directory. Every method may touch them, so it belongs in a worker thread."""

    directory: str
    boot: str = ""
    """Which boot this is; read when it is needed."""
    _written: dict[str, tuple[Device, ...]] = field(default_factory=dict[str, tuple[Device, ...]])
    _problems: dict[str, str] = field(default_factory=dict[str, str])

    def recalled(self, kind: str) -> ByPath:
        """Return what was found last since this boot; nothing, and a word in the log, if the file is no good."""
        path = self._path(kind)
        try:
            content = statefile.read(path, VERSION, self._this_boot())
            devices = msgspec.json.decode(content, type=_Record).devices if content else ()
        except (OSError, ValueError) as error:  # a ValidationError of msgspec is a ValueError
            log.error("record.refused", file=path, problem=str(error))
            return NOTHING
        return by_path(devices)

    def keep(self, kind: str, devices: tuple[Device, ...]) -> None:
        """Have the file say this; what goes wrong is said in the log, once for each change."""
        if self._written.get(kind) == devices:
            return
        path = self._path(kind)
        try:
            record = _Record(VERSION, self._this_boot(), devices)
            statefile.write(path, msgspec.json.encode(record, enc_hook=_plain))
        except OSError as error:
            problem = str(error)
            if self._problems.get(kind) != problem:
                log.warning("state.failed", file=path, problem=problem)
            self._problems[kind] = problem
        else:
            self._written[kind] = devices
            self._problems.pop(kind, None)

    def _path(self, kind: str) -> str:
        return os.path.join(self.directory, f"known-{kind}.json")

    def _this_boot(self) -> str:
        self.boot = self.boot or statefile.boot()
        return self.boot


def by_path(devices: Iterable[Device]) -> ByPath:
    return {device.sysfs_path: device for device in devices}


def _plain(value: object) -> object:
    if isinstance(value, MappingProxyType):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # of texts
    raise NotImplementedError  # how msgspec is told that this is nothing for a hook
