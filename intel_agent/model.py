"""What the agent talks about: devices, what a container gets of them, and why one is not offered.

Everything here is immutable data. Words are those of kubelet, the kernel and CDI.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from intel_agent.errors import EditsError

_EMPTY: Mapping[str, str] = MappingProxyType({})


def _empty() -> Mapping[str, str]:
    return _EMPTY


_NO_NUMBERS: Mapping[str, float] = MappingProxyType({})


def _no_numbers() -> Mapping[str, float]:
    return _NO_NUMBERS


class Health(StrEnum):
    """Kubelet's two words, compared by it letter for letter."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


class Reason(StrEnum):
    """Why a device is unhealthy: one closed vocabulary, documented in docs/faults.md."""

    UNREADABLE = "unreadable"
    """Files of the device cannot be read, or reading them does not end."""
    DISABLED = "disabled"
    """The device, or what it belongs to, was switched off while it was offered."""
    HALTED = "halted"
    """The driver reports that the device stopped (idxd: state `halted`; QAT: its heartbeat failed)."""
    UNIDENTIFIED = "unidentified"
    """The device has all ones where it should say what it is (FPGA: `afu_id`, `compat_id`)."""
    GONE = "gone"
    """The device left the node; kubelet still hears of it until nobody can hold it."""
    HELD = "held"
    """A pod got the device under another name or another sharing and still holds it."""
    UNDEFINED = "undefined"
    """A file that others need to have the device is not written: of CDI, or of the device-info specification."""
    RESERVED = "reserved"
    """The configuration keeps the device from containers."""
    WEDGED = "wedged"
    """The driver gave the card up; nothing in /sys shows it."""
    HUNG = "hung"
    """The card hung, and its driver reset it."""
    UNBOUND = "unbound"
    """The driver let go of the device."""
    OFF_BUS = "off-bus"
    """The device does not answer on the PCI bus."""
    RECOVERING = "recovering"
    """The kernel recovers the device from a PCIe error."""
    NOT_RECOVERED = "not-recovered"
    """The kernel could not recover the device from a PCIe error, or a reset of it does not end."""
    FATAL_ERRORS = "fatal-errors"
    """A fatal error of the device was noted, or one of PCIe on the way to it."""
    NONFATAL_ERRORS = "nonfatal-errors"
    """An uncorrectable error was noted that is not fatal."""
    POWER = "power"
    """Switching the device's power failed."""
    LINK_WIDTH = "link-width"
    """The PCIe link has fewer lanes than both of its ends can have."""
    LINK_DOWN = "link-down"
    """The network link of the device, or of its physical function, is down."""
    DUMPED = "dumped"
    """The driver wrote a dump of the device after something went wrong."""
    RESETTING = "resetting"
    """The driver resets the card."""
    SURVIVABILITY = "survivability"
    """The card waits for new firmware."""
    HOT = "hot"
    """The card is so hot that it slows itself down."""
    OVERHEATED = "overheated"
    """The card is so hot that it may switch itself off, or hotter than the configuration allows."""
    ERROR_REGISTER = "error-register"
    """The accelerator has noted an error that does not stop it, mostly of software that uses it."""
    JUDGED_WARNING = "judged-warning"
    """An outside judge warns of the device."""
    JUDGED_CRITICAL = "judged-critical"
    """An outside judge takes the device for ill."""
    JUDGED_FAILED = "judged-failed"
    """An outside judge takes the device for broken."""
    MARKED = "marked"
    """An administrator marked the device unhealthy."""


WARNINGS = frozenset(
    {
        Reason.HUNG,
        Reason.NONFATAL_ERRORS,
        Reason.LINK_WIDTH,
        Reason.DUMPED,
        Reason.RESETTING,
        Reason.HOT,
        Reason.ERROR_REGISTER,
        Reason.JUDGED_WARNING,
    }
)
"""Reasons that do not keep a device from being handed out, unless the configuration says otherwise."""
LASTING = frozenset({Reason.FATAL_ERRORS, Reason.HALTED})
"""Reasons that last when they are counted, until a message ends them, another life, or that the count is set back."""
SETTLED = frozenset({Reason.DISABLED, Reason.GONE, Reason.HELD, Reason.UNDEFINED, Reason.RESERVED, Reason.MARKED})
"""Reasons that are no matter of taste: somebody has decided, or a container would get what is not there or not free."""

