"""What those who react to unhealthy devices have in common: what they look at, and when they run."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import anyio

from intel_agent.cluster.membership import Membership
from intel_agent.config import Config, Devices
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.publish.publisher import Published
from intel_agent.reactions.health import NodeHealth, observed
from intel_agent.rules import HIDDEN_RULE

SETTLING = 0.5
"""Seconds after a change until it is looked at: what breaks together is told together."""
TICK = 5.0
"""Most seconds between two looks."""
LEAST = 5.0
"""Fewest seconds between two writes of one thing, whatever comes and goes meanwhile."""
SLOWEST = 30.0
"""Most seconds between two tries."""
NO_LABELS = "the node's labels are not known yet"


class Switched(Protocol):
    """A section of the configuration that is on or off."""

    @property
    def enabled(self) -> bool: ...


S = TypeVar("S", bound=Switched)


@dataclass(frozen=True, slots=True)
class Observer:
    """The configuration in force, and what is there to judge this node's devices by."""

    config: Latest[Config]
    inventory: Latest[Inventory]
    published: Callable[[], Mapping[str, Published]]
    membership: Membership
    waiting: Callable[[], bool]
    """Whether it is not known yet which devices this node should have (`nodeOverrides`)."""

    def health(self) -> NodeHealth:
        """Return what is wrong with this node's devices now."""
        kinds = {each.name: each.choices | {HIDDEN_RULE} for each in self.config.value.devices.backends}
        found = observed(kinds, self.inventory.value, [each.listing.value for each in self.published().values()])
        if not self.waiting():
            return found
        return replace(found, unknown={**dict.fromkeys(Devices.__struct_fields__, NO_LABELS), **found.unknown})

    async def change(self, revision: int) -> int:
        """Wait until there may be something new since a `revision` of the inventory; return the present one."""
        with anyio.move_on_after(TICK):
            await self.inventory.newer(revision)
            await anyio.sleep(SETTLING)
        return self.inventory.revision

    async def serve(
        self,
        section: Callable[[Config], S],
        run: Callable[[S], Coroutine[object, object, None]],
        settle: Callable[[S], Awaitable[None]],
    ) -> None:
        """Run with the section while it is on, anew when it changes, for ever.

        Before that, and when it is off, `settle` has nothing stay of the section before.
        """
        while True:
            config, revision = self.config.value, self.config.revision
            current = section(config)
            await settle(current)
            async with anyio.create_task_group() as group:
                if current.enabled:
                    group.start_soon(run, current)
                while section(config) == current:
                    config, revision = await self.config.newer(revision)
                group.cancel_scope.cancel()
