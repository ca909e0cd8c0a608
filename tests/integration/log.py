"""What the agent of this process logs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from anyio import to_thread

from intel_agent import log as logs

from .waiting import PATIENCE, until_async


class Line(msgspec.Struct, frozen=True):
    """One line of the log, as far as tests look at it."""

    event: str
    level: str = ""
    resource: str = ""
    device: str = ""
    rule: str = ""
    decided_by: str = ""
    setting: str = ""
    backend: str = ""
    problem: str = ""
    file: str = ""
    problems: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""
    exception: str = ""
    restart_needed: bool = False
    taint: str = ""
    what: str = ""
    pod: str = ""
    dry_run: bool = False
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
        await to_thread.run_sync(logs.flush, PATIENCE)
        return [line for line in parsed(self.path.read_bytes()) if event in {None, line.event}]

    async def until_logged(self, event: str, *, times: int = 1) -> list[Line]:
        """Wait for so many lines of the event."""

        async def there() -> list[Line]:
            lines = await self.lines(event)
            return lines if len(lines) >= times else []

        return await until_async(there, f"{times} times {event}")

    async def events(self) -> list[str]:
        return [line.event for line in await self.lines()]
