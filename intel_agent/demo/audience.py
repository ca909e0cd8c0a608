"""Who watches: a person at a terminal, or whoever reads lines. Neither can slow the agent down: threads write."""

import math
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import anyio
from anyio import to_thread

from intel_agent.demo.chronicle import Chronicle, Line

if TYPE_CHECKING:
    from intel_agent.demo.picture import Screen, View

FRAME = 0.1
"""Least seconds between two pictures."""
CLOCK = 1.0
"""Most seconds between two pictures: a clock in it shows that all is alive."""


class Audience(Protocol):
    """Shows what happens."""

    async def follow(self) -> None:
        """Show everything, as it happens, for ever."""

    async def finish(self) -> None:
        """Show what was not shown yet."""


@contextmanager
def standard_output() -> Generator[TextIO]:
    """Take standard output away from everybody else: the agent writes its log there, and it would garble a picture."""
    encoding = sys.stdout.encoding or "utf-8"
    with os.fdopen(os.dup(1), "w", encoding=encoding, errors="replace", newline="\n") as output:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        try:
            yield output
        finally:
            os.dup2(output.fileno(), 1)


@contextmanager
def audience(output: TextIO, chronicle: Chronicle, view: "Callable[[], View]") -> Generator[Audience]:
    """Show pictures on a terminal that can, and lines otherwise."""
    if not output.isatty() or os.environ.get("TERM", "dumb") in {"dumb", "unknown"}:
        yield Reader(output, chronicle)
        return
    from intel_agent.demo.picture import Screen

    with Screen(output) as screen:
        yield Viewer(screen, view)


class Reader:
    """Gets plain lines, one for each thing that happens."""

    def __init__(self, output: TextIO, chronicle: Chronicle) -> None:
        self._output = output
        self._chronicle = chronicle
        self._told = 0

    async def follow(self) -> None:
        while True:
            revision = self._chronicle.lines.revision
            await self.finish()
            await self._chronicle.lines.newer(revision)

    async def finish(self) -> None:
        lines = self._chronicle.lines.value[self._told :]
        self._told += len(lines)
        if lines:
            await to_thread.run_sync(self._write, lines)

    def _write(self, lines: tuple[Line, ...]) -> None:
        self._output.writelines(f"{each.seconds:7.3f} s  {each.text}\n" for each in lines)
        self._output.flush()


class Viewer:
    """Sees the table and the last lines, drawn anew whenever something changed."""

    def __init__(self, screen: "Screen", view: "Callable[[], View]") -> None:
        self._screen = screen
        self._view = view

    async def follow(self) -> None:
        shown, since = None, -math.inf
        while True:
            view = self._view()
            if view != shown or anyio.current_time() - since >= CLOCK:
                shown, since = view, anyio.current_time()
                await to_thread.run_sync(self._screen.draw, view)
            await anyio.sleep(FRAME)

    async def finish(self) -> None:
        self._screen.last = self._view()
