"""Who holds what, by kubelet's pod-resources API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import anyio
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from intel_agent._proto.v1 import ListPodResourcesRequest, PodResourcesListerStub
from intel_agent.errors import KubeletError

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
        """Return what must be assumed until kubelet is asked again: what was held, and all that was handed out."""
        return Holdings({**dict.fromkeys(granted), **self.held}, known=False)


async def ask(path: str) -> Holdings:
    """Return what kubelet says about who holds what.

    Raises:
        KubeletError: it does not answer on the socket `path`.
    """
    channel = Channel(path=path)
    try:
        with anyio.fail_after(DEADLINE):
            answer = await PodResourcesListerStub(channel).list(ListPodResourcesRequest())
    except (OSError, GRPCError, StreamTerminatedError) as error:  # TimeoutError is an OSError
        raise KubeletError(f"{path}: {str(error) or 'no answer'}") from error
    finally:
        channel.close()
    held: dict[Key, str | None] = {
        (devices.resource_name, each): f"{pod.namespace}/{pod.name}/{container.name}"
        for pod in answer.pod_resources
        for container in pod.containers
        for devices in container.devices
        for each in devices.device_ids
    }
    return Holdings(held, known=True)
