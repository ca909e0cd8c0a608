"""Pods: manifests to write, statuses to read, and what a container finds inside."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from .image import IMAGE

REPORT = """
for node in $(find /dev -type c -o -type b); do
    case $node in /dev/console|/dev/ptmx|/dev/pts/*|/dev/tty) continue;; esac
    echo "node $node $(stat -c %t:%T $node) $( (: <$node) 2>&1)"
done
mknod /tmp/other c 226 99 && echo "node /tmp/other e2:63 $( (: </tmp/other) 2>&1)"
[ -e /sys/fs/cgroup/devices/devices.list ] && sed 's/^/cgroup /' /sys/fs/cgroup/devices/devices.list
env | sed 's/^/env /'
echo complete
"""
"""What every container prints at first: its device nodes and what opening them answers, its cgroup, its environment."""

STAY = "trap 'exit 0' TERM; sleep 2147483647 & wait"
"""Runs until it is told to end, and then ends at once."""


class ResourceHealth(msgspec.Struct, frozen=True, rename="camel"):
    """The health of one device that a container holds."""

    resource_id: str = msgspec.field(name="resourceID")
    health: str


class AllocatedResource(msgspec.Struct, frozen=True):
    """The devices of one resource that a container holds."""

    name: str
    resources: tuple[ResourceHealth, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class ContainerState(msgspec.Struct, frozen=True):
    """What a container does."""

    waiting: Waiting | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What kubelet says of one container."""

    name: str
    container_id: str = msgspec.field(default="", name="containerID")
    restart_count: int = 0
    ready: bool = False
    state: ContainerState = ContainerState()
    allocated_resources_status: tuple[AllocatedResource, ...] = ()

    @property
    def id(self) -> str:
        """The container's id in containerd."""
        return self.container_id.removeprefix("containerd://")

    @property
    def health(self) -> dict[str, str]:
        """The health of each device, by its id."""
        return {
            device.resource_id: device.health
            for resource in self.allocated_resources_status
            for device in resource.resources
        }


class PodCondition(msgspec.Struct, frozen=True):
    """One condition of a pod."""

    type: str
    message: str = ""


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What kubelet says of one pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()

    @property
    def container(self) -> ContainerStatus:
        """The first container."""
        return self.container_statuses[0]


class Metadata(msgspec.Struct, frozen=True):
    """What a pod is called: its uid is no other pod's, also of a later one with its name."""

    name: str
    uid: str


class Pod(msgspec.Struct, frozen=True):
    """One pod as kubelet or the API server shows it."""

    metadata: Metadata
    status: PodStatus = PodStatus()


class PodList(msgspec.Struct, frozen=True):
    """All pods; kubelet writes null for none."""

    items: tuple[Pod, ...] | None = None


class Node(NamedTuple):
    """A device node in a container."""

    path: str
    major: int
    minor: int
    answer: str
    """What the attempt to open it printed: nothing, or an error."""

    @property
    def permitted(self) -> bool:
        """Whether the container's cgroup lets it be opened: a refusal comes before the driver is asked."""
        return "not permitted" not in self.answer


class Report(NamedTuple):
    """What a container found inside."""

    nodes: tuple[Node, ...]
    cgroup: frozenset[str]
    environment: Mapping[str, str]

    @property
    def devices(self) -> dict[str, tuple[int, int]]:
        """Device numbers of the nodes that no container has of itself, by path."""
        own = {"/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero", "/tmp/other"}
        return {node.path: (node.major, node.minor) for node in self.nodes if node.path not in own}

    def permitted(self, path: str) -> bool:
        return next(node for node in self.nodes if node.path == path).permitted


def container(
    limits: Mapping[str, int], *, name: str = "main", then: str = STAY, image: str = IMAGE, restart: str | None = None
) -> dict[str, object]:
    """Return a container that reports what it finds, and then stays or does what else it is told."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", REPORT + then],
        "resources": {"limits": {resource: str(count) for resource, count in limits.items()}},
        **({"restartPolicy": restart} if restart else {}),
    }


def manifest(
    name: str,
    containers: Sequence[Mapping[str, object]],
    *,
    init: Sequence[Mapping[str, object]] = (),
    restart: str = "Always",
    host_network: bool = True,
) -> dict[str, object]:
    """Return a pod of these containers, in the host's network or one of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hostNetwork": host_network,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "restartPolicy": restart,
            "initContainers": list(init),
            "containers": list(containers),
        },
    }


def parse_report(log: str) -> Report | None:
    """Return the report in a container's log in CRI's format, or None while it is incomplete."""
    lines = [line.split(" ", 3)[3] for line in log.splitlines()]
    if "complete" not in lines:
        return None
    return Report(
        tuple(_node(line) for line in lines if line.startswith("node ")),
        frozenset(line.removeprefix("cgroup ") for line in lines if line.startswith("cgroup ")),
        dict(line.removeprefix("env ").split("=", 1) for line in lines if line.startswith("env ")),
    )


def _node(line: str) -> Node:
    _, path, numbers, answer = line.split(" ", 3)
    major, minor = (int(number, 16) for number in numbers.split(":"))
    return Node(path, major, minor, answer)
