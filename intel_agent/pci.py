"""PCI words over a device's directory in sysfs.

Source: Documentation/ABI/testing/sysfs-bus-pci.
"""

import re
from typing import Annotated

import msgspec

from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir

INTEL = "0x8086"

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""Domain (four digits or more), bus, device, function."""

_NO_NODE = -1
"""What the kernel writes for a device that is near to no node in particular."""

_ID = re.compile(r"0x[0-9a-f]{4}")

# An integer is taken only to be refused in better words than "expected a string"; the schema does not take it.
_Id = Annotated[str | int, msgspec.Meta(extra_json_schema={"type": "string", "pattern": "^ *0[xX][0-9a-fA-F]{4} *$"})]
IdList = Annotated[tuple[_Id, ...] | str | int, msgspec.Meta(extra_json_schema={"type": ["array", "string"]})]
"""Ids in a configuration: a list, or the comma list of the existing custom resources."""


def ids(given: IdList) -> frozenset[str]:
    """Return the ids of a list, each as the kernel writes it."""
    return frozenset(each for each in _pieces(given) if isinstance(each, str))


def id_list_problem(given: IdList) -> str | None:
    """Return what is wrong with a list of ids, or `None`."""
    wrong = [_id_problem(each) for each in _pieces(given)]
    return "; ".join(problem for problem in wrong if problem) or None


def _pieces(given: IdList) -> list[str | int]:
    match given:
        case "":
            return []
        case str():
            pieces: list[str | int] = [*given.split(",")]
        case int():
            pieces = [given]
        case _:
            pieces = list(given)
    return [each.strip().lower() if isinstance(each, str) else each for each in pieces]


def _id_problem(piece: str | int) -> str | None:
    if isinstance(piece, int):
        return f'{piece} is a number: quote the id, for example "{piece:#06x}"'
    if not _ID.fullmatch(piece):
        return f'{piece!r} is not a PCI device id like "0x56c0" (0x and four hexadecimal digits)'
    return None


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

    Source: Documentation/ABI/testing/sysfs-bus-pci, `numa_node`.

    Raises:
        SysfsError: the file cannot be read or holds no number.
    """
    node = directory.optional_integer("numa_node")
    if node is not None and node < _NO_NODE:
        raise SysfsError(f"{directory.path}/numa_node", f"{node} is not a NUMA node, nor {_NO_NODE} for none")
    return () if node is None or node == _NO_NODE else (node,)
