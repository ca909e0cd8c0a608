"""Who holds what, by kubelet's pod-resources API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from intel_agent._proto.v1 import AllocatableResourcesRequest, ListPodResourcesRequest, PodResourcesListerStub
from intel_agent.publish.client import calling

DEADLINE = 2.0
"""How long kubelet may take to answer, in seconds."""

Key = tuple[str, str]
"""Resource name and device id."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which ids containers hold or may hold, and who (`None` where that is not known).

    `known` says that kubelet was asked just now; otherwise `held` is a guess that rather holds too much.
    """

    held: Mapping[Key, str | None] = field(default_factory=dict[Key, str | None])
    known: bool = False

    def guess(self, granted: Iterable[Key]) -> "Holdings":
        """Return what must be assumed until kubelet is asked again: what was held, and all that was handed out.

        By whom is forgotten: another pod may have got it since.
        """
        return Holdings(dict.fromkeys((*self.held, *granted)), known=False)

    def plus(self, recent: Iterable[Key]) -> "Holdings":
        """Return what is held when these ids are, too, although kubelet does not tell of them yet."""
        return Holdings({**dict.fromkeys(recent), **self.held}, self.known)


async def ask(path: str) -> Holdings:
    """Return what kubelet says about who holds what.

    Raises:
        KubeletError: it does not answer on the socket `path`.
    """
    async with calling(path) as channel:
        answer = await PodResourcesListerStub(channel).list(ListPodResourcesRequest(), timeout=DEADLINE)
    held: dict[Key, str | None] = {
        (devices.resource_name, each): f"{pod.namespace}/{pod.name}/{container.name}"
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
        for each in devices.device_ids
    }
    return Holdings(held, known=True)


async def allocatable(path: str) -> dict[str, frozenset[str]]:
    """Return the ids that kubelet would hand out or has handed out, by resource: those it takes for healthy.

    Raises:
        KubeletError: it does not answer on the socket `path`.
    """
    async with calling(path) as channel:
        stub = PodResourcesListerStub(channel)
        answer = await stub.get_allocatable_resources(AllocatableResourcesRequest(), timeout=DEADLINE)
    ids: dict[str, set[str]] = {}
    for devices in answer.devices:
        ids.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return {resource: frozenset(each) for resource, each in ids.items()}
