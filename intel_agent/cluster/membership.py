"""What this node's agent does in its cluster: follow the node's labels, and take its startup taint away.

Whoever else needs the API server reaches it by way of this: one client, and one word about what is wrong with it.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import anyio
import structlog

from intel_agent.backoff import BackOff, jittered
from intel_agent.cluster.api import Access, Api
from intel_agent.cluster.node import OwnNode
from intel_agent.config import Config, Labels
from intel_agent.errors import ClusterError, ConflictError
from intel_agent.latest import Latest

log = structlog.get_logger()

PERIOD = 30.0
"""Seconds between two looks at the node, about."""
SLOWEST = 30.0
"""Most seconds between two tries."""
CONFLICTS = 3
"""How many conflicts in a row are a problem."""
NODE_NAME = "NODE_NAME"
"""The variable with this node's name (downward API: `spec.nodeName`)."""


class Membership:
    """The node in its cluster. `labels` is `None` until they are known; then the last known ones stay."""

    def __init__(self, wanted: Latest[Config], environment: Mapping[str, str], account: str) -> None:
        """Do what `wanted` says, with what kubelet put into the `environment` and the directory `account`."""
        self._wanted = wanted
        self._environment = environment
        self._account = account
        self._api: Api | None = None
        self._problems: dict[str, str] = {}
        self._conflicts: Counter[str] = Counter()
        """How often in a row what was written met a node that others had changed, by purpose."""
        self.labels: Latest[Labels | None] = Latest(None)

    @property
    def name(self) -> str:
        """The node's name; empty outside of a cluster."""
        return self._environment.get(NODE_NAME, "")

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps us from doing what is configured."""
        return tuple(dict.fromkeys(self._problems.values()))

    async def run(self, ready: Callable[[], bool]) -> None:
        """Do what is configured, for ever; `ready` says whether pods can get what this node has."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow_labels)
                group.start_soon(self._untaint, ready)
        finally:
            if self._api is not None:
                with anyio.CancelScope(shield=True), anyio.move_on_after(0.5):
                    await self._api.close()

    async def _follow_labels(self) -> None:
        pauses = BackOff(0.5, SLOWEST)
        while True:
            await self._until(lambda config: bool(config.node_overrides))
            try:
                labels = await self.node().labels()
            except ClusterError as error:
                self.met("labels", error)
                await anyio.sleep(pauses.pause())
                continue
            pauses.reset()
            self.got_over("labels")
            if labels != self.labels.value:
                self.labels.set(labels)
            await anyio.sleep(jittered(PERIOD))

    async def _untaint(self, ready: Callable[[], bool]) -> None:
        """Remove the taint once the node is ready, and again if it comes back: kubelet may register the node anew."""
        pauses = BackOff(0.5, SLOWEST)
        while True:
            key = (await self._until(lambda config: config.startup_taint.enabled)).startup_taint.key
            looks = BackOff(0.1, 2.0)
            while not ready():  # noqa: ASYNC110 - it depends on much, and nobody tells of all that
                await anyio.sleep(looks.pause())
            try:
                removed = await self.node().remove_taint(key)
            except ClusterError as error:
                self.met("taint", error)
                await anyio.sleep(pauses.pause())
                continue
            pauses.reset()
            self.got_over("taint")
            if removed:
                log.info("taint.removed", taint=key)
            await anyio.sleep(jittered(PERIOD))

    async def _until(self, condition: Callable[[Config], bool]) -> Config:
        """Wait until the configuration is so, and return it."""
        config, revision = self._wanted.value, self._wanted.revision
        while not condition(config):
            config, revision = await self._wanted.newer(revision)
        return config

    @property
    def api(self) -> Api:
        """The API server, as this node's agent may ask it.

        Raises:
            ClusterError: nobody told us the node's name, or where the API server is.
        """
        if self._api is None:
            access = Access.from_pod(self._environment, self._account)
            if not self.name:
                raise ClusterError(f"{NODE_NAME} is not set: it must be the name of this node (spec.nodeName)")
            self._api = Api(access)
        return self._api

    def node(self) -> OwnNode:
        """Return the object of this node.

        Raises:
            ClusterError: nobody told us the node's name, or where the API server is.
        """
        return OwnNode(self.api, self.name)

    def met(self, purpose: str, error: ClusterError) -> None:
        """Log a problem, once for each change and not for each purpose that it keeps us from.

        A few conflicts are none: others write into the node, too.
        """
        self._conflicts[purpose] = self._conflicts[purpose] + 1 if isinstance(error, ConflictError) else 0
        if 0 < self._conflicts[purpose] < CONFLICTS:
            return
        problem = str(error)
        if problem not in self._problems.values():
            log.warning("cluster.unavailable", problem=problem)
        self._problems[purpose] = problem

    def got_over(self, purpose: str) -> None:
        """Say that nothing keeps us from anything any more, once that is so."""
        self._conflicts.pop(purpose, None)
        if self._problems.pop(purpose, None) is not None and not self._problems:
            log.info("cluster.available")
