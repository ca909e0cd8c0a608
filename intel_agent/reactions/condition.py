"""The node's condition `IntelDeviceUnhealthy`: at least one device cannot be handed out, and which.

Sources: "Typical status properties" in the API conventions of Kubernetes, and NodeCondition v1 core. As with all
conditions of a node but `Ready`, `True` is what somebody should look at (docs/adr/0039).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import anyio
import structlog

from intel_agent.backoff import BackOff, jittered
from intel_agent.cluster.node import Condition
from intel_agent.config import NodeCondition
from intel_agent.errors import ClusterError
from intel_agent.plain import spelled
from intel_agent.reactions import observer
from intel_agent.reactions.health import NodeHealth, Unhealthy
from intel_agent.reactions.leftovers import Leftovers
from intel_agent.reactions.observer import Observer

log = structlog.get_logger()

TYPE = "IntelDeviceUnhealthy"
LONGEST = 1000
"""Most bytes of a message: every watcher of nodes gets it."""
HEARTBEAT = 300.0
"""Seconds between two writes of a condition that is as before: as often as kubelet does it."""
SPACING = 30.0
"""Fewest seconds between two writes that change no more than the message."""
PATIENCE = 60.0
"""Seconds until it is said that something is unknown."""
_PURPOSE = "condition"


@dataclass(frozen=True, slots=True)
class Told:
    """What the condition says, beside times."""

    status: str
    reason: str
    message: str


def condition(health: NodeHealth, *, waited: bool) -> Told | None:
    """Return what the condition should say; `None` when nothing can be said yet.

    What is unknown is never healthy: once it was `waited` for, the condition says that it is unknown.
    """
    if health.unhealthy:
        return Told("True", "DevicesUnhealthy", _short(_sentence(health)))
    if not health.unknown:
        return Told("False", "DevicesHealthy", f"{_devices(health.devices)}, none unhealthy")
    unknown = "; ".join(f"{kind}: {problem}" for kind, problem in health.unknown.items())
    return Told("Unknown", "DevicesUnknown", _short(unknown)) if waited else None


def due(wanted: Told, written: Told | None, age: float, heartbeat: float) -> bool:
    """Return whether to write what is `wanted`, when something was `written` so many seconds ago."""
    if written is None:
        return True
    if (wanted.status, wanted.reason) != (written.status, written.reason):
        return age >= observer.LEAST
    return age >= (heartbeat if wanted == written else SPACING)


def named(unhealthy: Iterable[Unhealthy]) -> str:
    """Return the devices and their reasons, without details: those change more often than anybody wants to hear."""
    return "; ".join(_name(each) for each in unhealthy)


def _sentence(health: NodeHealth) -> str:
    verb = "is" if len(health.unhealthy) == 1 else "are"
    return f"{len(health.unhealthy)} of {_devices(health.devices)} {verb} unhealthy: {named(health.unhealthy)}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _name(each: Unhealthy) -> str:
    address = each.device.attributes.get("pciAddress")
    place = f" ({address})" if address else ""
    reasons = ", ".join(dict.fromkeys(str(fault.reason) for fault in each.faults))
    return f"{each.device.id} of {each.device.resource}{place}: {reasons}"


def _short(text: str) -> str:
    """Return the text, cut off where it is too long for a message."""
    content = spelled(text).encode()
    return content.decode() if len(content) <= LONGEST else content[: LONGEST - 3].decode(errors="ignore") + "..."


class ConditionKeeper:
    """Keeps the condition while the configuration wants it."""

    def __init__(self, observed: Observer) -> None:
        self._observer = observed
        self._membership = observed.membership
        self._leftovers = Leftovers("condition", self._membership, self._remove)

    async def run(self) -> None:
        """Keep it, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._leftovers.run)
            await self._observer.serve(lambda config: config.node_condition, self._keep, self._settle)

    async def _keep(self, section: NodeCondition) -> None:
        del section
        pauses, revision = BackOff(0.5, observer.SLOWEST), self._observer.inventory.revision
        written, moment, heartbeat = None, anyio.current_time(), HEARTBEAT
        unknown_since = moment
        while True:
            health, now = self._observer.health(), anyio.current_time()
            unknown_since = unknown_since if health.unknown else now
            waited = now - unknown_since >= PATIENCE
            wanted = condition(health, waited=waited)
            # The first word is of all kinds: what the agent before said stays until then.
            early = written is None and bool(health.unknown) and not waited
            if wanted is not None and not early and due(wanted, written, now - moment, heartbeat):
                if not await self._write(wanted):
                    await anyio.sleep(pauses.pause())
                    continue
                pauses.reset()
                written, moment, heartbeat = wanted, now, jittered(HEARTBEAT)
            revision = await self._observer.change(revision)

    async def _write(self, wanted: Told) -> bool:
        """Write the condition; return whether that could be done."""
        try:
            said = Condition(TYPE, wanted.status, wanted.reason, wanted.message)
            before = await self._membership.node().put_condition(said)
        except ClusterError as error:
            self._membership.met(_PURPOSE, error)
            return False
        self._membership.got_over(_PURPOSE)
        if before is None or before.status != wanted.status:
            log.info("condition.changed", condition=TYPE, status=wanted.status, detail=wanted.message)
        return True

    async def _remove(self, type_: str) -> None:
        await self._membership.node().remove_condition(type_)

    async def _settle(self, section: NodeCondition) -> None:
        self._membership.got_over(_PURPOSE)
        await self._leftovers.want(*([TYPE] if section.enabled else []))
