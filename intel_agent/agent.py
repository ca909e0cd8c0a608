"""The whole wiring: one task group that reads from top to bottom."""

import ctypes
import gc
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec
import structlog
from anyio import to_thread

from intel_agent import log as logs
from intel_agent import machine, readiness
from intel_agent.cluster.api import ACCOUNT
from intel_agent.cluster.membership import Membership
from intel_agent.cluster.memory import Memory
from intel_agent.cluster.sections import Sections
from intel_agent.config import Config, load
from intel_agent.errors import ConfigError
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.model import Event
from intel_agent.publish.kubelet import Kubelet
from intel_agent.publish.publisher import Publisher
from intel_agent.sources import files, kernel
from intel_agent.sources.scan import Scanner
from intel_agent.sysfs import Host

log = structlog.get_logger()

EVENTS_AGAIN = 30.0
"""Seconds until the kernel's events are asked for again when they could not be had."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says, and no file."""

    config_file: Path | None = None
    root: str = "/"
    host_root: str = "/"
    runtime_directory: str = "/run/intel-agent"
    """For what does not outlive a boot: a pretended machine."""
    state_directory: str = "/var/lib/intel-agent"
    """For what outlives a boot: the device sections that were in force last."""
    account_directory: str = ACCOUNT
    """Where the token and the authority of the service account are."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def calm_collector() -> None:
    """Have Python's collector of cycles stop the loop rarely: it holds everything up for as long as it looks.

    What is there now lives for ever and need not be looked at. A full look at 10,000 devices takes 30 ms.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def share_heap() -> None:
    """Have all threads take memory from one heap: what is free there is of use to every one (docs/performance.md).

    To be called before the first thread begins. Source: mallopt(3). A C library without such a thing does without it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""


async def run(settings: Settings) -> None:
    """Serve the node until SIGTERM or SIGINT.

    Raises:
        ConfigError: the configuration cannot be used.
        DirectoryGoneError: the device-plugins directory is gone for good.
        SimulationError: the machine to be pretended cannot be made.
    """
    calm_collector()
    config = await to_thread.run_sync(read, settings.config_file)
    pretended, directory = config.simulation.node, settings.runtime_directory
    async with machine.served(pretended, directory, settings.root, settings.host_root) as host:
        await Agent(settings, config, host).run()


def read(path: Path | None) -> Config:
    return load(path).config


class Agent:
    """Sources, state and publishers of one node."""

    def __init__(self, settings: Settings, config: Config, host: Host) -> None:
        self._settings = settings
        self._wanted = Latest(config)
        """What the file says; `config` is what is in force on this node."""
        self.config = Latest(config)
        self.membership = Membership(self._wanted, settings.environment, settings.account_directory)
        self.sections = Sections(self.membership.labels, Memory(settings.state_directory, self.membership.name))
        self._settling = anyio.Lock()
        self.inventory = Latest(Inventory())
        file = settings.config_file
        self._config_directory = None if file is None else str(file.absolute().parent)
        self._reload = anyio.Event()
        self._refused: list[str] = []
        self._events_problem = ""
        self._host = host
        self.kubelet = Kubelet(config.kubelet.device_plugin_directory)
        self.scanner = Scanner(self.config, host, self.inventory)
        self.publisher = Publisher(self.config, self.inventory, self.kubelet, host, self._suspect)

    async def run(self) -> None:
        """Run until a signal says stop; then end streams, unlink sockets and return."""
        await _configure_log(self.config.value)
        self.config.set(await self._in_force())
        log.info("agent.started", kinds=[each.name for each in self.config.value.devices.backends])
        async with anyio.create_task_group() as group:
            group.start_soon(self._obey_signals, group.cancel_scope)
            group.start_soon(self._follow_config)
            group.start_soon(self._follow_labels)
            group.start_soon(self.membership.run, lambda: not self.unready)
            group.start_soon(self._follow_kernel)
            group.start_soon(files.follow, self._directories, self._files_changed)
            group.start_soon(self.scanner.run)
            group.start_soon(self.kubelet.watch)
            group.start_soon(self.publisher.run)
        log.info("agent.stopped")

    async def _obey_signals(self, scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload.set()
                    continue
                log.info("agent.stopping", signal=number.name)
                scope.cancel()
                return

    async def _follow_kernel(self) -> None:
        """Follow the kernel's events; without them the tick still finds everything, later."""
        while True:
            try:
                await kernel.follow(self._happened, self._missed)
            except Exception as error:  # the border of one source
                problem = str(error) if isinstance(error, OSError) else f"unexpected: {error!r}"
                if problem != self._events_problem:
                    log.error("events.unavailable", problem=problem, exc_info=not isinstance(error, OSError))
                self._events_problem = problem
            await anyio.sleep(EVENTS_AGAIN)

    def _happened(self, event: Event) -> None:
        kinds = [each.name for each in self.config.value.devices.backends if event.subsystem in each.subsystems]
        if kinds:
            self.scanner.hint(kinds)

    def _suspect(self, kind: str) -> None:
        self.scanner.hint([kind])

    def _missed(self, *, overrun: bool) -> None:
        self._events_problem = ""  # whoever says this listens
        if overrun:
            log.warning("events.overrun")
        self.scanner.hint()

    @property
    def _cdi_directory(self) -> str:
        return self.config.value.cdi.directory.rstrip("/")  # as changes in it are told of

    def _directories(self) -> dict[str, set[str]]:
        """Return the directories to watch, and of which kinds each one tells."""
        kinds: dict[str, set[str]] = {self.kubelet.directory: set()}
        if self._config_directory is not None:
            kinds.setdefault(self._config_directory, set())
        backends = self.config.value.devices.backends
        if any(backend.cdi != "none" for backend in backends):
            kinds.setdefault(self._cdi_directory, set())
        for backend in backends:
            for directory in backend.directories:
                kinds.setdefault(self._host.root + directory, set()).add(backend.name)
        return kinds

    def _files_changed(self, directories: frozenset[str]) -> None:
        kinds = self._directories()
        if self.kubelet.directory in directories:
            self.kubelet.look()
            self.publisher.audit.hint()
        if self._cdi_directory in directories:
            self.publisher.cdi.look()
        if self._config_directory in directories:
            self._reload.set()
        if hinted := {kind for each in directories for kind in kinds.get(each, ())}:
            self.scanner.hint(hinted)

    async def _follow_config(self) -> None:
        while True:
            await self._reload.wait()
            self._reload = anyio.Event()
            await self.reload()

    async def reload(self) -> None:
        """Read the file again; a valid change takes effect, an invalid one is refused and the last good one stays."""
        before = self._wanted.value
        try:
            config = await to_thread.run_sync(read, self._settings.config_file)
        except ConfigError as error:
            if error.problems != self._refused:
                log.error("config.refused", problems=error.problems)
            self._refused = error.problems
            return
        self._refused = []
        if config == before:
            return
        await _configure_log(config)
        self._wanted.set(config)
        await self._settle()
        self.membership.labels.set(self.membership.labels.value)  # whoever waits for labels learns for how long
        log.info("config.reloaded", restart_needed=_at_start_only(config) != _at_start_only(before))

    async def _follow_labels(self) -> None:
        """Let a change of the node's labels, and the end of waiting for them, take effect as a change of the file."""
        labels, revision = self.membership.labels, self.membership.labels.revision
        while True:
            with anyio.move_on_after(self.sections.patience):
                _, revision = await labels.newer(revision)
            await self._settle()

    async def _settle(self) -> None:
        """Put in force what the file says for this node."""
        async with self._settling:
            config = await self._in_force()
            if config != self.config.value:
                self.config.set(config)
                self.scanner.hint()

    async def _in_force(self) -> Config:
        """Return the configuration of this node."""
        config = self._wanted.value
        resolution = await self.sections.settle(config)
        return msgspec.structs.replace(config, devices=resolution.devices)

    @property
    def unready(self) -> tuple[str, ...]:
        """What is missing until pods can get what this node has."""
        resolution = self.sections.resolution
        if resolution is not None and resolution.devices != self.config.value.devices:
            resolution = None  # decided, and not in force yet
        return tuple(
            readiness.missing(
                self.scanner.backends,
                self.inventory.value,
                self.publisher.published,
                self.kubelet.incarnation.value,
                resolution,
            )
        )


def _at_start_only(config: Config) -> tuple[str, str]:
    """Return what takes effect at the next start only."""
    return config.kubelet.device_plugin_directory, config.simulation.node


async def _configure_log(config: Config) -> None:
    await to_thread.run_sync(logs.configure, config.log.level, config.log.format)
