"""A taint of the node while a device is unhealthy, for clusters whose pods should then go elsewhere.

Kubelet hands out nothing that is unhealthy anyway; the taint also keeps pods away that ask for something else.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

import anyio
import structlog

from intel_agent.backoff import BackOff, jittered
from intel_agent.config import FaultTaint
from intel_agent.errors import ClusterError
from intel_agent.model import Reason
from intel_agent.reactions import observer
from intel_agent.reactions.health import NodeHealth, meant
from intel_agent.reactions.leftovers import Leftovers
from intel_agent.reactions.observer import Observer

log = structlog.get_logger()

PERIOD = 300.0
"""Seconds until the node is looked at again, should somebody else have put the taint there, or taken it away."""
_PURPOSE = "fault taint"


def tainted(section: FaultTaint, health: NodeHealth) -> bool | None:
    """Return whether the node should have the taint; `None` when that is unknown: then it stays as it is."""
    reasons = [Reason(each) for each in section.reasons]
    counting = list(meant(health, section.kinds, reasons))
    if any(reasons or any(fault.reason is not Reason.UNREADABLE for fault in each.faults) for each in counting):
        return True
    # What cannot be read is unknown, unless somebody wants to have the taint for it.
    unknown = {*health.unknown, *(each.kind for each in counting)}
    return None if any(not section.kinds or each in section.kinds for each in unknown) else False


class TaintKeeper:
    """Keeps the taint while the configuration wants it."""

    def __init__(self, observed: Observer) -> None:
        self._observer = observed
        self._membership = observed.membership
        self._leftovers = Leftovers("taint", self._membership, lambda key: self._membership.node().remove_taint(key))

    async def run(self) -> None:
        """Keep it, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._leftovers.run)
            await self._observer.serve(lambda config: config.fault_taint, self._keep, self._settle)

    async def _keep(self, section: FaultTaint) -> None:
        pauses, revision = BackOff(0.5, observer.SLOWEST), self._observer.inventory.revision
        done: bool | None = None
        again = soonest = anyio.current_time()
        while True:
            wanted, now = tainted(section, self._observer.health()), anyio.current_time()
            if wanted is not None and ((wanted != done and now >= soonest) or now >= again):
                if not await self._put(section, wanted=wanted):
                    await anyio.sleep(pauses.pause())
                    continue
                pauses.reset()
                done, again, soonest = wanted, now + jittered(PERIOD), now + observer.LEAST
            revision = await self._observer.change(revision)

    async def _put(self, section: FaultTaint, *, wanted: bool) -> bool:
        """Have the node have the taint, or not; return whether that could be done."""
        try:
            changed = await self._membership.node().put_taint(section.key, section.effect if wanted else None)
        except ClusterError as error:
            self._membership.met(_PURPOSE, error)
            return False
        self._membership.got_over(_PURPOSE)
        if changed and wanted:
            log.warning("taint.added", taint=section.key, effect=section.effect)
        elif changed:
            log.info("taint.removed", taint=section.key)
        return True

    async def _settle(self, section: FaultTaint) -> None:
        self._membership.got_over(_PURPOSE)
        await self._leftovers.want(*([section.key] if section.enabled else []))
