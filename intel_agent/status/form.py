"""The form of what the agent tells of itself: the same data in JSON, in YAML and as a table.

Times are seconds since 1970; what is not known is null. Who only prints a report needs nothing else of the agent.
"""

from collections.abc import Mapping

import msgspec


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """What is wrong with a device, and what to do about it."""

    reason: str
    source: str
    detail: str
    remedy: str


class Holder(msgspec.Struct, frozen=True, rename="camel"):
    """The container that holds an id."""

    namespace: str
    pod: str
    container: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}/{self.container}"


class Id(msgspec.Struct, frozen=True, rename="camel"):
    """A name under which kubelet can hand a device out.

    `health` is what kubelet hears of it, `allocatable` whether kubelet takes it for healthy.
    """

    id: str
    health: str
    allocatable: bool | None
    holder: Holder | None


class Device(msgspec.Struct, frozen=True, rename="camel"):
    """A device that kubelet hears of, or soon will. `since` is when its faults and warnings became what they are."""

    kind: str
    resource: str
    id: str
    health: str
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    since: float | None
    shares: int | None
    numa_nodes: tuple[int, ...]
    sysfs_path: str
    attributes: Mapping[str, str]
    decided_by: str | None
    ids: tuple[Id, ...]


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    """A resource at kubelet. `allocatable` is how many ids kubelet takes for healthy."""

    name: str
    kind: str
    registered: bool
    listed: bool
    devices: int
    ids: int
    healthy: int
    allocatable: int | None
    held: int | None


class Kind(msgspec.Struct, frozen=True, rename="camel"):
    """A kind of devices and the looks at it. `last_look` is when the last one that succeeded ended."""

    name: str
    devices: int
    excluded: int
    looks: int
    failures: int
    seconds: float
    last_look: float | None
    problem: str | None


class Exclusion(msgspec.Struct, frozen=True, rename="camel"):
    """Something that is seen and not offered."""

    kind: str
    path: str
    rule: str
    evidence: str
    remedy: str


class Kubelet(msgspec.Struct, frozen=True, rename="camel"):
    """The kubelet that is served. `since` is when it made its socket; `tells_holders` whether it says who has what."""

    since: float | None
    tells_holders: bool


class Configuration(msgspec.Struct, frozen=True, rename="camel"):
    """What is in force, and why a newer file is not."""

    file: str | None
    generation: int
    problems: tuple[str, ...]


class Events(msgspec.Struct, frozen=True, rename="camel"):
    """How often something happened since the start: kernel's messages by subsystem, lines of the log by event."""

    kernel: Mapping[str, int]
    log: Mapping[str, int]
    lost_lines: int


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """Everything. `revision` is another one whenever something but a counter or a time of a look changed."""

    revision: str
    version: str
    node: str
    ready: bool
    missing: tuple[str, ...]
    kubelet: Kubelet
    configuration: Configuration
    resources: tuple[Resource, ...]
    devices: tuple[Device, ...]
    excluded: tuple[Exclusion, ...]
    kinds: tuple[Kind, ...]
    events: Events


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """Something that was said in the log, at whatever level is written out: the event, and its keys in words."""

    time: float
    level: str
    event: str
    text: str


class Explanation(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a thing. `name` is what was asked for, `kinds` are those of what is called so."""

    name: str
    resources: tuple[Resource, ...]
    devices: tuple[Device, ...]
    excluded: tuple[Exclusion, ...]
    kinds: tuple[Kind, ...]
    events: tuple[Event, ...]
