"""On which terms containers have devices, kept for the agent that comes after this one.

A regular file of our own in kubelet's directory, which kubelet leaves alone; only the serving agent writes it.
"""

import os
from collections.abc import Mapping
from typing import TypeAlias

import anyio
import msgspec
import structlog
from anyio import to_thread

from intel_agent.latest import Latest
from intel_agent.publish.lock import NodeLock

log = structlog.get_logger()

NAME = ".intel-agent.terms.json"

Terms: TypeAlias = Mapping[str, Mapping[str, int]]
"""By resource and device id: among how many ids the device is or was divided, for those who have it. 1 is alone."""

_decoder = msgspec.json.Decoder(dict[str, dict[str, int]])


def read(directory: str) -> Terms:
    """Return what the file says; nothing if there is none, or it is damaged."""
    try:
        with open(os.path.join(directory, NAME), "rb") as file:
            return _decoder.decode(file.read())
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}


class TermsFile:
    """Writes the terms, one try after the other, while this agent serves the node."""

    def __init__(self, lock: NodeLock, directory: str) -> None:
        self._lock = lock
        self._path = os.path.join(directory, NAME)
        self._wanted: Latest[Terms] = Latest({})
        self._written: Latest[int] = Latest(0)

    def want(self, terms: Terms) -> None:
        """Have the file say this soon."""
        if terms != self._wanted.value:
            self._wanted.set(terms)

    async def tried(self, patience: float) -> None:
        """Wait until it was tried to have the file say what is wanted now, at most so many seconds."""
        with anyio.move_on_after(patience):
            while self._written.value < self._wanted.revision:
                await self._written.newer(self._written.revision)

    async def run(self) -> None:
        """Write, for ever. What cannot be written is told of once, and tried again with the next terms."""
        revision, told = 0, ""
        while True:
            terms, revision = await self._wanted.newer(revision)
            await self._lock.hold()
            problem = await to_thread.run_sync(self._write, terms, abandon_on_cancel=True)
            if problem not in {"", told}:
                log.error("terms.failed", file=self._path, problem=problem)
            told = problem
            self._written.set(revision)

    def _write(self, terms: Terms) -> str:
        """Write the file at one stroke; return what went wrong, if anything did."""
        draft = f"{self._path}.tmp"
        try:
            with open(draft, "wb") as file:
                file.write(msgspec.json.encode(terms))
            os.rename(draft, self._path)
        except OSError as error:
            return str(error)
        return ""
