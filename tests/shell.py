"""Commands of the documentation, run by a shell as they stand."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from documented import REPOSITORY

SECONDS = 60.0
"""How long a command may take."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command."""

    code: int
    output: str
    """Standard output and standard error, as a person sees them."""


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run: a directory, programs that go before those of the machine, and what stands `before` bash."""

    directory: Path
    tools: Path
    environment: Mapping[str, str]
    before: Sequence[str] = ()

    def tool(self, name: str, script: str) -> None:
        """Give commands a program: lines for /bin/sh."""
        self.tools.mkdir(exist_ok=True)
        program = self.tools / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def run(self, command: str, *, until: str | None = None, within: float = SECONDS) -> Ended:
        """Run a command to its end. With `until` it gets Ctrl-C once it has printed that.

        Raises:
            TimeoutError: it did not end, or did not print that; the text is what it did print.
        """
        output = self.tools.with_name(f"{self.tools.name}.output")
        with output.open("wb") as file:
            # As from a terminal: Ctrl-C is for all of a pipe.
            popen = subprocess.Popen(
                [*self.before, "bash", "-euo", "pipefail", "-c", command],
                cwd=self.directory,
                env={**self.environment, "PATH": f"{self.tools}:{self.environment['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                if until is not None:
                    _printed(output, until)
                    os.killpg(popen.pid, signal.SIGINT)
                code = popen.wait(within)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{command}: no end; it printed: {output.read_text()}") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(popen.pid, signal.SIGKILL)
                popen.wait()
        return Ended(code, output.read_text())


def ours(directory: Path, tools: Path, before: Sequence[str] = (), *, checkout: Path = REPOSITORY) -> Shell:
    """Return a shell in which `intel-agent` and `python` are those of the test, with the checkout's code."""
    strange = ("COVERAGE_", "PYTEST_", "PYTHON", "TOX_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    shell = Shell(directory, tools / "tools", environment, before)
    for name, module in (("intel-agent", " -m intel_agent"), ("python", "")):
        shell.tool(name, f'PYTHONPATH={checkout} exec {sys.executable}{module} "$@"')
    return shell


def _printed(output: Path, what: str) -> None:
    deadline = monotonic() + SECONDS
    while what not in (text := output.read_text()):
        if monotonic() > deadline:
            raise TimeoutError(f"{what!r} was not printed: {text}")
        sleep(0.05)  # the program's output is a file: nobody tells when it grows
