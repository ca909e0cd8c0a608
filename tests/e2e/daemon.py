"""Processes that run beside the tests and never outlive them."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from .waiting import PATIENCE, eventually

STOP_SECONDS = 15.0
"""How long a process may take to end after SIGTERM."""


class Daemon:
    """One process, its log and its end; it can be started again after it ended."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self._environment = None if environment is None else {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.command[0]} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.alive, f"{self.command[0]} runs already"
        with self.log.open("ab") as log:
            self._process = _spawn(self.command, log, self._environment)

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self, *, within: float = STOP_SECONDS) -> int:
        """Send SIGTERM and return the exit code; a process that stays is killed and is an error."""
        if self.alive:
            self.terminate()
        return self.wait(within=within)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(within=STOP_SECONDS)

    def wait(self, *, within: float) -> int:
        """
        Return the exit code.

        Raises:
            TimeoutError: the process still ran at the deadline; it has been killed.
        """
        if self._process is None:
            return 0
        within = max(within, PATIENCE)
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            raise TimeoutError(f"{self.command} still ran {within:g} s after SIGTERM") from error

    def pause(self) -> None:
        """Stop the process with SIGSTOP and wait until it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: self._state() == "T", "stopped process", within=5)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Return the processor time used so far, in user and kernel mode, from /proc/PID/stat."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _state(self) -> str:
        return self._stat()[0]

    def _stat(self) -> list[str]:
        # The second field, the name in parentheses, may hold blanks.
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()


def _spawn(command: Sequence[str], log: IO[bytes], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # The kernel kills the process when the tests' own process dies, however that happens.
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
