"""PCI words over a device's directory in sysfs.

Source: Documentation/ABI/testing/sysfs-bus-pci.
"""

import re

from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir

INTEL = "0x8086"

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""Domain (four digits or more), bus, device, function."""

_ID = re.compile(r"0x[0-9a-f]{4}")


def function_above(directory: Dir) -> Dir | None:
    """Return the nearest PCI function at or above a resolved directory, or `None` when there is none."""
    path = directory.path
    while path:
        if ADDRESS.fullmatch(path.rpartition("/")[2]):
            return Dir(path)
        path = path.rpartition("/")[0]
    return None


def identity(function: Dir, name: str) -> str:
    """Return the id in the file `name` (`vendor`, `device`), for example `0x8086`.

    Raises:
        SysfsError: the file cannot be read or holds something else.
    """
    text = function.text(name)
    if not _ID.fullmatch(text):
        raise SysfsError(f"{function.path}/{name}", f"{text[:40]!r} is not a PCI id like 0x8086")
    return text


def virtual_functions(function: Dir) -> int:
    """Return how many virtual functions are enabled; 0 for a function without SR-IOV.

    Raises:
        SysfsError: the number cannot be told.
    """
    count = function.optional_integer("sriov_numvfs")
    if count is not None and count < 0:
        raise SysfsError(f"{function.path}/sriov_numvfs", f"{count} is not a number of functions")
    return count or 0


def numa_nodes(directory: Dir) -> tuple[int, ...]:
    """Return the NUMA node of the device, or nothing when the kernel does not know it (no file, or -1).

    Raises:
        SysfsError: the file cannot be read or holds no number.
    """
    node = directory.optional_integer("numa_node")
    return () if node is None or node < 0 else (node,)
