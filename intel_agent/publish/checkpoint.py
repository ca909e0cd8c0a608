"""What kubelet's checkpoint file remembers of device plugins: read when kubelet cannot be asked, or does not tell.

Source: pkg/kubelet/cm/devicemanager/checkpoint of Kubernetes. The file is kubelet's own and is only read.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from intel_agent import ownfile
from intel_agent._proto.v1beta1 import ContainerAllocateResponse
from intel_agent.allocation import device_of
from intel_agent.publish.holdings import Key, Node

NAME = "kubelet_internal_checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is in the file; nothing if there is none."""

    held: frozenset[Key] = frozenset()
    """What containers got; some may have ended since."""
    cdi_names: frozenset[str] = frozenset()
    """The CDI names in the answers that they got."""
    shares: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    """By resource and device: how many healthy ids the device plugin of then had for it."""
    nodes: Mapping[Key, frozenset[Node]] = field(default_factory=dict[Key, frozenset[Node]])
    """The device nodes that containers got, with this id among others."""


class _Entry(msgspec.Struct, rename="pascal"):
    resource_name: str
    device_ids: dict[str, list[str] | None] = msgspec.field(
        name="DeviceIDs", default_factory=dict[str, list[str] | None]
    )
    """By NUMA node, -1 where there is none."""
    alloc_resp: bytes = b""
    pod_uid: str = msgspec.field(name="PodUID", default="")


class _Data(msgspec.Struct, rename="pascal"):
    pod_device_entries: list[_Entry] | None = None
    registered_devices: dict[str, list[str] | None] | None = None
    """The healthy ones of each resource."""


class _File(msgspec.Struct, rename="pascal"):
    data: _Data


_decoder = msgspec.json.Decoder(_File)


def read(device_plugins: str) -> Checkpoint:
    """Return what the checkpoint in kubelet's directory says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not as we know it.
    """
    content = ownfile.read(os.path.join(device_plugins, NAME))
    if not content:
        return Checkpoint()
    data = _decoded(content)
    entries = data.pod_device_entries or []
    names: set[str] = set()
    nodes: dict[Key, set[Node]] = {}
    for entry in entries:
        by_name, by_node = _answer(entry)
        names |= by_name
        for each in _ids(entry):
            nodes.setdefault((entry.resource_name, each), set()).update(by_node)
    registered = data.registered_devices or {}
    return Checkpoint(
        held=frozenset(nodes),
        cdi_names=frozenset(names),
        shares={resource: Counter(map(device_of, ids)) for resource, ids in registered.items() if ids},
        nodes={key: frozenset(got) for key, got in nodes.items() if got},
    )


def pods(device_plugins: str) -> dict[Key, str]:
    """Return the ids (`metadata.uid`) of pods by what they have; not where the file does not say which one has it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not as we know it.
    """
    content = ownfile.read(os.path.join(device_plugins, NAME))
    entries = (_decoded(content).pod_device_entries or []) if content else []
    known: dict[Key, set[str]] = {}
    for entry in entries:
        for each in _ids(entry):
            known.setdefault((entry.resource_name, each), set()).add(entry.pod_uid)
    # Pods that ended stay in it for a while.
    return {key: next(iter(each)) for key, each in known.items() if len(each) == 1}


def _decoded(content: bytes) -> _Data:
    try:
        return _decoder.decode(content).data
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _ids(entry: _Entry) -> Iterator[str]:
    for node in entry.device_ids.values():
        yield from node or ()


def _answer(entry: _Entry) -> tuple[frozenset[str], frozenset[Node]]:
    """Return the CDI names and the device nodes that the container got."""
    try:
        answer = ContainerAllocateResponse.parse(entry.alloc_resp)
        return frozenset(each.name for each in answer.cdi_devices), frozenset(
            (each.container_path, each.host_path) for each in answer.devices
        )
    except Exception as error:  # whatever the decoder makes of it
        raise ValueError(f"an answer in it is none: {error!r}") from error
