"""What can be seen of the simulated kubelet from outside: values for tests, the demo and comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass

from intel_agent.errors import AgentError
from intel_agent.model import DeviceNode, Mount

HEALTHY = "Healthy"


class AdmissionError(AgentError):
    """A pod is not admitted; the text is what kubelet writes into the pod's status."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as the plugin's last message listed it. `numa` is `None` when it came without topology."""

    id: str
    health: str
    numa: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as kubelet sees it: `devices` are the last list, which a dead plugin leaves behind.

    `capacity` and `allocatable` are the node's numbers; `healthy` are the ids that can be handed out.
    """

    name: str
    devices: tuple[Listed, ...]
    healthy: frozenset[str]
    capacity: int
    allocatable: int

    def device(self, identifier: str) -> Listed | None:
        return next((device for device in self.devices if device.id == identifier), None)


@dataclass(frozen=True, slots=True)
class RegisterCall:
    """One call of Register. `deadline` is what the caller gave it, in seconds; `answer` the refusal, if any."""

    endpoint: str
    resource: str
    version: str
    deadline: float | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the transcript: nothing in it depends on time, on the machine, or on the order of sets."""

    what: str
    resource: str
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.what, self.resource, self.detail)))


@dataclass(frozen=True, slots=True)
class ContainerAnswer:
    """What a container gets: the ids by resource, and the answers of all its plugins put together as kubelet does."""

    ids: Mapping[str, tuple[str, ...]]
    device_nodes: tuple[DeviceNode, ...]
    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    annotations: Mapping[str, str]
    cdi: tuple[str, ...]
