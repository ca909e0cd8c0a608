"""Broken nodes: a sound machine with one change, and what doctor must say of it, in words written by hand."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from intel_agent.simulation import disk
from intel_agent.simulation.machines import DEDICATED, SHARED, Gpu, Idxd, sgx
from intel_agent.simulation.tree import node, parse

Change = Callable[[Path], object]
"""What is done to the machine in a directory."""

FLEX, FLEX_I915 = (
    "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0",
    "/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.0",
)
DSA, IAA = "/sys/devices/pci0000:6a/0000:6a:01.0", "/sys/devices/pci0000:6a/0000:6a:02.0"


@dataclass(frozen=True)
class Says:
    """One finding: its check, severity and subject, and words of its problem, its evidence and its remedy."""

    check: str
    severity: str
    about: str
    problem: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Api:
    """What the node object says."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    kubelet: str = "v1.36.2"
    fails: str = ""
    """What every request gets (`integration.apiserver`)."""


@dataclass(frozen=True)
class Broken:
    """A node that is not sound. `says` are all findings that are no notes, or notes that are asked for."""

    says: tuple[Says, ...]
    changes: tuple[Change, ...] = ()
    machine: str = "small"
    devices: str = "{}"
    """The section `devices` of the configuration."""
    sections: Mapping[str, object] = field(default_factory=dict[str, object])
    """Other sections of it."""
    api: Api | None = None
    """The node object at the API server; without, doctor runs outside of a cluster."""


def small() -> str:
    """Return a machine with two GPUs, SGX, DSA and IAA, of which each test changes one thing."""
    queues = (SHARED, DEDICATED, DEDICATED)
    parts = (
        Gpu(0, FLEX, group=20, mei=1).lines(),
        Gpu(1, FLEX_I915, "i915", numa=1, group=21, mei=2).lines(),
        sgx(),
        Idxd("dsa", 0, DSA, queues, group=40).lines(),
        Idxd("iax", 1, IAA, queues, group=41).lines(),
    )
    return "\n".join(line for part in parts for line in part)


def machine(name: str) -> str:
    """Return the text of a packaged machine, or of the small one."""
    return small() if name == "small" else node(name)


def write(path: str, text: str) -> Change:
    """Give a file another text, or make it."""

    def change(root: Path) -> None:
        file = root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    return change


def gone(path: str) -> Change:
    """Remove a file, a link or a directory, and nothing else."""

    def change(root: Path) -> None:
        file = root / path.removeprefix("/")
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink()

    return change


def unplugged(path: str) -> Change:
    """Remove a device with all that belongs to it."""
    return lambda root: disk.remove(root, path)


def added(text: str) -> Change:
    """Add entries of a tree."""
    return lambda root: disk.add(root, parse(text))


def driverless(function: str, made: str, *, loaded: bool = False) -> Change:
    """Take the driver away from a function, with what it made of it; the driver as such, too, unless it is `loaded`."""

    def change(root: Path) -> None:
        disk.remove(root, *(f"{function}/{each}" for each in made.split()))
        rebound(function, None, keep=loaded)(root)

    return change


def rebound(function: str, driver: str | None, *, keep: bool = True) -> Change:
    """Give a function to another driver, or to none; the old one goes unless it is to `keep`."""

    def change(root: Path) -> None:
        directory = root / function.removeprefix("/")
        address = directory.name
        drivers = root / "sys/bus/pci/drivers"
        if (link := directory / "driver").is_symlink():
            old = drivers / Path(os.readlink(link)).name
            link.unlink()
            (old / address).unlink()
            if not keep:
                shutil.rmtree(old)
        if driver is not None:
            (drivers / driver).mkdir(exist_ok=True)
            link.symlink_to(os.path.relpath(drivers / driver, directory))
            (drivers / driver / address).symlink_to(os.path.relpath(directory, drivers / driver))

    return change


def mode(path: str, bits: int) -> Change:
    """Give a device node other permissions."""
    return lambda root: (root / path.removeprefix("/")).chmod(bits)
