"""What kubelet's checkpoint file remembers of device plugins: read when kubelet cannot be asked, or does not tell.

Source: pkg/kubelet/cm/devicemanager/checkpoint of Kubernetes. The file is kubelet's own and is only read.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from intel_agent._proto.v1beta1 import ContainerAllocateResponse
from intel_agent.allocation import device_of
from intel_agent.publish import ownfile
from intel_agent.publish.holdings import Key

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


class _Entry(msgspec.Struct, rename="pascal"):
    resource_name: str
    device_ids: dict[str, list[str] | None] = msgspec.field(
        name="DeviceIDs", default_factory=dict[str, list[str] | None]
    )
    """By NUMA node, -1 where there is none."""
    alloc_resp: bytes = b""


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
    data = _decoder.decode(content).data
    entries = data.pod_device_entries or []
    registered = data.registered_devices or {}
    return Checkpoint(
        held=frozenset((entry.resource_name, each) for entry in entries for each in _ids(entry)),
        cdi_names=frozenset(name for entry in entries for name in _names(entry.alloc_resp)),
        shares={resource: Counter(map(device_of, ids)) for resource, ids in registered.items() if ids},
    )


def _ids(entry: _Entry) -> Iterator[str]:
    for node in entry.device_ids.values():
        yield from node or ()


def _names(answer: bytes) -> list[str]:
    try:
        message = ContainerAllocateResponse.parse(answer)
        return [each.name for each in message.cdi_devices]
    except Exception as error:  # whatever the decoder makes of it
        raise ValueError(f"an answer in it is none: {error!r}") from error