Treatment = Literal["fault", "warning", "ignore"]
"""What to make of a reason: Unhealthy, a word in the log and in what is reported, or nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that is wrong with a device: the reason, who says so, and a sentence for people."""

    reason: Reason
    source: str
    detail: str


@dataclass(frozen=True, slots=True, order=True)
class DeviceNode:
    """A device node as CDI names it; `permissions` are letters of `rwm`, at least one.

    `origin` is what the node's own machine calls it (`/dev/...`), where the container calls it something else.
    """

    path: str
    host_path: str
    permissions: str = "rw"
    origin: str | None = None

    @property
    def name(self) -> str:
        """The node as a `Host` knows it."""
        return self.origin or self.path


@dataclass(frozen=True, slots=True, order=True)
class Mount:
    """A mount as CDI names it: a bind mount, or of a file system of type `type`; `options` beside `ro` or `rw`."""

    container_path: str
    host_path: str
    read_only: bool = True
    options: tuple[str, ...] = ()
    type: str | None = None

    @property
    def plain(self) -> bool:
        """Whether kubelet's own interface has words for it."""
        return not self.options and self.type is None


HookName = Literal["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
"""When a hook runs (the OCI runtime specification, Lifecycle)."""


@dataclass(frozen=True, slots=True, order=True)
class Hook:
    """A program of the host that the container runtime runs, as root, at a moment in a container's life.

    `args` begin with the program's own name, `env` are texts like `NAME=value`; both may be empty.
    """

    name: HookName
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerEdits:
    """What a container gets with a device, in CDI's words: one form for Allocate, CDI and DRA.

    `left + right` is what a container with both gets: doubles are merged, the order is kept.
    CDI knows no annotations, and Allocate's answer knows no hooks and no mounts that are not plain.
    """

    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=_empty)
    annotations: Mapping[str, str] = field(default_factory=_empty)
    hooks: tuple[Hook, ...] = ()

    @property
    def has_cdi(self) -> bool:
        """Whether there is anything that CDI could add to a container: a device of a file must have something."""
        return bool(self.device_nodes or self.mounts or self.env or self.hooks)

    @property
    def needs_cdi(self) -> bool:
        """Whether a container can get some of it by a CDI name alone."""
        return bool(self.hooks) or not all(mount.plain for mount in self.mounts)

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
    hooks: dict[Hook, None] = {}
    for part in parts:
        for node in part.device_nodes:
            if nodes.setdefault(node.path, node) != node:
                raise EditsError(f"{node.path} would be both {nodes[node.path]} and {node}")
        for mount in part.mounts:
            if mounts.setdefault(mount.container_path, mount) != mount:
                raise EditsError(f"{mount.container_path} would be both {mounts[mount.container_path]} and {mount}")
        _merge("variable", env, part.env)
        _merge("annotation", annotations, part.annotations)
        hooks.update(dict.fromkeys(part.hooks))
    return ContainerEdits(tuple(nodes.values()), tuple(mounts.values()), env, annotations, tuple(hooks))


def _merge(what: str, into: dict[str, str], more: Mapping[str, str]) -> None:
    for key, value in more.items():
        if into.setdefault(key, value) != value:
            raise EditsError(f"{what} {key} would be both {into[key]!r} and {value!r}")


_NO_TREATMENTS: Mapping[Reason, Treatment] = MappingProxyType({})


def _untreated() -> Mapping[Reason, Treatment]:
    return _NO_TREATMENTS


@dataclass(frozen=True, slots=True)
class Readings:
    """What was measured at a device in a look: degrees Celsius by sensor, and the lanes of its PCIe link."""

    temperatures: Mapping[str, float] = field(default_factory=_no_numbers)
    lanes: int | None = None
    possible_lanes: int | None = None
    """How many lanes both ends of the link can have."""


