"""The simulated machine of these tests: three GPUs, SGX, a DSA with two queues and an IAA with one."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from intel_agent.simulation.disk import add, change, materialise, remove
from intel_agent.simulation.tree import Tree, ancestors, parse

I915 = "gpu.intel.com/i915"
XE = "gpu.intel.com/xe"
MONITORING = "gpu.intel.com/monitoring"
ENCLAVE = "sgx.intel.com/enclave"
PROVISION = "sgx.intel.com/provision"
DEDICATED = "dsa.intel.com/wq-user-dedicated"
SHARED = "dsa.intel.com/wq-user-shared"
ANALYTICS = "iaa.intel.com/wq-user-dedicated"

DEVICES: Mapping[str, Mapping[str, object]] = {
    "gpu": {"sharedDevNum": 2, "preferredAllocationPolicy": "balanced", "enableMonitoring": True},
    "sgx": {"enclaveLimit": 10, "provisionLimit": 10},
    "dsa": {"sharedDevNum": 4},
    "iaa": {},
}
"""The sections of the agent's configuration that OFFER belongs to."""

OFFER: Mapping[str, frozenset[str]] = {
    I915: frozenset({"card0-0", "card0-1", "card1-0", "card1-1"}),
    XE: frozenset({"card2-0", "card2-1"}),
    MONITORING: frozenset({"all"}),
    ENCLAVE: frozenset(f"sgx-enclave-{number}" for number in range(10)),
    PROVISION: frozenset(f"sgx-provision-{number}" for number in range(10)),
    DEDICATED: frozenset({"wq-user-dedicated-wq0.0-0"}),
    SHARED: frozenset(f"wq-user-shared-wq0.1-{number}" for number in range(4)),
    ANALYTICS: frozenset({"wq-user-dedicated-wq1.0-0"}),
}
"""What kubelet should know of this machine."""


_OWN_NODES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    **{
        f"card{number}": {
            f"/dev/dri/card{number}": (226, number),
            f"/dev/dri/renderD{128 + number}": (226, 128 + number),
            f"/dev/dri/by-path/pci-{address}-card": (226, number),
            f"/dev/dri/by-path/pci-{address}-render": (226, 128 + number),
        }
        for number, address in enumerate(("0000:3a:00.0", "0000:3b:00.0", "0000:4d:00.0"))
    },
    "all": {
        path: numbers
        for number in range(3)
        for path, numbers in {
            f"/dev/dri/card{number}": (226, number),
            f"/dev/dri/renderD{128 + number}": (226, 128 + number),
        }.items()
    },
    "sgx-enclave": {"/dev/sgx_enclave": (10, 125)},
    "sgx-provision": {"/dev/sgx_provision": (10, 126)},
    "wq-user-dedicated-wq0.0": {"/dev/dsa/wq0.0": (234, 0), "/dev/char/234:0": (234, 0)},
    "wq-user-shared-wq0.1": {"/dev/dsa/wq0.1": (234, 1), "/dev/char/234:1": (234, 1)},
    "wq-user-dedicated-wq1.0": {"/dev/iax/wq1.0": (234, 2), "/dev/char/234:2": (234, 2)},
}


def device(share: str) -> str:
    """Return the device that an id in kubelet's list stands for: `card0` for `card0-1`."""
    return share.rpartition("-")[0] or share


