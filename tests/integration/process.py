"""The agent as a process of its own, where one inside of the tests is not enough."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from .log import Line, parsed
from .node import Node
from .waiting import PATIENCE, until

STOP_SECONDS = PATIENCE

PATIENT = f"""
from intel_agent import __main__, control
from intel_agent.publish import deviceplugin, holdings
deviceplugin.ALLOCATE_DEADLINE = holdings.DEADLINE = control.DEADLINE = {PATIENCE}
__main__.main()
"""
"""The program, but that it waits for others as long as tests do."""


@dataclass
class Process:
    """A process and its output."""

    popen: "subprocess.Popen[bytes]"
    output: Path

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def lines(self, event: str | None = None) -> list[Line]:
        """Return what it has logged so far."""
        complete = self.output.read_bytes().rpartition(b"\n")[0]
        return [line for line in parsed(complete) if event in {None, line.event}]

    async def until_logged(self, event: str, *, times: int = 1, within: float = PATIENCE) -> list[Line]:
        """Wait for so many lines of the event."""

        def there() -> list[Line]:
            lines = self.lines(event)
            assert len(lines) >= times or self.alive, f"it ended: {self.output.read_text()}"
            return lines if len(lines) >= times else []

        return await until(there, f"{times} times {event}", within=within)

    async def wait(self, within: float = STOP_SECONDS) -> int:
        """Wait for its end and return the exit code."""
        return await to_thread.run_sync(lambda: self.popen.wait(within))

    async def stop(self, within: float = STOP_SECONDS) -> int:
        """Send SIGTERM and return the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return await self.wait(within)


@contextmanager
def process(
    node: Node,
    *,
    before: Sequence[str] = (),
    arguments: Sequence[str] = (),
    stdout: int | None = None,
    name: str = "agent",
) -> Generator[Process]:
    """Start `intel-agent run` on the node, by way of `before`, with more `arguments`; kill it when the block ends."""
    output = node.base / f"{name}.log"
    command = [*before, sys.executable, "-c", PATIENT, "run", "--config", str(node.config)]
    command += ["--root", str(node.root), "--host-root", str(node.root)]
    command += ["--runtime-directory", str(node.runtime), "--state-directory", str(node.state), *arguments]
    with output.open("ab") as file:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file if stdout is None else stdout,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield Process(popen, output)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(STOP_SECONDS)
