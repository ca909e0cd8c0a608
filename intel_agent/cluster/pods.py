"""Pods of this node that have to go: what is known of one, and its eviction.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from urllib.parse import quote

import msgspec

from intel_agent.cluster.api import METADATA, Api
from intel_agent.errors import ClusterError
from intel_agent.plain import encoded

MIRROR = "kubernetes.io/config.mirror"
"""The annotation of what kubelet shows of a static pod (pkg/kubelet/types of Kubernetes)."""


class Owner(msgspec.Struct, frozen=True):
    """What made an object."""

    kind: str = ""
    controller: bool = False


class PodMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a pod, without what is in it."""

    uid: str = ""
    annotations: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()
    deletion_timestamp: str | None = None

    @property
    def of_daemon_set(self) -> bool:
        return any(each.kind == "DaemonSet" and each.controller for each in self.owner_references)


class _Pod(msgspec.Struct, frozen=True):
    metadata: PodMetadata


class Pods:
    """Pods by namespace and name."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def metadata(self, namespace: str, name: str) -> PodMetadata:
        """Return what is known of the pod.

        Raises:
            MissingError: there is none.
            ClusterError: the API server does not tell, or does not allow it.
        """
        path = _path(namespace, name)
        answer = await self._api.get(path, accept=METADATA)
        try:
            return msgspec.json.decode(answer, type=_Pod).metadata
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{path}: the answer is no pod: {error}") from error

    async def evict(self, namespace: str, name: str, uid: str, *, dry_run: bool) -> None:
        """Have this pod end, if its disruption budget allows it, and no other one of its name.

        Raises:
            BusyError: not now: its disruption budget does not allow it, or the API server has too much to do.
            ConflictError: another pod has its name, or its disruption budget just changed.
            InternalError: the API server failed; so it answers for a pod with two disruption budgets.
            MissingError: there is none.
            RefusedError: it may not be done, or somebody who is asked objects.
            ClusterError: the API server does not answer, or refuses, in its own words.
        """
        options: dict[str, object] = {"preconditions": {"uid": uid}}
        if dry_run:
            options["dryRun"] = ["All"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        await self._api.post(f"{_path(namespace, name)}/eviction", encoded(eviction))


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