def device_nodes(ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return what a container that got these ids should find: device numbers by path."""
    found: dict[str, tuple[int, int]] = {}
    for each in ids:
        found |= _OWN_NODES[device(each)]
    return found


def _card(number: int, driver: str, address: str, numa_node: int) -> str:
    bus = f"/sys/devices/pci0000:{address[5:7]}"
    function, render = f"{bus}/{address}", 128 + number
    up = "../../../.."
    return f"""
{function}/vendor = 0x8086
{function}/device = 0x56c0
{function}/class = 0x030000
{function}/numa_node = {numa_node}
{function}/driver -> ../../../bus/pci/drivers/{driver}
{function}/subsystem -> ../../../bus/pci
{function}/drm/card{number}/dev = 226:{number}
{function}/drm/card{number}/device -> ../..
{function}/drm/card{number}/subsystem -> {up}/../class/drm
{function}/drm/renderD{render}/dev = 226:{render}
{function}/drm/renderD{render}/device -> ../..
{function}/drm/renderD{render}/subsystem -> {up}/../class/drm
/sys/bus/pci/devices/{address} -> ../../../{function.removeprefix("/sys/")}
/sys/class/drm/card{number} -> ../../{function.removeprefix("/sys/")}/drm/card{number}
/sys/class/drm/renderD{render} -> ../../{function.removeprefix("/sys/")}/drm/renderD{render}
/dev/dri/card{number} c 226:{number}
/dev/dri/renderD{render} c 226:{render}
/dev/dri/by-path/pci-{address}-card -> ../card{number}
/dev/dri/by-path/pci-{address}-render -> ../renderD{render}
"""


def _queue(unit: str, queue: str, mode: str, minor: int, address: str) -> str:
    function = f"/sys/devices/pci0000:6a/{address}"
    directory, major = f"{function}/{unit}/{queue}", 234
    nodes = unit.rstrip("0123456789")
    return f"""
{directory}/state = enabled
{directory}/mode = {mode}
{directory}/type = user
{directory}/name = app
{directory}/{nodes}!{queue}/dev = {major}:{minor}
/dev/{nodes}/{queue} c {major}:{minor}
/dev/char/{major}:{minor} -> ../{nodes}/{queue}
"""


def _accelerator(unit: str, address: str) -> str:
    function = f"/sys/devices/pci0000:6a/{address}"
    return f"""
{function}/vendor = 0x8086
{function}/device = 0x0b25
{function}/numa_node = 0
{function}/{unit}/state = enabled
/sys/bus/dsa/devices/{unit} -> ../../../{function.removeprefix("/sys/")}/{unit}
"""


TREE = f"""
/sys/bus/pci/drivers/i915/
/sys/bus/pci/drivers/xe/
{_card(0, "i915", "0000:3a:00.0", 0)}
{_card(1, "i915", "0000:3b:00.0", 0)}
{_card(2, "xe", "0000:4d:00.0", -1)}
/sys/devices/virtual/misc/sgx_enclave/dev = 10:125
/sys/devices/virtual/misc/sgx_provision/dev = 10:126
/dev/sgx_enclave c 10:125
/dev/sgx_provision c 10:126
{_accelerator("dsa0", "0000:6a:01.0")}
{_queue("dsa0", "wq0.0", "dedicated", 0, "0000:6a:01.0")}
{_queue("dsa0", "wq0.1", "shared", 1, "0000:6a:01.0")}
{_accelerator("iax1", "0000:6a:02.0")}
{_queue("iax1", "wq1.0", "dedicated", 2, "0000:6a:02.0")}
"""

CARD0 = "/sys/devices/pci0000:3a/0000:3a:00.0"
CARD1 = "/sys/devices/pci0000:3b/0000:3b:00.0"
CARD2 = "/sys/devices/pci0000:4d/0000:4d:00.0"
DEDICATED_QUEUE = "/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.0"


class Machine:
    """The machine's /sys and /dev below one directory; devices are plugged and unplugged by their path in sysfs."""

    def __init__(self, root: Path, tree: str = TREE) -> None:
        self.root = root
        self._tree = parse(tree)
        materialise(self._tree, root)

    def unplug(self, path: str) -> Tree:
        """Remove a device with its nodes and links, and return all that belongs to it."""
        return remove(self.root, path)

    def plug(self, part: Tree) -> None:
        add(self.root, part)

    def change(self, path: str, text: str) -> None:
        """Give a file of /sys another text."""
        change(self.root, path, text)

    def become(self, other: Tree) -> Tree:
        """Have the devices of another machine, at a time when nobody looks, and return those that it had.

        What is not of a machine stays: mounts, and the nodes that every machine has.
        """
        before, self._tree = self._tree, other
        for path in map(self._below, before.entries):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
        for name in sorted({each for path in before.entries for each in (path, *ancestors(path))}, reverse=True):
            with suppress(OSError):  # not empty, or unlinked above
                self._below(name).rmdir()
        add(self.root, other)
        return before

    def scrap(self) -> None:
        shutil.rmtree(self.root)

    def _below(self, path: str) -> Path:
        return self.root / path.removeprefix("/")
