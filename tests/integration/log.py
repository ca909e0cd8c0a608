"""What the agent of this process logs, as it comes out of standard output."""

from dataclasses import dataclass, field

import msgspec
import pytest
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


def parsed(text: bytes) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in text.splitlines() if line.startswith(b"{")]


@dataclass
class Log:
    """The lines so far."""

    output: pytest.CaptureFixture[bytes]
    text: bytes = b""
    _lines: list[Line] = field(default_factory=list[Line])

    async def lines(self, event: str | None = None) -> list[Line]:
        """Return all lines so far, or those of one event."""
        await to_thread.run_sync(logs.flush, 2.0)
        self.text += self.output.readouterr().out
        return [line for line in parsed(self.text) if event in {None, line.event}]

    async def events(self) -> list[str]:
        return [line.event for line in await self.lines()]
