"""What the agent of this process logs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from anyio import to_thread

from intel_agent import log as logs


class Line(msgspec.Struct, frozen=True):
    """One line of the log, as far as tests look at it."""

    event: str
    level: str = ""
    resource: str = ""
    device: str = ""
    backend: str = ""
    problem: str = ""
    problems: tuple[str, ...] = ()
    message: str = ""
    exception: str = ""
    restart_needed: bool = False
    taint: str = ""
    overrides: tuple[str, ...] = ()


def parsed(text: bytes) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in text.splitlines() if line.startswith(b"{")]


def unexpected(lines: Iterable[Line]) -> list[Line]:
    """Return errors, and what libraries complain of."""
    return [
        line for line in lines if line.level == "error" or (line.event, line.level) == ("library.logged", "warning")
    ]


@dataclass(frozen=True)
class Log:
    """The lines so far, in a file."""

    path: Path

    async def lines(self, event: str | None = None) -> list[Line]:
        """Return all lines so far, or those of one event."""
        await to_thread.run_sync(logs.flush, 2.0)
        return [line for line in parsed(self.path.read_bytes()) if event in {None, line.event}]

    async def events(self) -> list[str]:
        return [line.event for line in await self.lines()]
