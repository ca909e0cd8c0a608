"""Answers `intel-agent status` and `intel-agent explain`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import time

import msgspec
from anyio import to_thread

from intel_agent.control import Answer
from intel_agent.history import History
from intel_agent.plain import encoded
from intel_agent.publish.holders import Holders
from intel_agent.publish.holdings import Holdings
from intel_agent.status.explain import explained
from intel_agent.status.report import Context, reported
from intel_agent.web.snapshot import Snapshot

AGE = 2.0
"""How old what kubelet told may be, in seconds."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an agent knows of itself beside its snapshot."""

    node: str
    file: str | None
    problems: tuple[str, ...]
    """What is wrong with the file of the configuration, if a newer one cannot be used."""


class Status:
    """The calls that ask for what the agent holds."""

    def __init__(
        self,
        observe: Callable[[Holdings], Snapshot],
        holders: Holders,
        history: History,
        facts: Callable[[], Facts],
    ) -> None:
        self._observe = observe
        self._holders = holders
        self._history = history
        self._facts = facts
        self._started = f"{time():.3f}"
        """Tells the revisions of this agent from those of one before it."""
        self._revision = 0
        self._state: tuple[object, ...] = ()

    async def status(self, arguments: Mapping[str, str]) -> Answer:
        """Return the whole; nothing when the caller has it already: he says of which `revision` he knows."""
        snapshot, context = await self._now()
        if arguments.get("revision") == context.revision:
            return Answer()
        return Answer(report=await to_thread.run_sync(_status, snapshot, context))

    async def explain(self, arguments: Mapping[str, str]) -> Answer:
        """Return what is known of the thing that is called `name`.

        Raises:
            AgentError: nothing is called so.
        """
        explain = partial(_explanation, arguments.get("name", ""), *await self._now(), self._history)
        return Answer(report=await to_thread.run_sync(explain))

    async def _now(self) -> tuple[Snapshot, Context]:
        holdings, allocatable = await self._holders.whole(AGE)
        snapshot, facts = self._observe(holdings), self._facts()
        # A device is another one in the inventory a moment before the log says so, and `since` with it.
        revision = self._revision_of((_state(snapshot), facts, allocatable, self._history.turns))
        return snapshot, Context(revision, facts.node, facts.file, facts.problems, allocatable, self._history.since)

    def _revision_of(self, state: tuple[object, ...]) -> str:
        if state != self._state:
            self._state = state
            self._revision += 1
        return f"{self._started}-{self._revision}"


def _state(snapshot: Snapshot) -> tuple[object, ...]:
    """Return what makes a report another one: not the counters and times, which nobody waits for."""
    resources = tuple((each.name, each.registered, each.listed) for each in snapshot.resources)
    return (snapshot.revisions, resources, snapshot.missing, snapshot.kubelet_since, snapshot.generation)


def _status(snapshot: Snapshot, context: Context) -> msgspec.Raw:
    return msgspec.Raw(encoded(reported(snapshot, context)))


def _explanation(name: str, snapshot: Snapshot, context: Context, history: History) -> msgspec.Raw:
    return msgspec.Raw(encoded(explained(name, reported(snapshot, context), history)))
