"""Keeps track of which device sections are in force, says so when that changes, and remembers it."""

import math
from collections.abc import Callable

import anyio
import anyio.to_thread
import structlog

from intel_agent.cluster.memory import Memory
from intel_agent.cluster.resolution import PATIENCE, Basis, Known, Resolution, resolved
from intel_agent.config import Config, Devices, Labels
from intel_agent.latest import Latest

log = structlog.get_logger()


class Sections:
    """The device sections of this node. `resolution` is the last decision."""

    def __init__(
        self, labels: Latest[Labels | None], memory: Memory, clock: Callable[[], float] = anyio.current_time
    ) -> None:
        self._labels = labels
        self._memory = memory
        self._clock = clock
        self._missed_since: float | None = None
        """Since when the labels are needed and unknown."""
        self._problem: str | None = None
        self._meant: Devices | None = None
        """The sections that were in force last because somebody meant them for this node."""
        self.resolution: Resolution | None = None

    @property
    def patience(self) -> float:
        """The seconds until waiting for the labels ends; infinite when nobody waits."""
        if self._meant is not None or self._missed_since is None:
            return math.inf
        if self.resolution is None or self.resolution.basis is not Basis.WAITING:
            return math.inf
        return max(0.0, self._missed_since + PATIENCE - self._clock())

    async def settle(self, config: Config) -> Resolution:
        """Decide anew."""
        labels = self._labels.value
        if not config.node_overrides or labels is not None:
            self._missed_since = None
        elif self._missed_since is None:
            self._missed_since = self._clock()
        waited = 0.0 if self._missed_since is None else self._clock() - self._missed_since
        remembered = None
        if config.node_overrides:
            remembered = await anyio.to_thread.run_sync(self._memory.recalled, config)
        resolution = resolved(config, Known(labels, remembered, self._meant, waited))
        _tell(self.resolution, resolution)
        self.resolution = resolution
        if resolution.basis in {Basis.FILE, Basis.LABELS, Basis.REMEMBERED}:
            self._meant = resolution.devices
        if resolution.basis is Basis.LABELS:
            await self._keep(config, resolution.devices)
        return resolution

    async def _keep(self, config: Config, devices: Devices) -> None:
        try:
            await anyio.to_thread.run_sync(self._memory.keep, config, devices)
            problem = None
        except OSError as error:
            problem = str(error)
            if problem != self._problem:
                log.warning("state.failed", file=self._memory.path, problem=problem)
        self._problem = problem


def _tell(before: Resolution | None, now: Resolution) -> None:
    """Log why these sections are in force, once for each change."""
    if before is not None and (before.basis, before.overrides, before.problems) == (
        now.basis,
        now.overrides,
        now.problems,
    ):
        return
    match now.basis:
        case Basis.FILE:
            pass
        case Basis.LABELS:
            log.info("overrides.applied", overrides=[f"nodeOverrides[{place}]" for place in now.overrides])
        case Basis.REMEMBERED:
            log.warning("overrides.remembered")
        case Basis.WAITING:
            log.warning("overrides.waiting", seconds=PATIENCE)
        case Basis.BASE:
            log.warning("overrides.ignored")
        case Basis.REFUSED:
            log.error("overrides.refused", problems=list(now.problems))
