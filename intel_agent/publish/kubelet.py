"""Kubelet as a plugin sees it: which one is there, and whether it takes us.

A kubelet's incarnation is its socket file: inode and change time together, as the number alone is reused at once.
inotify, the end of a stream and a timer only make us look; while somebody misses kubelet a thread looks often.
"""

import errno
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import structlog

from intel_agent._proto import v1beta1
from intel_agent.client import calling
from intel_agent.errors import DirectoryGoneError, KubeletError
from intel_agent.latest import Latest

log = structlog.get_logger()

VERSION = "v1beta1"
REGISTER_DEADLINE = 20.0
"""How long kubelet may take to answer Register, in seconds; it gives itself 10 to reach us."""
IDENTIFY_DEADLINE = 1.0
"""How long whoever serves a socket file may take to prove it, in seconds."""
MISSED, CALM = 0.05, 30.0
"""Seconds between looks: while kubelet is missed, and while all is well."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of kubelet's socket file."""

    inode: int
    changed: int
    """Change time in nanoseconds."""


class Kubelet:
    """The kubelet behind a device-plugins directory. `incarnation` is `None` while there is no socket file."""

    def __init__(self, directory: str) -> None:
        self.directory = directory.rstrip("/")
        self.socket = f"{self.directory}/kubelet.sock"
        self.incarnation: Latest[Incarnation | None] = Latest(None)
        self._missed_by = 0
        self._nobody_misses_it = threading.Event()
        self._look = anyio.Event()
        self._looking = anyio.Lock()

    def look(self) -> None:
        """Look at the socket file soon: something hints at change."""
        self._look.set()

    @contextmanager
    def missing(self) -> Generator[None]:
        """Look often until the block ends."""
        self._missed_by += 1
        self._nobody_misses_it.clear()
        self.look()
        try:
            yield
        finally:
            self._missed_by -= 1
            if not self._missed_by:
                self._nobody_misses_it.set()

    async def watch(self) -> None:
        """Keep `incarnation` true, for ever.

        Raises:
            DirectoryGoneError: the directory was removed under our mount and can never come back.
        """
        try:
            while True:
                found = await self.seen()
                if self._missed_by:
                    await anyio.to_thread.run_sync(self._look_often, found, abandon_on_cancel=True)
                else:
                    with anyio.move_on_after(CALM):
                        await self._look.wait()
                self._look = anyio.Event()
        finally:
            self._nobody_misses_it.set()  # ends the thread that nobody waits for any more

    async def seen(self) -> Incarnation | None:
        """Look now, and return what is there.

        Raises:
            DirectoryGoneError: the directory was removed under our mount and can never come back.
        """
        async with self._looking:
            found = await anyio.to_thread.run_sync(_incarnation, self.directory, self.socket)
            if found != self.incarnation.value:
                log.info("kubelet.found" if found else "kubelet.lost", socket=self.socket)
                self.incarnation.set(found)
            return found

    def _look_often(self, known: Incarnation | None) -> None:
        """Return when the socket file is another one than `known`, or nobody misses kubelet any more."""
        while not self._nobody_misses_it.wait(MISSED) and _incarnation(self.directory, self.socket) == known:
            pass

    async def present(self) -> Incarnation:
        """Wait for a socket file and return its incarnation."""
        while (found := self.incarnation.value) is None:
            await self.incarnation.newer(self.incarnation.revision)
        return found

    async def other_than(self, known: Incarnation) -> None:
        """Wait until another kubelet is there."""
        while self.incarnation.value in {None, known}:
            await self.incarnation.newer(self.incarnation.revision)

    async def register(self, endpoint: str, resource: str, options: v1beta1.DevicePluginOptions) -> None:
        """Register a resource that is served on the socket file `endpoint`.

        Raises:
            KubeletError: kubelet cannot be reached, does not answer in time, or refuses, in its own words.
        """
        request = v1beta1.RegisterRequest(version=VERSION, endpoint=endpoint, resource_name=resource, options=options)
        async with calling(self.socket, KubeletError) as channel:
            await v1beta1.RegistrationStub(channel).register(request, timeout=REGISTER_DEADLINE)


def _incarnation(directory: str, path: str) -> Incarnation | None:
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            _check_directory(directory)
        return None
    return Incarnation(status.st_ino, status.st_ctime_ns)


def _check_directory(directory: str) -> None:
    """Refuse a directory that exists only as our mount: whoever makes it anew makes another one.

    Raises:
        DirectoryGoneError: it is such a one.
    """
    try:
        gone = os.stat(directory).st_nlink == 0
    except OSError:
        return  # no mount: when it comes back it comes back under this path
    if gone:
        raise DirectoryGoneError(
            f"{directory} was removed on the host and this mount of it is dead: the container needs a new one"
        )


async def served_by_another(path: str) -> bool:
    """Return whether a device plugin answers on the socket file `path`: a connection alone proves nothing."""
    if not await anyio.to_thread.run_sync(os.path.exists, path):
        return False
    try:
        async with calling(path, KubeletError) as channel:
            plugin = v1beta1.DevicePluginStub(channel)
            await plugin.get_device_plugin_options(v1beta1.Empty(), timeout=IDENTIFY_DEADLINE)
    except KubeletError:
        return False
    return True
