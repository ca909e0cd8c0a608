"""Our CDI files: what they define is what is wanted, as far as they can be written.

One file for each kind, replaced as a whole; files of others are read, never touched. A name leaves only when nobody
wants it, for a while already, and it is in no answer that kubelet keeps for a running pod.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

import anyio
import structlog
from anyio import to_thread

from intel_agent import ownfile
from intel_agent.latest import Latest
from intel_agent.model import ContainerEdits, Device
from intel_agent.publish import cdi, checkpoint
from intel_agent.publish.lock import NodeLock
from intel_agent.sysfs import Host

log = structlog.get_logger()

RECHECK = 10.0
"""Seconds until what could not be written is tried again, and names that nobody wants are looked at again."""
KEEP = 10.0
"""Least seconds that a name stays when nobody wants it any more: kubelet may not have noted its last answer yet."""
PREFIX = "intel-agent-"
PENDING = "its CDI file is being written"

Specs = Mapping[str, Mapping[str, ContainerEdits]]
"""By kind, then by device name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What files should say. `offered` can be had by name from now on; `others` only if they could be before."""

    directory: str
    offered: Specs
    others: Specs

    @classmethod
    def of(cls, directory: str, devices: Iterable[tuple[str, Device]], named: Collection[str]) -> "Wanted":
        """Return what is wanted for `devices`, each with its kind; those of the kinds `named` are had by name.

        Of the others, those are that have something Allocate has no words for. They are defined as a whole, so that
        a container that got the name alone finds the rest there, too; who got both gets the same twice.
        Of two devices with one name the last one has it. Those of which CDI has nothing to say have no name.
        """
        offered: dict[str, dict[str, ContainerEdits]] = {}
        others: dict[str, dict[str, ContainerEdits]] = {}
        for kind, device in devices:
            if not device.edits.has_cdi:
                continue
            by_name = kind in named or device.edits.needs_cdi
            (offered if by_name else others).setdefault(kind, {})[device.cdi_name] = device.edits
        return cls(directory, offered, others)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What files say after a try to write them."""

    defined: Mapping[str, ContainerEdits] = field(default_factory=dict[str, ContainerEdits])
    """By qualified name: of what was wanted, what is true."""
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why a name is not defined as it should be."""
    unsettled: bool = False
    """Whether time alone will change the files."""


class CdiFiles:
    """Writes one directory's files, one try after the other, while this agent serves the node."""

    def __init__(self, lock: NodeLock, device_plugins: str, host: Host) -> None:
        self._lock = lock
        self._device_plugins = device_plugins
        self._host = host
        self._foreign = _Foreign()
        self._wanted: Latest[Wanted | None] = Latest(None)
        self._tried: Latest[int] = Latest(0)
        """The revision of what was wanted when a try ended; its own revision counts tries."""
        self._leaving: dict[str, float] = {}
        """Since when nobody wants a name that our files define."""
        self._restored: set[str] = set()
        """Kinds of which the names that kubelet remembers were defined again, once after the start."""
        self._problem: str | None = None
        self.outcome: Latest[Outcome] = Latest(Outcome())

    def want(self, wanted: Wanted) -> None:
        """Have files say this soon."""
        if wanted != self._wanted.value:
            self._wanted.set(wanted)

    def look(self) -> None:
        """See soon whether files still say what is wanted: some came or went."""
        if (wanted := self._wanted.value) is not None and wanted.offered:
            self._wanted.set(wanted)

    @property
    def tries(self) -> int:
        """How often it was tried to make files say what is wanted."""
        return self._tried.revision

    async def tried(self) -> None:
        """Wait until it was tried to have files say what is wanted now."""
        while self._tried.value < self._wanted.revision:
            await self._tried.newer(self._tried.revision)

    @property
    def undefined(self) -> dict[str, str]:
        """What is offered by name and not defined, and why."""
        if (wanted := self._wanted.value) is None:
            return {}
        outcome = self.outcome.value
        return {
            name: outcome.problems.get(name, PENDING)
            for name, edits in _qualified(wanted.offered).items()
            if outcome.defined.get(name) != edits
        }

    async def run(self) -> None:
        """Write, for ever."""
        revision = 0
        while True:
            wanted, revision = await self._next(revision)
            outcome = await self._try(wanted)
            problem = next(iter(outcome.problems.values()), None)
            if problem is not None and problem != self._problem:
                log.error("cdi.failed", directory=wanted.directory, problem=problem)
            self._problem = problem
            if outcome != self.outcome.value:
                self.outcome.set(outcome)
            self._tried.set(revision)

    async def _next(self, revision: int) -> tuple[Wanted, int]:
        """Wait until something else is wanted, or it is time to try again."""
        pause = RECHECK if revision and self.outcome.value.unsettled else float("inf")
        with anyio.move_on_after(pause):
            await self._wanted.newer(revision)
        wanted = self._wanted.value
        assert wanted is not None  # noqa: S101 - nothing else is ever set
        return wanted, self._wanted.revision

    async def _try(self, wanted: Wanted) -> Outcome:
        await self._lock.hold()  # files are the serving agent's, like sockets
        try:
            return await to_thread.run_sync(self._write, wanted, abandon_on_cancel=True)
        except OSError as error:
            problem = str(error)
        except Exception as error:
            problem = f"unexpected: {error!r}"
            if problem != self._problem:
                log.exception("cdi.failed", directory=wanted.directory, problem=problem)
            self._problem = problem
        return Outcome(problems=dict.fromkeys(_qualified(wanted.offered), problem), unsettled=True)

    def _write(self, wanted: Wanted) -> Outcome:
        """Make files say what is wanted; each changes at once or not at all."""
        directory = wanted.directory
        if wanted.offered:
            os.makedirs(directory, exist_ok=True)
        stored = {
            file.removeprefix(PREFIX).removesuffix(".json"): cdi.defined(ownfile.read(os.path.join(directory, file)))
            for file in _listed(directory)
            if _ours(file)
        }
        foreign = self._foreign.names(directory)
        own = self._own(wanted, foreign)
        kept = self._kept(wanted, stored, {kind: frozenset(each) for kind, each in own.items()}, foreign)
        problems: dict[str, str] = {}
        for kind in {*stored, *own, *kept}:
            try:
                devices = {**kept.get(kind, {}), **own.get(kind, {})}
                make(os.path.join(directory, f"{PREFIX}{kind}.json"), kind, devices, lambda: self._lock.held)
            except OSError as error:
                there = stored.get(kind, {})
                failed = [name for name, edits in own.get(kind, {}).items() if there.get(name) != edits]
                problems |= dict.fromkeys((cdi.qualified(kind, name) for name in failed), str(error))
        offered = _qualified(wanted.offered)
        true = {name: edits for name, edits in offered.items() if name not in problems}
        left_to_others = not foreign.isdisjoint(offered)
        return Outcome(true, problems, unsettled=bool(problems or self._leaving) or left_to_others)

    def _own(self, wanted: Wanted, foreign: frozenset[str]) -> dict[str, dict[str, cdi.Edits]]:
        """Return what is offered, in the words of a file; names of others are theirs: two definitions help nobody."""
        return {
            kind: {
                name: cdi.edits(edits, self._host)
                for name, edits in devices.items()
                if cdi.qualified(kind, name) not in foreign
            }
            for kind, devices in wanted.offered.items()
        }

    def _kept(
        self,
        wanted: Wanted,
        stored: Mapping[str, Mapping[str, cdi.Edits]],
        own: Mapping[str, frozenset[str]],
        foreign: frozenset[str],
    ) -> dict[str, dict[str, cdi.Edits]]:
        """Return what is not offered any more and cannot go yet."""
        unwanted = {
            cdi.qualified(kind, name): (kind, name, edits)
            for kind, devices in {**stored, **self._remembered(wanted, stored)}.items()
            for name, edits in devices.items()
            if name not in own.get(kind, ()) and cdi.qualified(kind, name) not in foreign
        }
        now = monotonic()
        leaving = {name: self._leaving.get(name, now) for name in unwanted}
        over = {name for name, since in leaving.items() if since <= now - KEEP}
        if over:
            over -= self._in_answers(over)
        self._leaving = {name: since for name, since in leaving.items() if name not in over}
        kept: dict[str, dict[str, cdi.Edits]] = {}
        for each in self._leaving:
            kind, name, edits = unwanted[each]
            kept.setdefault(kind, {})[name] = edits
        return kept

    def _in_answers(self, otherwise: Collection[str]) -> frozenset[str]:
        """Return the names in the answers that kubelet keeps; `otherwise` if that cannot be told."""
        try:
            return checkpoint.read(self._device_plugins).cdi_names
        except (OSError, ValueError):
            return frozenset(otherwise)

    def _remembered(
        self, wanted: Wanted, stored: Mapping[str, Mapping[str, cdi.Edits]]
    ) -> dict[str, dict[str, cdi.Edits]]:
        """Return, once for each kind, what kubelet's answers name and no file defines: after a reboot, above all."""
        new = wanted.others.keys() - self._restored
        if not new:
            return {}
        try:
            remembered = checkpoint.read(self._device_plugins).cdi_names
        except (OSError, ValueError):
            return {}  # the next try may know more
        self._restored |= new
        return {
            kind: {
                **stored.get(kind, {}),
                **{
                    name: cdi.edits(edits, self._host)
                    for name, edits in wanted.others[kind].items()
                    if cdi.qualified(kind, name) in remembered
                },
            }
            for kind in new
        }


