"""What checks look at: the node, the configuration in force on it, and what one look found.

Sources: Documentation/filesystems/proc.rst; the rest of /proc and /etc is named where it is read.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from intel_agent import pci
from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import SysfsError
from intel_agent.health.bodies import at
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Exclusion
from intel_agent.pci import Hardware, Identity
from intel_agent.publish.probe import Answers
from intel_agent.sysfs import Dir, Host

_RELEASE = re.compile(r"v(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A PCI function that some kind of device knows, offered or not."""

    function: Dir
    path: str
    """The function below /sys."""
    identity: Identity
    hardware: Hardware
    kind: Backend
    driver: str | None

    @property
    def address(self) -> str:
        return self.function.name

    def owns(self, path: str) -> bool:
        """Return whether `path`, below /sys, is the function or something below it."""
        return at(path, self.path)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the node's object at the Kubernetes API says: `problem` is why nobody knows, if that is so."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    kubelet: str = ""
    """Kubelet's version, for example `v1.31.2`."""
    problem: str | None = None

    @property
    def release(self) -> tuple[int, int] | None:
        """Kubelet's major and minor version, or `None` where that is not known."""
        match = _RELEASE.match(self.kubelet)
        return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Node:
    """One look at a node, and what kubelet answered."""

    host: Host
    config: Config
    kinds: Mapping[str, Backend]
    """All kinds of devices, enabled or not, by name."""
    inventory: Inventory
    accelerators: tuple[Accelerator, ...]
    strangers: tuple[tuple[Dir, Identity, str | None], ...]
    """Functions of Intel that are accelerators by their class and of no kind known here, each with its driver."""
    answers: Answers
    overridden: bool = True
    """Whether it is known which `nodeOverrides` mean the node, if there are any."""
    registered: Registered | None = None
    """The node's object; `None` outside of a cluster."""
    problems: tuple[str, ...] = ()
    """What is wrong with files that continue the configuration."""

    @property
    def proc(self) -> Dir:
        """The node's /proc: a pod does not see it below --root, but its own tells the same of the kernel."""
        below = Dir(f"{self.host.root}/proc")
        return below if self.host.simulated or os.path.isdir(below.path) else Dir("/proc")

    def called(self, path: str) -> str:
        """Return what people call a file, whatever is above it here."""
        return path.removeprefix(self.host.root)

    def of(self, accelerator: Accelerator) -> list[Device]:
        """Return the devices that are, or are made of, this function."""
        return [each for each in self.inventory.devices if any(map(accelerator.owns, each.paths))]

    def left_out(self) -> Iterator[tuple[Backend, Exclusion]]:
        """Yield all that is not offered, each with its kind."""
        for name, found in self.inventory.found.items():
            yield from ((self.kinds[name], each) for each in found.exclusions)

    def at(self, path: str) -> Accelerator | None:
        """Return the accelerator that is at or above a path below /sys."""
        return next((each for each in self.accelerators if each.owns(path)), None)


Bus = tuple[tuple[Accelerator, ...], tuple[tuple[Dir, Identity, str | None], ...]]
"""What is on the PCI bus: accelerators, and strangers."""

STRANGE = ("0x12", "0x0b40")
"""Classes of functions whose purpose is to compute: processing accelerators and co-processors (PCI Code and ID)."""


def on_bus(host: Host, kinds: Mapping[str, Backend]) -> Bus:
    """Return what is on the PCI bus, in the order of addresses. What cannot be read is nobody's here: kinds tell it.

    Raises:
        SysfsError: the bus cannot be listed.
    """
    bus = host.sys / "bus/pci/devices"
    accelerators: list[Accelerator] = []
    strangers: list[tuple[Dir, Identity, str | None]] = []
    for name in sorted(filter(pci.ADDRESS.fullmatch, bus.names()), key=pci.order):
        if (seen := _seen(host, bus / name)) is None:
            continue
        function, identity, driver = seen
        for kind in kinds.values():
            if hardware := kind.recognised(identity):
                path = host.kernel_path(function)
                accelerators.append(Accelerator(function, path, identity, hardware, kind, driver))
                break
        else:
            if identity.vendor == pci.INTEL and identity.pci_class.startswith(STRANGE):
                strangers.append((function, identity, driver))
    return tuple(accelerators), tuple(strangers)


def _seen(host: Host, link: Dir) -> tuple[Dir, Identity, str | None] | None:
    try:
        with host.reading(link):
            identity = Identity(pci.identity(link, "vendor"), pci.identity(link, "device"), link.text("class"))
            return link.resolved(), identity, link.link_name("driver")
    except SysfsError:
        return None
