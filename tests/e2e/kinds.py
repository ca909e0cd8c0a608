"""The packaged machine with every kind, and what a container finds of each of its devices.

Written down from the facts of the plugins that the agent takes the place of, and from the numbers of that machine:
not asked of the agent.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Nodes = Mapping[str, tuple[int, int]]
"""Device numbers by path."""

POOLS = (
    {"resource": "intel.com/rdma", "selectors": {"isRdma": True}},
    {"resource": "intel.com/dpdk", "selectors": {"drivers": ["vfio-pci"]}},
    {"resource": "intel.com/netdevice", "selectors": {"drivers": ["iavf"]}},
)
SECTIONS: Mapping[str, Mapping[str, object]] = {
    "gpu": {"enableMonitoring": True},
    "npu": {"sharedDevNum": 2},
    "sgx": {"enclaveLimit": 1, "provisionLimit": 1},
    "nic": {"pools": POOLS},
}
"""What FINDINGS belong to; every other kind is as it is by default."""

PORT = "fpga.intel.com/af-695.d84.aVKNtusxV3qMNmj5-qCB9thCTcSko8QT-J5DNoP5BAs"


@dataclass(frozen=True)
class Finding:
    """What a container finds of a device: its nodes, and what its variables say."""

    nodes: Nodes
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def _card(number: int, address: str) -> Nodes:
    return {
        f"/dev/dri/card{number}": (226, number),
        f"/dev/dri/renderD{128 + number}": (226, 128 + number),
        f"/dev/dri/by-path/pci-{address}-card": (226, number),
        f"/dev/dri/by-path/pci-{address}-render": (226, 128 + number),
    }


def user_space(group: int, number: int) -> Nodes:
    """Return what VFIO has of a function: its group's node and its own, each with the one that belongs to it."""
    return {
        f"/dev/vfio/{group}": (240, group),
        "/dev/vfio/vfio": (10, 196),
        f"/dev/vfio/devices/vfio{number}": (239, number),
        "/dev/iommu": (10, 124),
    }


def _queue(kind: str, name: str, major: int, minor: int) -> Nodes:
    """Return a queue's node and the link to it, which libaccel-config opens."""
    return {f"/dev/{kind}/{name}": (major, minor), f"/dev/char/{major}:{minor}": (major, minor)}


def _function(pool: str, address: str, nodes: Nodes, **told: Mapping[str, str]) -> Finding:
    """Return a network function, with the variables of its pool."""
    name = f"PCIDEVICE_INTEL_COM_{pool}"
    info = {address: {"generic": {"deviceID": address}, **told}}
    return Finding(nodes, {name: address, f"{name}_INFO": json.dumps(info)})


def _dpdk(address: str, group: int) -> Finding:
    told = {"mount": "/dev/vfio/vfio", "dev-mount": f"/dev/vfio/{group}"}
    return _function("DPDK", address, user_space(group, group), vfio=told)