class _Foreign:
    """Names of our vendor in files of others. Such a file is read when it changes: it may be long."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}

    def names(self, directory: str) -> frozenset[str]:
        known: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}
        for file in _listed(directory):
            if _ours(file) or file.startswith(".") or not file.endswith((".json", ".yaml")):
                continue
            path = os.path.join(directory, file)
            with contextlib.suppress(OSError):
                status = os.stat(path)
                identity = (status.st_ino, status.st_size, status.st_mtime_ns)
                before = self._known.get(path)
                known[path] = before if before and before[0] == identity else (identity, frozenset(_names(path)))
        self._known = known
        return frozenset(name for _, names in known.values() for name in names)


def _names(path: str) -> frozenset[str]:
    return frozenset(cdi.names(ownfile.read(path)))


def _qualified(specs: Specs) -> dict[str, ContainerEdits]:
    return {cdi.qualified(kind, name): edits for kind, devices in specs.items() for name, edits in devices.items()}


def _listed(directory: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(directory))
    return []


def _ours(file: str) -> bool:
    return file.startswith(PREFIX) and file.endswith(".json")


def make(path: str, kind: str, devices: Mapping[str, cdi.Edits], serving: Callable[[], bool]) -> None:
    """Have the file define these devices, or go; it is not touched without need."""
    if not devices:
        if serving():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return
    content = cdi.spec(kind, devices)
    if ownfile.read(path) != content:
        ownfile.replace(path, content, 0o644, serving)
        log.info("cdi.written", file=path)
