"""Kubelet's memory of who got what: `kubelet_internal_checkpoint`, in the real one's form (without its checksum)."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from intel_agent._proto.v1beta1 import ContainerAllocateResponse

FILE = "kubelet_internal_checkpoint"
NO_NODE = -1
"""What the checkpoint calls the NUMA node of a device that came without topology."""

Key: TypeAlias = tuple[str, str, str]
"""Pod, container, resource."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The ids, by NUMA node, that a container got of a resource, and the plugin's answer."""

    ids_by_node: Mapping[int, tuple[str, ...]]
    answer: ContainerAllocateResponse

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(each for ids in self.ids_by_node.values() for each in ids)


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    pod_uid: str = msgspec.field(name="PodUID")
    container_name: str
    resource_name: str
    device_ids: dict[str, list[str]] = msgspec.field(name="DeviceIDs")
    alloc_resp: str = ""


class _Data(msgspec.Struct, frozen=True, rename="pascal"):
    pod_device_entries: list[_Entry] | None = None
    registered_devices: dict[str, list[str] | None] | None = None


class _Checkpoint(msgspec.Struct, frozen=True, rename="pascal"):
    data: _Data
    checksum: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the checkpoint says."""

    assignments: Mapping[Key, Assignment]
    registered: Mapping[str, tuple[str, ...]]
    """Healthy ids by resource."""


def load(directory: Path) -> Memory:
    """Return what the checkpoint of the directory says; nothing when there is none or it is damaged."""
    try:
        stored = msgspec.json.decode((directory / FILE).read_bytes(), type=_Checkpoint).data
    except (FileNotFoundError, msgspec.DecodeError):
        return Memory({}, {})
    return Memory(
        {
            (entry.pod_uid, entry.container_name, entry.resource_name): Assignment(
                {int(node): tuple(ids) for node, ids in entry.device_ids.items()},
                ContainerAllocateResponse.parse(base64.b64decode(entry.alloc_resp)),
            )
            for entry in stored.pod_device_entries or ()
        },
        {resource: tuple(ids or ()) for resource, ids in (stored.registered_devices or {}).items()},
    )


def save(directory: Path, memory: Memory) -> None:
    """Write the checkpoint, all of it at one stroke."""
    entries = [_entry(key, assignment) for key, assignment in memory.assignments.items()]
    registered: dict[str, list[str] | None] = {name: sorted(ids) for name, ids in memory.registered.items()}
    there = directory / f".{FILE}"
    descriptor = os.open(there, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(_Checkpoint(_Data(entries, registered))))
    there.rename(directory / FILE)


def _entry(key: Key, assignment: Assignment) -> _Entry:
    pod, container, resource = key
    ids = {str(node): sorted(each) for node, each in assignment.ids_by_node.items()}
    return _Entry(pod, container, resource, ids, base64.b64encode(bytes(assignment.answer)).decode("ascii"))
