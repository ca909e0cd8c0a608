"""On which terms containers have devices, kept for the agent that comes after this one.

A regular file of our own in kubelet's directory, which kubelet leaves alone; only the serving agent writes it.
"""

import os
import threading
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import anyio
import msgspec
import structlog
from anyio import to_thread

from intel_agent import ownfile
from intel_agent.latest import Latest
from intel_agent.publish.lock import NodeLock

log = structlog.get_logger()

NAME = ".intel-agent.terms.json"
SEVERAL = 2
"""Stands for any number of ids above one: how many there are makes no difference."""
RETRY, RECHECK = 10.0, 60.0
"""Seconds until what could not be written is tried again, and until a sound file is looked at: it may be gone."""
LAST_WRITE = 1.0
"""Seconds that an agent which ends takes to write what it wanted last."""


class Term(NamedTuple):
    """What a device is to those who have it."""

    shares: int
    """Among how many ids it is divided; 1: whoever has it has it alone."""
    path: str
    """Where the device is, below /sys; nothing where that is not known."""
    parts: tuple[str, ...] = ()
    """What else they have with it, below /sys."""


Terms: TypeAlias = Mapping[str, Mapping[str, Term]]
"""By resource and device id."""

_decoder = msgspec.json.Decoder(dict[str, dict[str, Term]])


def read(directory: str) -> Terms:
    """Return what the file says; nothing if there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    content = ownfile.read(os.path.join(directory, NAME))
    return _decoder.decode(content) if content else {}


def merged(ours: Terms, kubelets: Mapping[str, Mapping[str, int]]) -> Terms:
    """Return the terms of both; `kubelets` are counts only. Where they differ, a device that one had alone is such."""
    terms: dict[str, dict[str, Term]] = {resource: dict(devices) for resource, devices in ours.items()}
    for resource, devices in kubelets.items():
        known = terms.setdefault(resource, {})
        for device, count in devices.items():
            term = known.get(device, Term(count, ""))
            known[device] = term._replace(shares=1 if count == 1 else term.shares)
    return terms


class TermsFile:
    """Writes the terms, one try after the other, while this agent serves the node."""

    def __init__(self, lock: NodeLock, directory: str) -> None:
        self._lock = lock
        self._path = os.path.join(directory, NAME)
        self._wanted: Latest[Terms] = Latest({})
        self._tried: Latest[int] = Latest(0)
        self._problem = ""
        self._writing = threading.Lock()

    def want(self, terms: Terms) -> None:
        """Have the file say this soon."""
        if terms != self._wanted.value:
            self._wanted.set(terms)

    async def tried(self, patience: float) -> None:
        """Wait until it was tried to have the file say what is wanted now, at most so many seconds."""
        with anyio.move_on_after(patience):
            while self._tried.value < self._wanted.revision:
                await self._tried.newer(self._tried.revision)

    async def run(self) -> None:
        """Write, for ever; what was not written when that ends is written then."""
        revision = 0
        try:
            while True:
                with anyio.move_on_after(RETRY if self._problem else RECHECK):
                    await self._wanted.newer(revision)
                if not (revision := self._wanted.revision):
                    continue
                await self._lock.hold()
                await self._try(revision)
        finally:
            if self._tried.value < self._wanted.revision and self._lock.held:
                with anyio.move_on_after(LAST_WRITE, shield=True):
                    await self._try(self._wanted.revision)

    async def _try(self, revision: int) -> None:
        problem = await to_thread.run_sync(self._write, self._wanted.value, abandon_on_cancel=True)
        if problem not in {"", self._problem}:
            log.error("terms.failed", file=self._path, problem=problem)
        self._problem = problem
        self._tried.set(revision)

    def _write(self, terms: Terms) -> str:
        """Have the file say this; return what went wrong, if anything did."""
        content = msgspec.json.encode(terms)
        try:
            with self._writing:  # a write that nobody waits for any more does not undo the next one
                if ownfile.read(self._path) != content:
                    ownfile.replace(self._path, content, 0o600, lambda: self._lock.held)
        except OSError as error:
            return str(error)
        return ""
