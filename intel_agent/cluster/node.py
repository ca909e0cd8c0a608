"""The Node object of this node.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/
"""

from urllib.parse import quote

import msgspec

from intel_agent.cluster.api import METADATA, Api
from intel_agent.config import Labels
from intel_agent.errors import ClusterError


class _Metadata(msgspec.Struct, frozen=True):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct, frozen=True):
    """A node as far as its labels go."""

    metadata: _Metadata


class _Spec(msgspec.Struct, frozen=True):
    taints: tuple[dict[str, str], ...] = ()


class _Tainted(msgspec.Struct, frozen=True):
    """A node as far as its taints go."""

    spec: _Spec = _Spec()


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
        answer = await self._api.get(f"{self._path}?resourceVersion=0", accept=METADATA)
        try:
            return msgspec.json.decode(answer, type=_Labelled).metadata.labels
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{self._path}: the answer is no node: {error}") from error

    async def remove_taint(self, key: str) -> bool:
        """Remove the taints with the key, whatever their effect, and no other; return whether there was one.

        Raises:
            ConflictError: the node's taints changed meanwhile; nothing was removed.
            ClusterError: the API server does not tell, or does not allow it.
        """
        answer = await self._api.get(self._path)
        try:
            taints = msgspec.json.decode(answer, type=_Tainted).spec.taints
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{self._path}: the answer is no node: {error}") from error
        operations = without(key, taints)
        if operations:
            await self._api.patch(self._path, msgspec.json.encode(operations))
        return bool(operations)


def without(key: str, taints: tuple[dict[str, str], ...]) -> list[dict[str, object]]:
    """Return the JSON patch that removes the taints with the key, if each is still at its place."""
    operations: list[dict[str, object]] = []
    # From the end, so that those before keep their places.
    for place, taint in reversed(list(enumerate(taints))):
        if taint.get("key") == key:
            path = f"/spec/taints/{place}"
            operations.append({"op": "test", "path": path, "value": taint})
            operations.append({"op": "remove", "path": path})
    return operations
