"""The words of CDI: what a container runtime adds for a name like `intel.cdi.k8s.io/gpu=card0`.

Source: the Container Device Interface specification, version 0.5.0 (the first with `hostPath` of a device node).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping

import msgspec
import yaml

from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Hook, Mount
from intel_agent.sysfs import Host

Edits = Mapping[str, list[object]]
"""Container edits as a spec file has them."""

VERSION = "0.5.0"
VENDOR = "intel.cdi.k8s.io"


def name(kind: str, device: Device) -> str:
    """Return the device's fully qualified name, as Allocate answers it."""
    return qualified(kind, device.cdi_name)


def qualified(kind: str, device: str) -> str:
    return f"{VENDOR}/{kind}={device}"


def spec(kind: str, devices: Mapping[str, Edits]) -> bytes:
    """Return the content of a spec file."""
    content = {
        "cdiVersion": VERSION,
        "kind": f"{VENDOR}/{kind}",
        "devices": [{"name": each, "containerEdits": edits} for each, edits in sorted(devices.items())],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def defined(content: bytes) -> dict[str, Edits]:
    """Return the devices in a file of ours, nothing if it is damaged: it is written again."""
    try:
        return {each["name"]: each["containerEdits"] for each in json.loads(content)["devices"]}
    except (ValueError, LookupError, TypeError):
        return {}


def names(content: bytes) -> Iterator[str]:
    """Yield the names of our vendor in a file of somebody else, as far as it can be understood."""
    with contextlib.suppress(yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError):
        spec = yaml.load(content, yaml.CBaseLoader)  # noqa: S506 - texts only: nothing can be wrong with a date
        if str(spec["kind"]).startswith(f"{VENDOR}/"):
            yield from (f"{spec['kind']}={device['name']}" for device in spec["devices"])


def edits(edits: ContainerEdits, host: Host) -> Edits:
    """Return the edits in the words of a spec file, which has none for annotations.

    Looks at the nodes, so it belongs into a thread.
    """
    parts: dict[str, list[object]] = {
        "deviceNodes": [
            {"path": node.path, "hostPath": _node_itself(host, node), "permissions": node.permissions}
            for node in edits.device_nodes
        ],
        "mounts": [_mount(mount) for mount in edits.mounts],
        "env": [f"{key}={value}" for key, value in edits.env.items()],
        "hooks": [_hook(hook) for hook in edits.hooks],
    }
    return {key: values for key, values in parts.items() if values}


def _mount(mount: Mount) -> dict[str, object]:
    bind = () if mount.type else ("bind",)
    words: dict[str, object] = {
        "hostPath": mount.host_path,
        "containerPath": mount.container_path,
        "type": mount.type,
        "options": [*bind, "ro" if mount.read_only else "rw", *mount.options],
    }
    return {key: value for key, value in words.items() if value}


def _hook(hook: Hook) -> dict[str, object]:
    words: dict[str, object] = {
        "hookName": hook.name,
        "path": hook.path,
        "args": list(hook.args),
        "env": list(hook.env),
    }
    return {key: value for key, value in words.items() if value}


def _node_itself(host: Host, node: DeviceNode) -> str:
    """Return the host's path of the node without a link in its last place: runtimes take no links here."""
    try:
        target = host.target(node.name)
    except SysfsError:  # it is no link
        target = None
    return node.host_path if target is None else host.host_path(target)
