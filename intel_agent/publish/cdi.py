"""CDI spec files: what a container runtime adds for a name like `intel.cdi.k8s.io/gpu=card0`.

Source: the Container Device Interface specification, version 0.5.0 (the first with `hostPath` of a device node).
One file of our own for each kind, replaced as a whole; files of others are read, never touched.
"""

import base64
import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import structlog
import yaml

from intel_agent._proto.v1beta1 import ContainerAllocateResponse
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode
from intel_agent.sysfs import Host

log = structlog.get_logger()

VERSION = "0.5.0"
VENDOR = "intel.cdi.k8s.io"
PREFIX = "intel-agent-"
CHECKPOINT = "kubelet_internal_checkpoint"


def name(kind: str, device: Device) -> str:
    """Return the device's fully qualified name, as Allocate answers it."""
    return f"{VENDOR}/{kind}={device.cdi_name}"


@dataclass(frozen=True, slots=True)
class Specs:
    """Which names to define: by kind, then by device name."""

    kinds: Mapping[str, Mapping[str, ContainerEdits]]

    @classmethod
    def of(cls, devices: Iterable[tuple[str, Device]], wanted: Iterable[str], kinds: Iterable[str]) -> "Specs":
        """Return the specs for `devices` (each with its kind): of `kinds`, and those whose names are `wanted`."""
        names, every = frozenset(wanted), frozenset(kinds)
        specs: dict[str, dict[str, ContainerEdits]] = {}
        for kind, device in devices:
            if kind in every or name(kind, device) in names:
                specs.setdefault(kind, {})[device.cdi_name] = device.edits
        return cls(specs)


def write(directory: str, specs: Specs, host: Host) -> None:
    """Make our files in `directory` say exactly `specs`; each file changes at once or not at all.

    A name that a file of somebody else defines already is left to that file: two definitions make a name useless.

    Raises:
        OSError: the directory cannot be made or written.
    """
    if specs.kinds:
        os.makedirs(directory, exist_ok=True)
    foreign = frozenset(_foreign_names(directory))
    wanted: dict[str, bytes] = {}
    for kind, devices in specs.kinds.items():
        own = {each: edits for each, edits in devices.items() if f"{VENDOR}/{kind}={each}" not in foreign}
        if own:
            wanted[f"{PREFIX}{kind}.json"] = _rendered(kind, own, host)
    for file, content in wanted.items():
        _replace(os.path.join(directory, file), content)
    for file in _files(directory):
        if file.startswith(PREFIX) and file not in wanted:
            os.unlink(os.path.join(directory, file))


def remembered(device_plugins: str) -> frozenset[str]:
    """Return the names of ours in the answers that kubelet's checkpoint keeps for running pods.

    After a reboot kubelet starts containers with those answers, while the files in /run are gone.
    A checkpoint that is not there or not as we know it gives nothing.
    """
    names: set[str] = set()
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        with open(os.path.join(device_plugins, CHECKPOINT), "rb") as file:
            data = json.load(file)["Data"]
        for entry in data["PodDeviceEntries"] or ():
            answer = ContainerAllocateResponse.parse(base64.b64decode(entry["AllocResp"]))
            names |= {each.name for each in answer.cdi_devices if each.name.startswith(f"{VENDOR}/")}
    return frozenset(names)


def _rendered(kind: str, devices: Mapping[str, ContainerEdits], host: Host) -> bytes:
    spec = {
        "cdiVersion": VERSION,
        "kind": f"{VENDOR}/{kind}",
        "devices": [{"name": each, "containerEdits": _edits(edits, host)} for each, edits in sorted(devices.items())],
    }
    return msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n"


def _edits(edits: ContainerEdits, host: Host) -> dict[str, object]:
    parts: dict[str, list[object]] = {
        "deviceNodes": [
            {"path": node.path, "hostPath": _node_itself(host, node), "permissions": node.permissions}
            for node in edits.device_nodes
        ],
        "mounts": [
            {
                "hostPath": mount.host_path,
                "containerPath": mount.container_path,
                "options": ["bind", "ro" if mount.read_only else "rw"],
            }
            for mount in edits.mounts
        ],
        "env": [f"{key}={value}" for key, value in edits.env.items()],
    }
    return {key: values for key, values in parts.items() if values}


def _node_itself(host: Host, node: DeviceNode) -> str:
    """Return the host's path of the node without a link in its last place: runtimes take no links here."""
    try:
        target = host.target(node.path)
    except SysfsError:  # it is no link
        target = None
    return node.host_path if target is None else host.host_root + target


def _replace(path: str, content: bytes) -> None:
    """Write a file that readers find whole, old or new, and nothing when it is so already."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == content:
            return
    hidden = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.tmp")
    with open(hidden, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(hidden, 0o644)
    os.rename(hidden, path)
    log.info("cdi.written", file=path)


def _files(directory: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(directory))
    return []


def _foreign_names(directory: str) -> Iterator[str]:
    for file in _files(directory):
        if file.startswith((PREFIX, ".")) or not file.endswith((".json", ".yaml")):
            continue
        with contextlib.suppress(OSError, yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError):
            with open(os.path.join(directory, file), encoding="utf-8") as text:
                spec = yaml.load(text, yaml.CBaseLoader)  # noqa: S506 - texts only: nothing can be wrong with a date
            if str(spec["kind"]).startswith(f"{VENDOR}/"):
                yield from (f"{spec['kind']}={device['name']}" for device in spec["devices"])
