"""DRM words over a node: which function a card is, its device nodes, links and controllers, and what is known of it.

Sources: Documentation/gpu/drm-uapi.rst (primary and render nodes), Documentation/ABI/testing/sysfs-class-mei,
drivers/gpu/drm/xe/xe_hwmon.c and drivers/gpu/drm/i915/i915_hwmon.c (sensors of discrete GPUs only). Links in
/dev/dri/by-path are made by udev, not by the kernel. The files that tell of memory are not in every kernel: xe's
`physical_vram_size_bytes`, and `lmem_total_bytes` of the i915 that Intel delivers apart from the kernel.
"""

import re
from collections.abc import Sequence
from itertools import count, takewhile

from intel_agent import gpumodels, pci
from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir, Host

BY_PATH = "/dev/dri/by-path"

_CARD = re.compile(r"card[0-9]+")
_NODE = re.compile(r"(card|renderD)[0-9]+")
_CONTROLLER = re.compile(r"mei[0-9]+")
_LINK = re.compile(r"pci-([^-]+)-[\w.:-]+", re.ASCII)


def cards(host: Host) -> list[Dir]:
    """Return the links of all cards of the node, of whatever maker (`/sys/class/drm/card0`).

    Raises:
        SysfsError: the class is there and cannot be listed.
    """
    return (host.sys / "class/drm").children(_CARD)


def function_of(host: Host, link: Dir) -> Dir | None:
    """Return the PCI function that a card's link belongs to, or `None` when it belongs to something else.

    Only links are followed, so no driver can block it.

    Raises:
        SysfsError: the link does not lead to a card.
    """
    card = link.resolved()
    function = Dir(card.path.removesuffix(f"/drm/{link.name}"))
    if function == card or not host.kernel_path(card).startswith("/sys/devices/"):
        raise SysfsError(link.path, "is not a link to a card below /sys/devices")
    return function if pci.ADDRESS.fullmatch(function.name) else None


def nodes(function: Dir) -> list[Dir]:
    """Return what has a device node in /dev/dri: cards and render nodes, not the control nodes of old kernels."""
    return (function / "drm").children(_NODE)


def controllers(function: Dir) -> list[Dir]:
    """Return the management controllers below a card; their device nodes lie in /dev."""
    return [each for parent in function.children("*.mei-*") for each in (parent / "mei").children(_CONTROLLER)]


def links(host: Host) -> dict[str, list[str]]:
    """Return the by-path links of all cards by the PCI address in their names.

    Raises:
        SysfsError: they cannot be listed.
    """
    found: dict[str, list[str]] = {}
    for each in (host.dev / "dri/by-path").children("pci-*"):
        if name := _LINK.fullmatch(each.name):
            found.setdefault(name[1], []).append(f"{BY_PATH}/{each.name}")
    return found


def target(host: Host, path: str) -> str | None:
    """Return where a link leads, or what is wrong with it."""
    try:
        return host.target(path)
    except SysfsError as error:
        return error.problem


def attributes(function: Dir, card: str | None, device_id: str, driver: str | None) -> dict[str, str]:
    """Return what is known of a GPU and its `card`, if it has one, by name. What is not known is not there.

    Raises:
        SysfsError: a file of it cannot be read, or says what the kernel does not document.
    """
    model = gpumodels.model(device_id)
    tiles = _tiles(function)
    memory = None
    if driver == "xe":
        memory = _memory_of_tiles(tiles)
    elif card and (model is None or model.family != gpumodels.MAX):  # those would stay awake for it
        memory = _memory_of_card(function, card)
    known = {
        "pciAddress": function.name,
        "deviceId": device_id,
        "driver": driver,
        "model": model.name if model else None,
        "family": model.family if model else None,
        "discrete": _discrete(function, model, memory),
        "memoryMib": str(memory >> 20) if memory else None,
        "tiles": str(len(tiles)) if tiles else None,
        "physicalFunction": function.link_name("physfn"),
        "iommuGroup": None if card else function.link_name("iommu_group"),
    }
    return {key: value for key, value in known.items() if value}


def _discrete(function: Dir, model: gpumodels.Model | None, memory: int | None) -> str | None:
    """Return "true" or "false", or `None` where nothing proves it: a slot proves nothing, as virtual machines show."""
    if model is not None:
        return "true" if model.discrete else "false"
    return "true" if memory or _has_sensors(function) else None


def _tiles(function: Dir) -> list[Dir]:
    """Return the tiles of a card of the xe driver, which numbers them from 0; nothing for other drivers."""
    numbered = (function / f"tile{number}" for number in count())
    return list(takewhile(Dir.exists, numbered))


def _memory_of_tiles(tiles: Sequence[Dir]) -> int | None:
    """Return how much memory of its own a card with these tiles has, in bytes; `None` where that is not told.

    What is read is a number that the driver keeps: nothing wakes.

    Raises:
        SysfsError: a size cannot be read, or is none.
    """
    sizes = [size for each in tiles if (size := _size(each, "physical_vram_size_bytes"))]
    return sum(sizes) if sizes and len(sizes) == len(tiles) else None


def _memory_of_card(function: Dir, card: str) -> int | None:
    """Return how much memory of its own a card of the i915 driver has, in bytes; `None` where that is not told.

    Versions of the driver differ in whether they count all tiles or one. So nothing is said of a card with several.
    The read keeps a Data Center GPU Max awake, and no other card.

    Raises:
        SysfsError: the size cannot be read, or is none.
    """
    directory = function / f"drm/{card}"
    return _size(directory, "lmem_total_bytes") if len((directory / "gt").children("gt*")) <= 1 else None


def _has_sensors(function: Dir) -> bool:
    """Return whether the driver has sensors for the card: it has them for discrete ones only. Their names wake nothing.

    Raises:
        SysfsError: the name of a sensor cannot be read.
    """
    return any(
        (each.optional_text("name") or "").startswith(("i915", "xe"))
        for each in (function / "hwmon").children("hwmon*")
    )


def _size(directory: Dir, name: str) -> int | None:
    size = directory.optional_integer(name)
    if size is not None and size < 0:
        raise SysfsError(f"{directory.path}/{name}", f"{size} is not a size")
    return size or None
