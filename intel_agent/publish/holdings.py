"""Who holds what, by kubelet's pod-resources API."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from anyio import to_thread
from betterproto2 import Message
from grpclib.client import UnaryUnaryMethod

from intel_agent._proto.v1 import (
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
    ListPodResourcesRequest,
    ListPodResourcesResponse,
)
from intel_agent.client import Raw, calling
from intel_agent.errors import KubeletError

T = TypeVar("T")

DEADLINE = 2.0
"""How long kubelet may take to answer, in seconds."""

Key = tuple[str, str]
"""Resource name and device id."""
Node = tuple[str, str]
"""A device node that a container has: how it is called there, and on the host."""


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
    return await _answered(path, "List", ListPodResourcesRequest(), _held)


async def _answered(path: str, method: str, request: Message, read: Callable[[bytes], T]) -> T:
    """Return what kubelet answers. To read one of 10,000 ids takes 0.2 s, so that is done in a thread.

    Raises:
        KubeletError: it does not answer on the socket `path`, or nothing that can be read.
    """
    async with calling(path, KubeletError, Raw()) as channel:
        call = UnaryUnaryMethod(channel, f"/v1.PodResourcesLister/{method}", type(request), bytes)
        return await to_thread.run_sync(read, await call(request, timeout=DEADLINE))


def _held(message: bytes) -> Holdings:
    held: dict[Key, str | None] = {
        (devices.resource_name, each): f"{pod.namespace}/{pod.name}/{container.name}"
        for pod in ListPodResourcesResponse.parse(message).pod_resources
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
    return await _answered(path, "GetAllocatableResources", AllocatableResourcesRequest(), _allocatable)


def _allocatable(message: bytes) -> dict[str, frozenset[str]]:
    ids: dict[str, set[str]] = {}
    for devices in AllocatableResourcesResponse.parse(message).devices:
        ids.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return {resource: frozenset(each) for resource, each in ids.items()}