FINDINGS: Mapping[str, Mapping[str, Finding]] = {
    "gpu.intel.com/xe": {"card0-0": Finding(_card(0, "0000:3b:00.0"))},
    "gpu.intel.com/i915": {"card1-0": Finding(_card(1, "0000:bb:00.0"))},
    "gpu.intel.com/monitoring": {
        "all": Finding(
            {
                **{f"/dev/dri/card{number}": (226, number) for number in (0, 1)},
                **{f"/dev/dri/renderD{number}": (226, number) for number in (128, 129)},
                **{f"/dev/mei{number}": (241, number) for number in (1, 2)},
            }
        )
    },
    "gpu.intel.com/vfio": {
        "0000:5d:00.1": Finding(user_space(23, 0), {"PCI_RESOURCE_GPU_INTEL_COM_VFIO": "0000:5d:00.1"})
    },
    "npu.intel.com/accel": {f"accel0-{share}": Finding({"/dev/accel/accel0": (261, 0)}) for share in (0, 1)},
    "habana.ai/gaudi": {
        "0000:34:00.0": Finding(
            {
                "/dev/accel/accel1": (261, 1),
                "/dev/accel/accel_controlD1": (261, 129),
                "/dev/infiniband/uverbs2": (231, 194),
            },
            {"HABANA_VISIBLE_DEVICES": "1", "HL_VISIBLE_DEVICES": "/dev/accel/accel1"},
        )
    },
    "qat.intel.com/cy": {
        f"0000:6b:00.{number}": Finding(user_space(50 + number, number), {"QAT0": f"0000:6b:00.{number}"})
        for number in (1, 2)
    },
    "sgx.intel.com/enclave": {"sgx-enclave-0": Finding({"/dev/sgx_enclave": (10, 125)})},
    "sgx.intel.com/provision": {"sgx-provision-0": Finding({"/dev/sgx_provision": (10, 126)})},
    "dsa.intel.com/wq-user-shared": {"wq-user-shared-wq0.0-0": Finding(_queue("dsa", "wq0.0", 238, 0))},
    "dsa.intel.com/wq-user-dedicated": {
        f"wq-user-dedicated-wq0.{number}-0": Finding(_queue("dsa", f"wq0.{number}", 238, number)) for number in (1, 2)
    },
    "iaa.intel.com/wq-user-shared": {"wq-user-shared-wq1.0-0": Finding(_queue("iax", "wq1.0", 237, 0))},
    "iaa.intel.com/wq-user-dedicated": {
        f"wq-user-dedicated-wq1.{number}-0": Finding(_queue("iax", f"wq1.{number}", 237, number)) for number in (1, 2)
    },
    "dlb.intel.com/pf": {"/dev/dlb0": Finding({"/dev/dlb0": (234, 0)})},
    "dlb.intel.com/vf": {f"/dev/dlb{number}": Finding({f"/dev/dlb{number}": (234, number)}) for number in (2, 3)},
    PORT: {"dfl-port.0": Finding({"/dev/dfl-port.0": (235, 0)})},
    "intel.com/rdma": {
        "0000:18:01.0": _function(
            "RDMA",
            "0000:18:01.0",
            {
                "/dev/infiniband/umad0": (231, 0),
                "/dev/infiniband/issm0": (231, 64),
                "/dev/infiniband/uverbs0": (231, 192),
                "/dev/infiniband/rdma_cm": (10, 122),
            },
            rdma={
                "rdma_dev": "irdma0",
                "umad": "/dev/infiniband/umad0",
                "issm": "/dev/infiniband/issm0",
                "uverbs": "/dev/infiniband/uverbs0",
                "rdma_cm": "/dev/infiniband/rdma_cm",
            },
        )
    },
    "intel.com/dpdk": {f"0000:18:01.{number}": _dpdk(f"0000:18:01.{number}", 101 + number) for number in (2, 3)},
    "intel.com/netdevice": {"0000:18:01.1": _function("NETDEVICE", "0000:18:01.1", {})},
}
"""What a container finds of each device of the packaged machine `everything`, by resource and id."""

OFFER = {resource: frozenset(ids) for resource, ids in FINDINGS.items()}
"""What kubelet should know of that machine."""

INFORMATION: Mapping[str, Mapping[str, object]] = {
    "intel.com-rdma-0000:18:01.0": {"rdma-device": "irdma0"},
    "intel.com-netdevice-0000:18:01.1": {},
    "intel.com-dpdk-0000:18:01.2": {},
    "intel.com-dpdk-0000:18:01.3": {},
}
"""What a device-info file says of a network function beside the two addresses, by the first part of its name."""

_OURS = ("PCIDEVICE_", "PCI_RESOURCE_", "QAT", "VFIO_", "HABANA_", "HL_", "FPGA_")
"""What the names of variables that a device plugin sets begin with."""


def finding(ids: Iterable[tuple[str, str]]) -> Finding:
    """Return what a container finds that got these devices, by resource and id."""
    each = [FINDINGS[resource][identifier] for resource, identifier in ids]
    return Finding(
        {path: numbers for one in each for path, numbers in one.nodes.items()},
        {name: text for one in each for name, text in one.environment.items()},
    )


def variables(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the variables of device plugins, those in JSON decoded: the order of keys in a text says nothing."""
    return {
        name: json.loads(text) if name.endswith("_INFO") else text
        for name, text in environment.items()
        if name.startswith(_OURS)
    }
