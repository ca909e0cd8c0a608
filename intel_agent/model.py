"""What the agent talks about: devices, what a container gets of them, and why one is not offered.

Everything here is immutable data. Words are those of kubelet, the kernel and CDI.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from intel_agent.errors import EditsError

_EMPTY: Mapping[str, str] = MappingProxyType({})


def _empty() -> Mapping[str, str]:
    return _EMPTY


class Health(StrEnum):
    """Kubelet's two words, compared by it letter for letter."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


class Reason(StrEnum):
    """Why a device is unhealthy: one closed vocabulary, documented in docs/faults.md."""

    UNREADABLE = "unreadable"
    """Files of the device cannot be read, or reading them does not end."""
    HALTED = "halted"
    """The driver reports that the device stopped (idxd: state `halted`)."""
    GONE = "gone"
    """The device left the node; kubelet still hears of it until nobody can hold it."""
    HELD = "held"
    """A pod got the device under another name or another sharing and still holds it."""
    UNDEFINED = "undefined"
    """Containers should get the device by a CDI name, and no file defines it."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A reason why a device must not be handed out, who says so, and a sentence for people."""

    reason: Reason
    source: str
    detail: str


@dataclass(frozen=True, slots=True, order=True)
class DeviceNode:
    """A device node as CDI names it; `permissions` are letters of `rwm`, at least one."""

    path: str
    host_path: str
    permissions: str = "rw"


@dataclass(frozen=True, slots=True, order=True)
class Mount:
    """A bind mount as CDI names it."""

    container_path: str
    host_path: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class ContainerEdits:
    """What a container gets with a device, in CDI's words: one form for Allocate, CDI and DRA.

    `left + right` is what a container with both gets: doubles are merged, the order is kept.
    """

    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=_empty)
    annotations: Mapping[str, str] = field(default_factory=_empty)

    def __add__(self, other: "ContainerEdits") -> "ContainerEdits":
        """Return the edits for a container that gets both.

        Raises:
            EditsError: one container path or name would need two different meanings.
        """
        return merged((self, other))


NO_EDITS = ContainerEdits()


def merged(parts: Iterable[ContainerEdits]) -> ContainerEdits:
    """Return the sum of `parts`, as `+` does, in one pass.

    Raises:
        EditsError: one container path or name would need two different meanings.
    """
    nodes: dict[str, DeviceNode] = {}
    mounts: dict[str, Mount] = {}
    env: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for part in parts:
        for node in part.device_nodes:
            if nodes.setdefault(node.path, node) != node:
                raise EditsError(f"{node.path} would be both {nodes[node.path]} and {node}")
        for mount in part.mounts:
            if mounts.setdefault(mount.container_path, mount) != mount:
                raise EditsError(f"{mount.container_path} would be both {mounts[mount.container_path]} and {mount}")
        _merge("variable", env, part.env)
        _merge("annotation", annotations, part.annotations)
    return ContainerEdits(tuple(nodes.values()), tuple(mounts.values()), env, annotations)


def _merge(what: str, into: dict[str, str], more: Mapping[str, str]) -> None:
    for key, value in more.items():
        if into.setdefault(key, value) != value:
            raise EditsError(f"{what} {key} would be both {into[key]!r} and {value!r}")


@dataclass(frozen=True, slots=True)
class Device:
    """One thing a container can be given.

    `id` is what kubelet sees, unless the device is shared: then kubelet sees `<id>-0` to `<id>-<shares - 1>`.
    `resource` is the full name (`gpu.intel.com/i915`).
    `sysfs_path` says which device of the kernel this is, whatever it is called today: a path below /sys.
    `numa_nodes` is empty when the kernel does not know.
    `cdi_name` is the name inside the CDI kind `intel.cdi.k8s.io/<backend>`.
    """

    id: str
    resource: str
    sysfs_path: str
    edits: ContainerEdits
    cdi_name: str
    shares: int | None = None
    numa_nodes: tuple[int, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=_empty)
    faults: frozenset[Fault] = frozenset()
    ids: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Every id under which kubelet can hand the device out."""

    def __post_init__(self) -> None:
        ids = (self.id,) if self.shares is None else tuple([f"{self.id}-{share}" for share in range(self.shares)])
        object.__setattr__(self, "ids", ids)

    @property
    def health(self) -> Health:
        return Health.UNHEALTHY if self.faults else Health.HEALTHY

    @property
    def exclusive(self) -> bool:
        """Whether one container at a time can have the device."""
        return self.shares in {None, 1}


@dataclass(frozen=True, slots=True, order=True)
class Exclusion:
    """Something seen and not offered: where, the rule that decided, what was seen, and what to do about it."""

    path: str
    rule: str
    evidence: str
    remedy: str


UNREADABLE_RULE = "unreadable"
"""The rule of an exclusion that says: this device may be there, but its files cannot be read."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the kernel.

    `action` and `subsystem` as in the uevent (`add`, `drm`), `path` its DEVPATH (below /sys, without that prefix).
    """

    action: str
    subsystem: str
    path: str
    properties: Mapping[str, str] = field(default_factory=_empty)
