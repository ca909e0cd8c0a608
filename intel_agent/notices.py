"""Tells the cluster when a device that a pod has breaks or heals: Events of Kubernetes, on the pod and on the node.

Sources: Event v1 core (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/); kubelet names
the node's Events after the node. Nothing waits for the API server: what cannot be told is tried again, and given up.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from time import time_ns

import anyio
import structlog
from anyio import to_thread

from intel_agent.backoff import BackOff
from intel_agent.cluster.membership import Membership
from intel_agent.config import Config
from intel_agent.errors import ClusterError, ExistsError, HopelessError, RefusedError
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.model import Device, Fault, Reason
from intel_agent.plain import encoded, spelled
from intel_agent.publish import checkpoint
from intel_agent.publish.holders import Holders
from intel_agent.publish.holdings import Key
from intel_agent.publish.roster import departed
from intel_agent.remedies import REMEDIES

log = structlog.get_logger()

MOST = 200
"""Notices that wait; of more, the oldest is given up."""
BURST = 20
"""Notices that may be sent at once."""
PACE = 3.0
"""Seconds between notices after a burst."""
OLD = 600.0
"""Seconds after which a notice is given up."""
SLOWEST = 30.0
"""Most seconds between two tries."""
AGE = 0.5
"""How old kubelet's word of who holds what may be, in seconds."""
AGAIN = 5.0
"""Seconds until kubelet is asked once more when it does not tell who holds what."""
LONGEST = 1000
"""Most bytes of a message: the API server takes 1,024."""
_LONGEST_NAME = 230
COMPONENT = "intel-agent"
NODES = "default"
"""The namespace of what is told of nodes. It is always there: what is refused in it is refused to the agent as such."""
_CONNECTION = "events"
_RIGHT = "right to make events"
_UNTOLD = frozenset({Reason.RESERVED})
"""Reasons that nobody needs to hear of: the configuration means it so."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A device that broke, or healed when there are no faults."""

    device: Device
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """One Event: what it is about, and what it says."""

    namespace: str
    involved: dict[str, str]
    turn: Turn
    message: str
    moment: int
    """When it happened, in ns since 1970."""
    made: float
    """The same by the clock of the event loop."""
    problem: str = "too many were before it"
    """Why it was not taken so far."""
    number: int = field(default_factory=count().__next__)
    """Tells it from all others of this agent."""


def turned(before: Inventory, after: Inventory, broken: frozenset[Key]) -> tuple[Turn, ...]:
    """Return what broke or healed. What comes is news only if it was `broken` when it was there last."""
    change = after.since(before)
    turns = [Turn(new, _ills(new)) for old, new in change.changed if bool(_ills(old)) != bool(_ills(new))]
    excluded = {each.path: each for each in after.exclusions}
    left = (device for device in change.removed if not _ills(device))
    turns += [Turn(each, (departed(each, excluded.get(each.sysfs_path)),)) for each in left]
    turns += [Turn(each, ()) for each in change.added if _key(each) in broken and not _ills(each)]
    return tuple(turns)


def _key(device: Device) -> Key:
    return device.resource, device.id


def _ills(device: Device) -> tuple[Fault, ...]:
    return tuple(each for each in sorted(device.faults) if each.reason not in _UNTOLD)


