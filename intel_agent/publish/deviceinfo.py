"""Device-info files: what network plugins, and who looks at pods' networks, read of a device.

Source: the Device Information Specification of the Network Plumbing Working Group. One file for each device, made
before kubelet hears of it, and removed when kubelet has forgotten it and no pod holds it. A ledger says which files are
ours, so that an agent that comes later removes them, and nobody else's.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import msgspec
import structlog
from anyio import to_thread

from intel_agent import ownfile
from intel_agent.latest import Latest
from intel_agent.publish.holdings import Key
from intel_agent.publish.lock import NodeLock

log = structlog.get_logger()

RECHECK = 10.0
"""Seconds until what could not be written is tried again."""
MODE = 0o444
LEDGER = "device-info.json"
PENDING = "its device-info file is being written"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What files should say, by resource and id of the device; `held` are other devices that pods may hold."""

    directory: str = ""
    files: Mapping[Key, bytes] = field(default_factory=dict[Key, bytes])
    held: frozenset[Key] = frozenset()

    def path(self, key: Key) -> str:
        resource, device = key
        return os.path.join(self.directory, f"{resource}-{device}-device.json".replace("/", "-"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What files say after a try to write them."""

    written: Mapping[Key, bytes] = field(default_factory=dict[Key, bytes])
    problems: Mapping[Key, str] = field(default_factory=dict[Key, str])
    kept: frozenset[Key] = frozenset()
    """Devices that nobody offers any more and whose files stay, because pods hold them."""


class _Entry(msgspec.Struct, frozen=True):
    """A file of ours."""

    resource: str
    device: str
    content: str

    @property
    def key(self) -> Key:
        return self.resource, self.device


_Ledger = dict[str, _Entry]
"""By path."""


class DeviceInfoFiles:
    """Writes the files, one try after the other, while this agent serves the node."""

    def __init__(self, lock: NodeLock, directory: str) -> None:
        """Write; `directory` is where the ledger is."""
        self._lock = lock
        self._ledger_path = os.path.join(directory, LEDGER)
        self._ledger: _Ledger | None = None
        self._wanted: Latest[Wanted] = Latest(Wanted())
        self._tried: Latest[int] = Latest(0)
        self._problem: str | None = None
        self.outcome: Latest[Outcome] = Latest(Outcome())

    def want(self, wanted: Wanted) -> None:
        """Have files say this soon. Without a directory there are none."""
        if not wanted.directory:
            wanted = Wanted(held=wanted.held)
        if wanted != self._wanted.value or not self._tried.value:
            self._wanted.set(wanted)

    def look(self) -> None:
        """See soon whether files still say what is wanted: some came or went."""
        if self._wanted.value.files:
            self._wanted.set(self._wanted.value)

    async def tried(self) -> None:
        """Wait until it was tried to have files say what is wanted now."""
        while self._tried.value < self._wanted.revision:
            await self._tried.newer(self._tried.revision)

    @property
    def undefined(self) -> dict[Key, str]:
        """Which devices have no true file, and why."""
        outcome = self.outcome.value
        return {
            key: outcome.problems.get(key, PENDING)
            for key, content in self._wanted.value.files.items()
            if outcome.written.get(key) != content
        }

    @property
    def unsettled(self) -> bool:
        """Whether the end of a pod will let a file go."""
        return bool(self.outcome.value.kept)

    async def run(self) -> None:
        """Write, for ever."""
        revision = 0
        while True:
            with anyio.move_on_after(RECHECK if self.outcome.value.problems else float("inf")):
                await self._wanted.newer(revision)
            revision = self._wanted.revision
            wanted = self._wanted.value
            outcome = await self._try(wanted)
            problem = next(iter(outcome.problems.values()), None)
            if problem is not None and problem != self._problem:
                log.error("deviceinfo.failed", directory=wanted.directory, problem=problem)
            self._problem = problem
            self._tried.set(revision)
            if outcome != self.outcome.value:
                self.outcome.set(outcome)

    async def _try(self, wanted: Wanted) -> Outcome:
        await self._lock.hold()  # files are the serving agent's, like sockets
        try:
            return await to_thread.run_sync(self._write, wanted, abandon_on_cancel=True)
        except OSError as error:
            return Outcome(problems=dict.fromkeys(wanted.files, str(error)))

    def _write(self, wanted: Wanted) -> Outcome:
        """Make files say what is wanted; each changes at once or not at all."""
        ledger = self._known()
        entries = {wanted.path(key): _Entry(*key, content.decode()) for key, content in wanted.files.items()}
        if entries:
            os.makedirs(wanted.directory, exist_ok=True)
        # What is about to be ours stands there before it is.
        self._note({**ledger, **{path: ledger.get(path, each) for path, each in entries.items()}})
        problems: dict[Key, str] = {}
        for path, each in entries.items():
            try:
                _make(path, each.content.encode(), self._lock)
            except OSError as error:
                problems[each.key] = str(error)
        gone = {path: each for path, each in ledger.items() if path not in entries}
        kept = {path: each for path, each in gone.items() if each.key in wanted.held}
        for path in gone.keys() - kept.keys():
            _remove(path, gone[path].content.encode(), self._lock)
        self._note({**kept, **entries})
        written = {key: content for key, content in wanted.files.items() if key not in problems}
        return Outcome(written, problems, frozenset(each.key for each in kept.values()))

    def _known(self) -> _Ledger:
        """Return the ledger, read once."""
        if self._ledger is None:
            try:
                content = ownfile.read(self._ledger_path)
                self._ledger = msgspec.json.decode(content, type=dict[str, _Entry]) if content else {}
            except (OSError, ValueError) as error:
                log.error("record.refused", file=self._ledger_path, problem=str(error))
                self._ledger = {}
        return self._ledger

    def _note(self, ledger: _Ledger) -> None:
        """Have the ledger say this. One that cannot be written keeps no device from being offered."""
        if ledger == self._ledger:
            return
        try:
            os.makedirs(os.path.dirname(self._ledger_path), mode=0o755, exist_ok=True)
            ownfile.replace(self._ledger_path, msgspec.json.encode(ledger), 0o600, lambda: self._lock.held)
        except OSError as error:
            log.warning("state.failed", file=self._ledger_path, problem=str(error))
        self._ledger = ledger


def _make(path: str, content: bytes, lock: NodeLock) -> None:
    if ownfile.read(path) != content:
        ownfile.replace(path, content, MODE, lambda: lock.held)


def _remove(path: str, content: bytes, lock: NodeLock) -> None:
    """Remove a file of ours, unless somebody else has put another one there."""
    with contextlib.suppress(OSError):
        if lock.held and ownfile.read(path) == content:
            os.unlink(path)
