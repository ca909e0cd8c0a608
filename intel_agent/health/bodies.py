"""What devices belong to, by path: their PCI functions, or themselves where there is none."""

from collections.abc import Iterator
from dataclasses import dataclass

from intel_agent import pci
from intel_agent.inventory import Inventory
from intel_agent.model import Device
from intel_agent.sysfs import Dir


def at(path: str, place: str) -> bool:
    """Whether `path` is `place` or below it."""
    return path == place or path.startswith(f"{place}/")


def above(path: str) -> Iterator[str]:
    """Yield `path` and every path above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def body(path: str) -> str:
    """Return the nearest PCI function at or above a path, or the path itself if there is none."""
    function = pci.function_above(Dir(path))
    return path if function is None else function.path


@dataclass(frozen=True, slots=True)
class Bodies:
    """The bodies of all devices that are known.

    `paths` are their own, `carriers` all paths whose faults some device shares.
    """

    paths: frozenset[str] = frozenset()
    carriers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, inventory: Inventory) -> "Bodies":
        own = {device.sysfs_path for device in inventory.devices}
        carriers = {place for device in inventory.devices for place in fateful(device)}
        return cls(frozenset(map(body, own)), frozenset(carriers))

    def subjects(self, path: str) -> list[str]:
        """Return the bodies below `path`, or `path` itself if it is one or there are none."""
        if path in self.paths or path not in self.carriers:
            return [path]
        return sorted(each for each in self.paths if at(each, path)) or [path]


def fateful(device: Device) -> Iterator[str]:
    """Yield every path whose faults the device shares."""
    for path in (device.sysfs_path, *device.depends_on):
        yield from above(path)
