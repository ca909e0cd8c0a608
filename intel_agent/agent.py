"""The whole wiring: one task group that reads from top to bottom."""

import gc
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec
import structlog
from anyio import to_thread

from intel_agent import control, machine, readiness
from intel_agent import log as logs
from intel_agent.cluster.api import ACCOUNT
from intel_agent.cluster.membership import Membership
from intel_agent.cluster.memory import Memory
from intel_agent.cluster.resolution import Basis, Resolution
from intel_agent.cluster.sections import Sections
from intel_agent.config import Config, load
from intel_agent.errors import ConfigError
from intel_agent.health import xpumd
from intel_agent.health.judges import XPUMD, Words
from intel_agent.health.monitor import Monitor
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.model import Event
from intel_agent.notices import Notices
from intel_agent.publish.holders import Holders
from intel_agent.publish.kubelet import Kubelet
from intel_agent.publish.publisher import Publisher
from intel_agent.reactions.condition import ConditionKeeper
from intel_agent.reactions.eviction import Evictor
from intel_agent.reactions.observer import Observer as HealthObserver
from intel_agent.reactions.taint import TaintKeeper
from intel_agent.sources import files, kernel
from intel_agent.sources.hints import Works, listened
from intel_agent.sources.known import KnownFiles
from intel_agent.sources.look import NODE_IP
from intel_agent.sources.scan import Scanner
from intel_agent.sources.sectionfiles import SectionFiles
from intel_agent.status.service import Facts, Status
from intel_agent.sysfs import Host
from intel_agent.web.service import Web
from intel_agent.web.snapshot import Observer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says, and no file."""

    config_file: Path | None = None
    root: str = "/"
    host_root: str = "/"
    runtime_directory: str = "/run/intel-agent"
    """For what does not outlive a boot: what is wrong with devices, facts of those in use, a pretended machine."""
    state_directory: str = "/var/lib/intel-agent"
    """For what outlives a boot: the device sections that were in force last, and what was marked."""
    account_directory: str = ACCOUNT
    """Where the token and the authority of the service account are."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def calm_collector() -> None:
    """Have Python's collector of cycles stop the loop rarely: it holds everything up for as long as it looks.

    What is there now lives for ever and need not be looked at. A full look at 10,000 devices takes 30 ms.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def give_way() -> None:
    """Have threads that look at devices or make pages give way to the loop after a millisecond, not after five."""
    sys.setswitchinterval(0.001)


async def run(settings: Settings) -> None:
    """Serve the node until SIGTERM or SIGINT.

    Raises:
        ConfigError: the configuration cannot be used.
        DirectoryGoneError: the device-plugins directory is gone for good.
        SimulationError: the machine to be pretended cannot be made.
    """
    calm_collector()
    give_way()
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
        self.section_files = SectionFiles(settings.environment)
        self._settling = anyio.Lock()
        self.inventory = Latest(Inventory())
        file = settings.config_file
        self._config_directory = None if file is None else str(file.absolute().parent)
        self._reload = anyio.Event()
        self._refused: list[str] = []
        self._host = host
        self._serving = anyio.Event()
        self.liveness = Liveness()
        self.kubelet = Kubelet(config.kubelet.device_plugin_directory)
        node_ip = settings.environment.get(NODE_IP, "")
        seen = Latest(Inventory())
        known = KnownFiles(settings.runtime_directory)
        self.scanner = Scanner(self.config, host, seen, self.liveness, known, node_ip=node_ip)
        words = Latest[Words]({})
        self.judge = xpumd.Judge(self.config, words, directory=settings.runtime_directory)
        self.monitor = Monitor(
            self.config,
            host,
            seen,
            self.inventory,
            words=words,
            doubt=self.scanner.hint,
            directory=settings.runtime_directory,
            marks_directory=settings.state_directory,
        )
        self.publisher = Publisher(
            self.config,
            self.inventory,
            self.kubelet,
            host,
            self._suspect,
            begin=self._begin,
            liveness=self.liveness,
            runtime_directory=settings.runtime_directory,
        )
        self._events: Counter[str] = Counter()
        observer = Observer(
            self.config,
            self.inventory,
            self.scanner,
            self.publisher,
            self.kubelet,
            self._events,
            judges=lambda: {} if self.judge.heard is None else {XPUMD: self.judge.heard},
            cluster_problems=lambda: len(self.membership.problems),
            missing=lambda: self.unready,
        )
        holders = Holders(lambda: self.config.value.kubelet.pod_resources_socket)
        self.web = Web(self.config, settings.environment, observer.snapshot, self.liveness, holders)
        self.notices = Notices(self.config, self.inventory, holders, self.membership, self.kubelet.directory)
        watched = HealthObserver(
            self.config, self.inventory, lambda: self.publisher.published, self.membership, lambda: self._waiting
        )
        evictor = Evictor(watched, holders, self.kubelet.directory)
        self._reactions = (ConditionKeeper(watched), TaintKeeper(watched), evictor)
        self.status = Status(observer.snapshot, holders, logs.history(), self._facts)

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
            group.start_soon(self.monitor.run)
            group.start_soon(self.judge.run)
            group.start_soon(self._answer_calls)
            group.start_soon(self.kubelet.watch)
            group.start_soon(self.publisher.run)
            group.start_soon(self.web.run)
            group.start_soon(self.notices.run)
            group.start_soon(self._react)
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

        async def listen(works: Works) -> None:
            def missed(*, overrun: bool) -> None:
                works()  # whoever says this listens
                self._missed(overrun=overrun)

            await kernel.follow(self._happened, missed)

        await listened(listen)

    def _happened(self, event: Event) -> None:
        backends = [each for each in self.config.value.devices.backends if event.subsystem in each.subsystems]
        if backends:
            self._events[event.subsystem] += 1
            self.judge.happened(event)
            self.monitor.happened(event, backends)
            self.scanner.hint(each.name for each in backends)

    async def _begin(self) -> None:
        """Take over the node: the agent before this one is gone, or there was none."""
        await self.judge.recall()
        await self.monitor.recall()
        self._serving.set()

    async def _answer_calls(self) -> None:
        """Answer who asks on this node, once this is the agent that serves it."""
        await self._serving.wait()
        calls = {"mark": self._mark, "status": self.status.status, "explain": self.status.explain}
        await control.serve(self._settings.runtime_directory, calls)

    async def _react(self) -> None:
        """Act on what is unhealthy, once this is the agent that serves the node."""
        await self._serving.wait()
        async with anyio.create_task_group() as group:
            for each in self._reactions:
                group.start_soon(each.run)

    async def _mark(self, arguments: Mapping[str, str]) -> control.Answer:
        words = (arguments.get(each, "") for each in ("device", "word", "reason"))
        return control.Answer(lines=await self.monitor.mark(*words))

    def _facts(self) -> Facts:
        file = self._settings.config_file
        node = self.membership.name or socket.gethostname()
        return Facts(node, None if file is None else str(file), tuple(self._refused))

    def _suspect(self, kind: str) -> None:
        self.scanner.hint([kind])

    def _missed(self, *, overrun: bool) -> None:
        if overrun:
            log.warning("events.overrun")
        self.scanner.hint()
        self.monitor.look()

    @property
    def _cdi_directory(self) -> str:
        return self.config.value.cdi.directory.rstrip("/")  # as changes in it are told of

    @property
    def _info_directory(self) -> str:
        return self.config.value.device_info.directory.rstrip("/")

    def _directories(self) -> dict[str, set[str]]:
        """Return the directories to watch, and of which kinds each one tells."""
        kinds: dict[str, set[str]] = {self.kubelet.directory: set(), self._cdi_directory: set()}
        if self._config_directory is not None:
            kinds.setdefault(self._config_directory, set())
        others = {*self.section_files.directories, *filter(None, [self._info_directory])}
        kinds |= {each: set() for each in others if each not in kinds}
        for backend in self.config.value.devices.backends:
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
        if self._info_directory in directories:
            self.publisher.infos.look()
        if not directories.isdisjoint({self._config_directory, *self.section_files.directories}):
            self._reload.set()
        if hinted := {kind for each in directories for kind in kinds.get(each, ())}:
            self.scanner.hint(hinted)

    async def _follow_config(self) -> None:
        while True:
            await self._reload.wait()
            self._reload = anyio.Event()
            await self.reload()

    async def reload(self) -> None:
        """Read the files again; a valid change takes effect, an invalid one is refused and the last good one stays."""
        before = self._wanted.value
        config = await self._read_again() or before
        if config == before:
            await self._settle()  # a file that continues a section may be another one
            return
        await _configure_log(config)
        self._wanted.set(config)
        await self._settle()
        self.membership.labels.set(self.membership.labels.value)  # whoever waits for labels learns for how long
        log.info("config.reloaded", restart_needed=_at_start_only(config) != _at_start_only(before))

    async def _read_again(self) -> Config | None:
        """Return what the file says, or `None` when it cannot be used."""
        try:
            config = await to_thread.run_sync(read, self._settings.config_file)
        except ConfigError as error:
            if error.problems != self._refused:
                log.error("config.refused", problems=error.problems)
            self._refused = error.problems
            return None
        self._refused = []
        return config

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
        return msgspec.structs.replace(config, devices=await self.section_files.completed(resolution.devices))

    @property
    def _resolution(self) -> Resolution | None:
        """Which sections are in force on this node; `None` while others are decided on, and not in force yet."""
        resolution, whole = self.sections.resolution, self.section_files.whole
        if resolution is None or whole is None or resolution.devices != whole.given:
            return None
        return resolution

    @property
    def _waiting(self) -> bool:
        """Whether it is not known which devices this node should have."""
        return self._resolution is None or self._resolution.basis is Basis.WAITING

    @property
    def unready(self) -> tuple[str, ...]:
        """What is missing until pods can get what this node has."""
        return tuple(
            readiness.missing(
                self.scanner.backends,
                self.inventory.value,
                self.publisher.published,
                self.kubelet.incarnation.value,
                self._resolution,
                refused=self.section_files.problems,
            )
        )


def _at_start_only(config: Config) -> tuple[str, str]:
    """Return what takes effect at the next start only."""
    return config.kubelet.device_plugin_directory, config.simulation.node


async def _configure_log(config: Config) -> None:
    await to_thread.run_sync(logs.configure, config.log.level, config.log.format)