class Notices:
    """Follows the inventory while the configuration wants it."""

    def __init__(
        self,
        config: Latest[Config],
        inventory: Latest[Inventory],
        holders: Holders,
        membership: Membership,
        device_plugins: str,
    ) -> None:
        """Tell of `inventory` by way of `membership`; kubelet's checkpoint is in the directory `device_plugins`."""
        self._config = config
        self._inventory = inventory
        self._holders = holders
        self._membership = membership
        self._device_plugins = device_plugins
        self._broken: frozenset[Key] = frozenset()
        self._waiting: deque[Notice] = deque()
        self._noted = anyio.Event()

    async def run(self) -> None:
        """Tell, for ever."""
        while True:
            await self._until(enabled=True)
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow)
                group.start_soon(self._send)
                await self._until(enabled=False)
                group.cancel_scope.cancel()
            self._waiting.clear()  # it is old when somebody wants Events again
            for purpose in (_CONNECTION, _RIGHT):
                self._membership.got_over(purpose)

    async def _until(self, *, enabled: bool) -> None:
        config, revision = self._config.value, self._config.revision
        while config.kubernetes_events.enabled != enabled:
            config, revision = await self._config.newer(revision)

    async def _follow(self) -> None:
        before, revision = self._inventory.value, self._inventory.revision
        while True:
            after, revision = await self._inventory.newer(revision)
            turns = await to_thread.run_sync(turned, before, after, self._broken)
            before = after
            if turns:
                self._broken = self._broken.difference(_key(each.device) for each in turns if not each.faults)
                self._broken |= {_key(each.device) for each in turns if each.faults}
                await self._note(turns)

    async def _note(self, turns: Iterable[Turn]) -> None:
        """Have whoever it concerns hear of it."""
        now, moment = anyio.current_time(), time_ns()
        holdings = await self._holders.holdings(AGE)
        if not holdings.known:
            await anyio.sleep(AGAIN)
            holdings = await self._holders.holdings(AGE)
        if not holdings.known:
            for turn in turns:
                _drop(turn.device, "kubelet does not tell who has it, if anybody")
            return
        held, pods = holdings.held, await to_thread.run_sync(self._pods)
        for turn in turns:
            having = {held.get((turn.device.resource, each)): each for each in turn.device.ids}
            users = {each: holder for holder, each in having.items() if holder is not None}
            for notice in _about(turn, users, pods, self._membership.name):
                self._add(notice(moment=moment, made=now))

    def _pods(self) -> dict[Key, str]:
        """Return the ids of pods by what they have; nothing when kubelet's file cannot be read."""
        try:
            return checkpoint.pods(self._device_plugins)
        except (OSError, ValueError):
            return {}

    def _add(self, notice: Notice) -> None:
        if len(self._waiting) >= MOST:
            _drop(self._waiting.popleft().turn.device, "too many are waiting")
        self._waiting.append(notice)
        self._noted.set()

    async def _send(self) -> None:
        """Send what waits, not too fast; what fails goes to the end."""
        pauses, allowed, since = BackOff(0.5, SLOWEST), float(BURST), anyio.current_time()
        while True:
            self._give_up_old()
            while not self._waiting:
                self._noted = anyio.Event()
                await self._noted.wait()
            now = anyio.current_time()
            allowed, since = min(BURST, allowed + (now - since) / PACE), now
            if allowed < 1:
                await anyio.sleep((1 - allowed) * PACE)
                continue
            allowed -= 1
            notice = self._waiting.popleft()
            problem = await self._try(notice)
            if problem is None:
                pauses.reset()
                continue
            self._waiting.append(replace(notice, problem=problem))
            await anyio.sleep(pauses.pause())

    def _give_up_old(self) -> None:
        oldest = anyio.current_time() - OLD
        for each in [each for each in self._waiting if each.made <= oldest]:
            self._waiting.remove(each)
            _drop(each.turn.device, each.problem)

    async def _try(self, notice: Notice) -> str | None:
        """Send a notice; return why it must be tried again, if so. A refusal of one says nothing of the others."""
        try:
            with suppress(ExistsError):  # of a try whose answer was lost: nobody else makes Events of this name
                await self._membership.api.post(_path(notice), _body(notice, self._membership.name))
        except HopelessError as error:
            _drop(notice.turn.device, str(error))
        except RefusedError as error:
            if notice.namespace == NODES:
                self._membership.met(_RIGHT, error)
            self._membership.got_over(_CONNECTION)
            return str(error)
        except ClusterError as error:
            self._membership.met(_CONNECTION, error)
            return str(error)
        else:
            if notice.namespace == NODES:
                self._membership.got_over(_RIGHT)
        self._membership.got_over(_CONNECTION)
        return None


def _drop(device: Device, problem: str) -> None:
    log.warning("notice.dropped", device=device.id, resource=device.resource, problem=problem)


def _about(turn: Turn, users: dict[str, str], pods: dict[Key, str], node: str) -> "Iterator[partial[Notice]]":
    """Yield what each container that has the device hears, and the node; nothing if nobody has it.

    `users` are the containers by an id of the device that each has.
    """
    for each, holder in users.items():
        namespace, pod, container = holder.split("/", 2)
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": pod,
            "uid": pods.get((turn.device.resource, each), ""),
            "fieldPath": f"spec.containers{{{container}}}",
        }
        yield partial(Notice, namespace, involved, turn, message(turn, f"which container {container} has"))
    if users:
        names = ", ".join(sorted({"/".join(holder.split("/", 2)[:2]) for holder in users.values()}))
        involved = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}
        yield partial(Notice, NODES, involved, turn, message(turn, f"which {names} has"))


def message(turn: Turn, who: str) -> str:
    """Return what is told: the device, what is wrong with it, and what to do."""
    address = turn.device.attributes.get("pciAddress")
    place = f" ({address})" if address else ""
    subject = f"{turn.device.id} of {turn.device.resource}{place}, {who},"
    if not turn.faults:
        return _short(f"{subject} is healthy again")
    faults = "; ".join(f"{each.reason}: {each.detail}. {REMEDIES[each.reason]}" for each in turn.faults)
    return _short(f"{subject} is unhealthy: {faults}")


def _short(text: str) -> str:
    return spelled(text).encode()[:LONGEST].decode(errors="ignore")


def _path(notice: Notice) -> str:
    return f"/api/v1/namespaces/{notice.namespace}/events"


def _body(notice: Notice, node: str) -> bytes:
    moment = datetime.fromtimestamp(notice.moment // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"{notice.involved['name'][:_LONGEST_NAME].rstrip('.-')}.{notice.moment:x}{notice.number & 0xFFFF:04x}"
    return encoded(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": notice.namespace},
            "involvedObject": {key: value for key, value in notice.involved.items() if value},
            "type": "Warning" if notice.turn.faults else "Normal",
            "reason": "DeviceUnhealthy" if notice.turn.faults else "DeviceHealthy",
            "message": notice.message,
            "source": {"component": COMPONENT, "host": node},
            "reportingComponent": COMPONENT,
            "reportingInstance": node,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
    )