NO_READINGS = Readings()


@dataclass(frozen=True, slots=True)
class Device:
    """One thing a container can be given.

    `id` is what kubelet sees, unless the device is shared: then kubelet sees `<id>-0` to `<id>-<shares - 1>`.
    `resource` is the full name (`gpu.intel.com/i915`).
    `sysfs_path` says which device of the kernel this is, whatever it is called today: a path below /sys.
    `numa_nodes` is empty when the kernel does not know.
    `cdi_name` is the name inside the CDI kind `intel.cdi.k8s.io/<backend>`.
    `prefer_last`: a container gets it only if no other device is free.
    `treatments` are the reasons that are treated differently for this one than for its kind.
    `decided_by` is the key path of the rule that decided on the device (`devices.gpu.rules[0]`), if any did.
    `depends_on` are paths below /sys whose faults are the device's own, besides its own path and those above it: a
    virtual function's physical one, what is in one IOMMU group with a function that user space drives.
    Of what a backend finds wrong, `faults` is all; how each is treated is decided later (`intel_agent.health`), and
    then `faults` are those that keep the device from being handed out, `warnings` those that do not.
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
    parts: tuple[str, ...] = ()
    """What else belongs to it and could be a device of its own: paths below /sys. Nobody gets both at a time."""
    prefer_last: bool = False
    treatments: Mapping[Reason, Treatment] = field(default_factory=_untreated)
    decided_by: str | None = None
    warnings: frozenset[Fault] = frozenset()
    depends_on: tuple[str, ...] = ()
    readings: Readings = field(default=NO_READINGS, repr=False, compare=False)
    """Of the look that made this object: another reading makes no other device."""
    ids: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Every id under which kubelet can hand the device out."""

    def __post_init__(self) -> None:
        ids = (self.id,) if self.shares is None else tuple([f"{self.id}-{share}" for share in range(self.shares)])
        object.__setattr__(self, "ids", ids)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every device of the kernel that whoever has this one has."""
        return (self.sysfs_path, *self.parts)

    @property
    def health(self) -> Health:
        return Health.UNHEALTHY if self.faults else Health.HEALTHY

    @property
    def exclusive(self) -> bool:
        """Whether one container at a time can have the device."""
        return self.shares in {None, 1}


@dataclass(frozen=True, slots=True, order=True)
class Exclusion:
    """Something seen and not offered: where, the rule that decided, what was seen, and what to do about it.

    `reason` is what is wrong with it when it was offered until now, and somebody may still have it.
    """

    path: str
    rule: str
    evidence: str
    remedy: str
    reason: Reason = Reason.GONE


@dataclass(frozen=True, slots=True, order=True)
class RuleProblem:
    """A rule of the configuration, by its key path, that does not do what it says, and why."""

    setting: str
    problem: str


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


_NO_COUNTS: Mapping[Fault, int] = MappingProxyType({})


def _no_counts() -> Mapping[Fault, int]:
    return _NO_COUNTS


@dataclass(frozen=True, slots=True)
class Signs:
    """What a look read of a path below /sys on which devices hang, and which need not be one of them.

    `counts` rise: when one is more than at the look before, that fault happened. One that is less was set back.
    """

    path: str
    faults: frozenset[Fault] = frozenset()
    counts: Mapping[Fault, int] = field(default_factory=_no_counts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a message says of a path below /sys: what is wrong there, or which reasons are over.

    It is meant for everything at or below the path, and for what depends on that.
    A fault lasts until another verdict ends it, the driver is bound anew (unless it `outlasts_driver`), or the device
    leaves the node. With `passed` it is over already: something happened, and nothing will tell of its end.
    With `seconds` it lasts so long at most; then it is over, or becomes `then`.
    """

    path: str
    fault: Fault | None = None
    over: frozenset[Reason] = frozenset()
    passed: bool = False
    seconds: float | None = None
    then: Fault | None = None
    outlasts_driver: bool = False
