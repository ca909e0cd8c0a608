"""One agent for each node: a lock on a regular file in the device-plugins directory, which kubelet leaves alone."""

import errno
import fcntl
import os

import anyio
import anyio.to_thread
import structlog

log = structlog.get_logger()

NAME = ".intel-agent.lock"
PAUSE = 0.05
"""Seconds between tries."""


class NodeLock:
    """The lock of one directory. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{NAME}"
        self._file: int | None = None
        self._taken = False
        """Whether the last try found the lock in somebody else's hands."""
        self._turn = anyio.Lock()

    async def hold(self) -> None:
        """Hold the lock of the directory that has the name now; wait until there is one, and no other agent holds it.

        May be called again at any time: the directory may have been made anew.

        Raises:
            OSError: the lock cannot be taken in that directory.
        """
        async with self._turn:
            waiting = False
            while not await anyio.to_thread.run_sync(self._try):
                if self._taken and not waiting:
                    waiting = True
                    log.warning("agent.waiting", lock=self._path, problem="another agent serves this node")
                await anyio.sleep(PAUSE)

    def _try(self) -> bool:
        self._taken = False
        if self._file is not None and _same(self._file, self._path):
            return True
        self.release()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                return False  # no directory yet
            raise
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                self._taken = True
                return False
            raise
        self._file = file
        return True

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
