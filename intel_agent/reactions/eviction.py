"""Evicts pods that hold a device which has been unhealthy for long, so that what made them makes them elsewhere.

Only what a fault says for sure counts, only a pod that kubelet itself names, and never faster than configured. Who
has waited longest goes first.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import anyio
import structlog
from anyio import to_thread

from intel_agent.backoff import BackOff
from intel_agent.cluster.pods import MIRROR, PodMetadata, Pods
from intel_agent.config import Eviction
from intel_agent.errors import (
    BusyError,
    ClusterError,
    ConflictError,
    ExistsError,
    InternalError,
    MissingError,
    RefusedError,
)
from intel_agent.model import Reason
from intel_agent.publish import checkpoint
from intel_agent.publish.holders import Holders
from intel_agent.publish.holdings import Key
from intel_agent.reactions.condition import named
from intel_agent.reactions.health import Unhealthy, meant
from intel_agent.reactions.observer import Observer

log = structlog.get_logger()

AGE = 5.0
"""How old kubelet's word of who holds what may be, in seconds."""
MINUTE = 60.0
"""Seconds in which no more than the configured number of pods is evicted."""
FIRST = 10.0
"""Seconds until a pod is tried again that could not be evicted."""
SLOWEST = 300.0
"""Most seconds between two tries of one pod."""
PASS = 30.0
"""Seconds after which no further pod is tried before everything is looked at anew."""
SYSTEM = "kube-system"
"""The namespace that is left alone unless it is named."""
_PURPOSE = "eviction"
_ANSWERS = (BusyError, ConflictError, ExistsError, InternalError, RefusedError)
"""What was answered about one pod, and says nothing of the others."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A pod that holds what is unhealthy. `uid` is empty where kubelet's file does not say which pod it is."""

    namespace: str
    name: str
    uid: str
    unhealthy: tuple[Unhealthy, ...]

    @property
    def pod(self) -> str:
        return f"{self.namespace}/{self.name}"


def lasting(since: Mapping[Key, float], unhealthy: Iterable[Unhealthy], now: float) -> dict[Key, float]:
    """Return since when each device has been unhealthy; what healed is forgotten."""
    return {key: since.get(key, now) for key in map(_key, unhealthy)}


def overdue(
    since: Mapping[Key, float], unhealthy: Iterable[Unhealthy], now: float, after: float
) -> tuple[Unhealthy, ...]:
    """Return what has been unhealthy for long enough, the longest first."""
    known = [(since.get(_key(each), now), each) for each in unhealthy]
    return tuple(each for start, each in sorted(known, key=lambda pair: pair[0]) if now - start >= after)


def _key(each: Unhealthy) -> Key:
    return each.device.resource, each.device.id


def victims(unhealthy: Iterable[Unhealthy], held: Mapping[Key, str | None], uids: Mapping[Key, str]) -> list[Victim]:
    """Return the pods that hold what is unhealthy, in its order."""
    found: dict[tuple[str, str, str], list[Unhealthy]] = {}
    for each in unhealthy:
        for key in ((each.device.resource, id_) for id_ in each.device.ids):
            if (holder := held.get(key)) is not None:
                namespace, pod, _ = holder.split("/", 2)
                of = found.setdefault((namespace, pod, uids.get(key, "")), [])
                if each not in of:
                    of.append(each)
    return [Victim(*pod, tuple(devices)) for pod, devices in found.items()]


def spared(victim: Victim, section: Eviction) -> str | None:
    """Return why the pod is left alone, as far as kubelet's word says so."""
    if not victim.uid:
        return "kubelet's checkpoint does not say which pod of this name it is"
    if "-" not in victim.uid:  # kubelet makes a hash for them, the API server never does
        return "it is a static pod"
    if section.namespaces and victim.namespace not in section.namespaces:
        return "its namespace is not one of eviction.namespaces"
    if not section.namespaces and victim.namespace == SYSTEM:
        return f"it is in {SYSTEM}, which eviction.namespaces does not name"
    return None


def excused(victim: Victim, metadata: PodMetadata, section: Eviction) -> str | None:
    """Return why the pod is left alone, as far as the API server's word says so."""
    if metadata.uid != victim.uid:
        return "another pod has its name now"
    if metadata.deletion_timestamp is not None:
        return "it ends already"
    if MIRROR in metadata.annotations:
        return "it is a static pod"
    if metadata.of_daemon_set and not section.daemon_sets:
        return "it belongs to a DaemonSet, which would make it here again"
    return None


def allowed(evicted: deque[float], now: float, per_minute: int) -> bool:
    """Return whether one more may go, and forget those that were `evicted` longer ago than a minute."""
    while evicted and evicted[0] <= now - MINUTE:
        evicted.popleft()
    return len(evicted) < per_minute


class _Case:
    """A pod that is to go: when it is tried next, what was said of it, and how that went.

    `unanswered` is whether the API server did not answer when it was tried last, or to nobody.
    """

    def __init__(self) -> None:
        self.pauses = BackOff(FIRST, SLOWEST)
        self.next = float("-inf")
        self.said: str | None = None
        self.settled = False
        self.unanswered = False


