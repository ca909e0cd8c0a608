"""The Node object of this node.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/
"""

from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import msgspec

from intel_agent.cluster.api import JSON, METADATA, STRATEGIC_PATCH, Api
from intel_agent.config import Labels
from intel_agent.errors import ClusterError
from intel_agent.plain import encoded

T = TypeVar("T")

_FROM_MEMORY = "?resourceVersion=0"
"""What the API server has in its own memory is enough."""


class _Metadata(msgspec.Struct, frozen=True):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct, frozen=True):
    """A node as far as its labels go."""

    metadata: _Metadata


class _Spec(msgspec.Struct, frozen=True):
    taints: tuple[dict[str, str], ...] = ()


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class Tainted(msgspec.Struct, frozen=True):
    """A node as far as its taints go."""

    metadata: _Version = _Version()
    spec: _Spec = _Spec()


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition of a node. Times are text as in RFC 3339."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_heartbeat_time: str | None = None
    last_transition_time: str | None = None


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class _Conditioned(msgspec.Struct, frozen=True):
    """A node as far as its conditions go."""

    status: _Status = _Status()


class _Info(msgspec.Struct, frozen=True, rename="camel"):
    kubelet_version: str = ""


class _Running(msgspec.Struct, frozen=True, rename="camel"):
    node_info: _Info = _Info()


class Seen(msgspec.Struct, frozen=True):
    """A node as far as it tells others what it has."""

    metadata: _Metadata
    status: _Running = _Running()

    @property
    def labels(self) -> Labels:
        return self.metadata.labels

    @property
    def kubelet(self) -> str:
        """Kubelet's version, for example `v1.31.2`; empty where the object does not have it."""
        return self.status.node_info.kubelet_version


class OwnNode:
    """The Node object that has this node's name."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._path = f"/api/v1/nodes/{quote(name, safe='')}"

    async def labels(self) -> Labels:
        """Return the node's labels, from the API server's memory: they may be a moment old.

        Raises:
            ClusterError: the API server does not tell.
        """
        return (await self._read(_Labelled, _FROM_MEMORY, accept=METADATA)).metadata.labels

    async def seen(self) -> Seen:
        """Return what the node's object says, from the API server's memory: it may be a moment old.

        Raises:
            ClusterError: the API server does not tell.
        """
        return await self._read(Seen, _FROM_MEMORY)

    async def remove_taint(self, key: str) -> bool:
        """Remove the taints with the key, whatever their effect, and no other; return whether there was one.

        Raises:
            ConflictError: the node's taints changed meanwhile; nothing was removed.
            ClusterError: the API server does not tell, or does not allow it.
        """
        return await self.put_taint(key, None)

    async def put_taint(self, key: str, effect: str | None) -> bool:
        """Have the node have one taint with the key, of this effect, or none; return whether that changed anything.

        Raises:
            ConflictError: the node changed meanwhile; nothing was written.
            ClusterError: the API server does not tell, or does not allow it.
        """
        node = await self._read(Tainted)
        operations = without(key, node.spec.taints) if effect is None else having(key, effect, node)
        if operations:
            await self._api.patch(self._path, msgspec.json.encode(operations))
        return bool(operations)

    async def put_condition(self, condition: Condition) -> Condition | None:
        """Have the node say this beside its other conditions, as of now; return what it said before.

        Raises:
            ConflictError: the node changed too often meanwhile; nothing was written.
            ClusterError: the API server does not tell, or does not allow it.
        """
        conditions = (await self._read(_Conditioned)).status.conditions
        before = next((each for each in conditions if each.type == condition.type), None)
        await self._patch_conditions(following(before, condition, datetime.now(UTC)))
        return before

    async def remove_condition(self, type_: str) -> None:
        """Have the node say nothing of this type any more.

        Raises:
            ClusterError: the API server does not answer, or does not allow it.
        """
        await self._patch_conditions({"$patch": "delete", "type": type_})

    async def _read(self, part: type[T], query: str = "", *, accept: str = JSON) -> T:
        """Return a part of the node's object.

        Raises:
            ClusterError: the API server does not tell.
        """
        answer = await self._api.get(f"{self._path}{query}", accept=accept)
        try:
            return msgspec.json.decode(answer, type=part)
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{self._path}: the answer is no node: {error}") from error

    async def _patch_conditions(self, change: Condition | dict[str, str]) -> None:
        # By type, so that those of others stay as they are, and as they will be when this arrives.
        patch = encoded({"status": {"conditions": [change]}})
        await self._api.patch(f"{self._path}/status", patch, STRATEGIC_PATCH)


def following(before: Condition | None, condition: Condition, now: datetime) -> Condition:
    """Return the condition with its times: that of its last transition stays while the status does."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    same = before is not None and before.status == condition.status
    transition = before.last_transition_time if before is not None and same else None
    return msgspec.structs.replace(condition, last_heartbeat_time=moment, last_transition_time=transition or moment)


Operations = list[dict[str, object]]
"""A JSON patch (RFC 6902)."""


def having(key: str, effect: str, node: Tainted) -> Operations:
    """Return the JSON patch that leaves one taint with the key, of this effect, if the node is still as it is here."""
    taints = node.spec.taints
    operations = without(key, taints, but=effect)
    if any((taint.get("key"), taint.get("effect")) == (key, effect) for taint in taints):
        return operations
    taint = {"key": key, "effect": effect}
    # A list that is not there cannot be added to, and one that somebody else just made would be replaced.
    operations.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": node.metadata.resource_version})
    if taints:
        return [*operations, {"op": "add", "path": "/spec/taints/-", "value": taint}]
    return [*operations, {"op": "add", "path": "/spec/taints", "value": [taint]}]


def without(key: str, taints: tuple[dict[str, str], ...], *, but: str | None = None) -> Operations:
    """Return the JSON patch that removes the taints with the key, `but` one effect, if each is still at its place."""
    operations: Operations = []
    # From the end, so that those before keep their places.
    for place, taint in reversed(list(enumerate(taints))):
        if taint.get("key") == key and (but is None or taint.get("effect") != but):
            path = f"/spec/taints/{place}"
            operations.append({"op": "test", "path": path, "value": taint})
            operations.append({"op": "remove", "path": path})
    return operations
