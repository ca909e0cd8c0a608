"""What containers, and others on the node, are told of devices: variables, and the device-info files of the NPWG.

Source of the files' format: the Device Information Specification 1.1.0 of the Network Plumbing Working Group.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from intel_agent import userspace
from intel_agent.backends.nic.nodes import RDMA_CONNECTIONS, TUN, VHOST_NET
from intel_agent.backends.nic.pools import Pool, variable
from intel_agent.model import Device

Values = Mapping[str, str]
VERSION = "1.1.0"
EVERY_DEVICE = "*"

_RDMA_KEYS = ("uverbs", "umad", "issm")


def variables(devices: Sequence[Device], pool: Pool) -> dict[str, str]:
    """Return the variables of a container that has these devices of one resource."""
    name = variable(devices[0].resource)
    told = {device.id: dict(_providers(device, pool)) for device in devices}
    return {
        name: ",".join(device.id for device in devices),
        f"{name}_INFO": json.dumps(told, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
    }


def _providers(device: Device, pool: Pool) -> Iterator[tuple[str, Values]]:
    """Yield what each part of the existing plugin (info provider) tells of a device."""
    attributes, paths = device.attributes, [node.path for node in device.edits.device_nodes]
    yield "generic", {"deviceID": device.id}
    if attributes["deviceType"] != "auxNetDevice":
        if attributes.get("driver") in userspace.VFIO_DRIVERS:
            yield "vfio", _vfio(paths)
        elif attributes.get("driver") in userspace.UIO_DRIVERS:
            yield "uio", {"mount": next(path for path in paths if path.startswith("/dev/uio"))}
    if pool.additional_info:
        own = pool.additional_info.get(attributes["pciAddress"], {})
        yield "extra", {**pool.additional_info.get(EVERY_DEVICE, {}), **own}
    if "vdpaDriver" in attributes:
        path = attributes.get("vdpaPath")
        yield "vdpa", {"mount": path} if path else {}
    elif "rdma" in attributes:
        yield "rdma", _rdma(attributes, paths)
    if VHOST_NET in paths:
        yield "vhost", {"net-mount": VHOST_NET, "tun-mount": TUN}


def _vfio(paths: Sequence[str]) -> Values:
    """Return the node that is opened first, and the device's own: those of groups where there are groups."""
    first = userspace.CONTAINER if userspace.CONTAINER in paths else userspace.IOMMU
    own = next(path for path in paths if path.startswith("/dev/vfio/") and path != userspace.CONTAINER)
    return {"mount": first, "dev-mount": own}


def _rdma(attributes: Mapping[str, str], paths: Sequence[str]) -> Values:
    values = {key: path for key in _RDMA_KEYS for path in paths if f"/{key}" in path}
    if RDMA_CONNECTIONS in paths:
        values["rdma_cm"] = RDMA_CONNECTIONS
    if names := attributes.get("rdmaDevices"):
        values["rdma_dev"] = names.partition(",")[0]
    return values


def device_info(device: Device) -> dict[str, object] | None:
    """Return the content of a device's file, or `None` for devices that have none."""
    attributes = device.attributes
    if attributes["deviceType"] != "netDevice":
        return None
    common = {
        "pci-address": device.id,
        "pf-pci-address": attributes.get("physicalFunction"),
        "representor-device": attributes.get("representor"),
    }
    if "vdpaDriver" in attributes:
        own = {
            "parent-device": attributes["vdpaDevice"],
            "driver": attributes["vdpaDriver"],
            "path": attributes.get("vdpaPath"),
        }
        return {"type": "vdpa", "version": VERSION, "vdpa": _known({**own, **common})}
    vhost_net = next((node.path for node in device.edits.device_nodes if node.path == VHOST_NET), None)
    own = {"rdma-device": attributes.get("rdmaDevices"), "vhost-net": vhost_net}
    return {"type": "pci", "version": VERSION, "pci": _known({**common, **own})}


def _known(values: Mapping[str, str | None]) -> Values:
    return {key: value for key, value in values.items() if value}
