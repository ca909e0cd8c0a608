"""One agent for each node: a lock on a regular file in the device-plugins directory, which kubelet leaves alone."""

import errno
import fcntl
import os

import anyio
import anyio.to_thread
import structlog

from intel_agent.errors import words

log = structlog.get_logger()

NAME = ".intel-agent.lock"
PAUSE = 0.05
"""Seconds between tries."""
_NO_DIRECTORY = ""


class NodeLock:
    """The lock of one directory. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{NAME}"
        self._file: int | None = None
        self._turn = anyio.Lock()

    @property
    def held(self) -> bool:
        return self._file is not None

    async def hold(self) -> None:
        """Hold the lock of the directory that has the name now; wait until there is one, and no other agent holds it.

        May be called again at any time: the directory may have been made anew.
        """
        async with self._turn:
            told = _NO_DIRECTORY
            while (problem := await anyio.to_thread.run_sync(self._try)) is not None:
                if problem not in {told, _NO_DIRECTORY}:
                    told = problem
                    log.warning("agent.waiting", lock=self._path, problem=problem)
                await anyio.sleep(PAUSE)

    def _try(self) -> str | None:
        """Return what keeps us from holding it, or `None` when we do."""
        if self._file is not None and _same(self._file, self._path):
            return None
        self.release()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return _NO_DIRECTORY if error.errno in {errno.ENOENT, errno.ENOTDIR} else words(error)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            return "another agent serves this node" if isinstance(error, BlockingIOError) else words(error)
        self._file = file
        return None

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _same(file: int, path: str) -> bool:
    try:
        here, there = os.fstat(file), os.stat(path)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
