"""Files that continue device sections, followed while the agent runs."""

import os
from collections.abc import Mapping

import structlog
from anyio import to_thread

from intel_agent.config import Devices, Whole, whole

log = structlog.get_logger()


class SectionFiles:
    """Makes sections whole, and says once what is wrong with their files."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.whole: Whole | None = None
        """The last sections."""

    @property
    def directories(self) -> frozenset[str]:
        """Where the files are, or should be."""
        return frozenset(os.path.dirname(each) for each in (self.whole.files if self.whole else ()))

    @property
    def problems(self) -> tuple[str, ...]:
        """Why files cannot be used."""
        return self.whole.problems if self.whole else ()

    async def completed(self, devices: Devices) -> Devices:
        """Return the sections with what their files say now; of one that cannot be used, what it said last."""
        before = self.whole
        self.whole = now = await to_thread.run_sync(whole, devices, self._environment, before)
        _tell(before, now)
        return now.devices


def _tell(before: Whole | None, now: Whole) -> None:
    if now.problems and (before is None or before.problems != now.problems):
        log.error("config.refused", problems=list(now.problems))
    for each in now.remarks:
        if before is None or each not in before.remarks:
            log.warning("setting.ignored", file=each[0], problem=each[1])
    if before is not None and before.given == now.given and before.devices != now.devices:
        log.info("config.reloaded", restart_needed=False)