class Evictor:
    """Evicts while the configuration wants it. `device_plugins` is the directory of kubelet's checkpoint."""

    def __init__(self, observed: Observer, holders: Holders, device_plugins: str) -> None:
        self._observer = observed
        self._membership = observed.membership
        self._holders = holders
        self._device_plugins = device_plugins
        self._waiting = False
        """Whether kubelet does not tell who holds what."""
        self._since: dict[Key, float] = {}
        """Since when what is unhealthy and counts has been so."""
        self._evicted: deque[float] = deque()
        """When pods were evicted in the last minute."""

    async def run(self) -> None:
        """Evict what has to go, for ever."""
        await self._observer.serve(lambda config: config.eviction, self._follow, self._settle)

    async def _follow(self, section: Eviction) -> None:
        self._since = {}
        cases: dict[str, _Case] = {}
        revision = self._observer.inventory.revision
        while True:
            due = self._due(section)
            known = await self._victims(due) if due else []
            if known is not None:
                cases = {each.pod + each.uid: cases.get(each.pod + each.uid) or _Case() for each in known}
                await self._evict(section, [(each, cases[each.pod + each.uid]) for each in known])
                if not any(each.unanswered for each in cases.values()):
                    self._membership.got_over(_PURPOSE)
            revision = await self._observer.change(revision)

    def _due(self, section: Eviction) -> tuple[Unhealthy, ...]:
        """Return what has been unhealthy for long enough now."""
        reasons = [Reason(each) for each in section.reasons]
        unhealthy, now = list(meant(self._observer.health(), section.kinds, reasons)), anyio.current_time()
        self._since = lasting(self._since, unhealthy, now)
        return overdue(self._since, unhealthy, now, section.after_seconds)

    async def _victims(self, due: Iterable[Unhealthy]) -> list[Victim] | None:
        """Return the pods that hold what is due; `None` when kubelet does not tell: then nobody goes."""
        holdings = await self._holders.holdings(AGE)
        if not holdings.known:
            if not self._waiting:
                log.warning("eviction.waiting", problem="kubelet does not tell who holds what")
            self._waiting = True
            return None
        self._waiting = False
        return victims(due, holdings.held, await to_thread.run_sync(self._uids))

    def _uids(self) -> dict[Key, str]:
        """Return the ids of pods by what they have; nothing when kubelet's file cannot be read."""
        try:
            return checkpoint.pods(self._device_plugins)
        except (OSError, ValueError):
            return {}

    async def _evict(self, section: Eviction, known: Iterable[tuple[Victim, _Case]]) -> None:
        """Evict as many as are allowed now."""
        until = anyio.current_time() + PASS
        for victim, case in known:
            if case.settled or anyio.current_time() < case.next:
                continue
            if (why := spared(victim, section)) is not None:
                _skip(victim, case, why)
                continue
            if anyio.current_time() >= until or not allowed(self._evicted, anyio.current_time(), section.per_minute):
                return
            case.next = anyio.current_time() + case.pauses.pause()
            try:
                await self._one(section, victim, case)
            except ClusterError as error:
                self._membership.met(_PURPOSE, error)
                case.unanswered = True
                return
            case.unanswered = False

    async def _one(self, section: Eviction, victim: Victim, case: _Case) -> None:
        """Evict a pod, if it is one to evict.

        Raises:
            ClusterError: the API server does not answer, or does not tell of pods.
        """
        pods = Pods(self._membership.api)
        try:
            metadata = await pods.metadata(victim.namespace, victim.name)
        except MissingError:
            case.settled = True
            return
        if (why := excused(victim, metadata, section)) is not None:
            _skip(victim, case, why)
            return
        concerned = {_key(each) for each in victim.unhealthy}
        if not (unhealthy := [each for each in self._due(section) if _key(each) in concerned]):
            return  # it healed meanwhile
        # An answer that is lost counts: the pod may be gone.
        self._evicted.append(anyio.current_time())
        try:
            await pods.evict(victim.namespace, victim.name, victim.uid, dry_run=section.dry_run)
        except MissingError:
            self._evicted.pop()
            case.settled = True
        except _ANSWERS as error:
            self._evicted.pop()
            if case.said != (problem := str(error)):
                log.warning("eviction.postponed", pod=victim.pod, problem=problem)
                case.said = problem
        else:
            case.settled = True
            faults = [named((each,)) for each in unhealthy]
            log.warning("pod.evicted", pod=victim.pod, faults=faults, dry_run=section.dry_run)

    async def _settle(self, section: Eviction) -> None:
        del section
        self._membership.got_over(_PURPOSE)


def _skip(victim: Victim, case: _Case, why: str) -> None:
    if case.said != why:
        log.info("eviction.skipped", pod=victim.pod, problem=why)
        case.said = why
