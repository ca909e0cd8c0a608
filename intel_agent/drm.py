"""DRM words over a node: which function a card is, its device nodes, its links, its controllers.

Sources: Documentation/gpu/drm-uapi.rst (primary and render nodes), Documentation/ABI/testing/sysfs-class-mei. Links in
/dev/dri/by-path are made by udev, not by the kernel.
"""

import re

from intel_agent import pci
from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir, Host

BY_PATH = "/dev/dri/by-path"

_CARD = re.compile(r"card[0-9]+")
_NODE = re.compile(r"(card|renderD)[0-9]+")
_CONTROLLER = re.compile(r"mei[0-9]+")


def cards(host: Host) -> list[Dir]:
    """Return the links of all cards of the node, of whatever maker (`/sys/class/drm/card0`).

    Raises:
        SysfsError: the class is there and cannot be listed.
    """
    return [link for link in (host.sys / "class/drm").children("card*") if _CARD.fullmatch(link.name)]


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
    return [each for each in (function / "drm").children() if _NODE.fullmatch(each.name)]


def controllers(function: Dir) -> list[Dir]:
    """Return the management controllers below a card; their device nodes lie in /dev."""
    return [
        each
        for parent in function.children("*.mei-*")
        for each in (parent / "mei").children()
        if _CONTROLLER.fullmatch(each.name)
    ]


def links(host: Host, address: str) -> dict[str, str | None]:
    """Return the by-path links of the card at a PCI address, and where each leads, or what is wrong with it."""
    pattern = re.compile(rf"pci-{re.escape(address)}-[\w.:-]+", re.ASCII)
    found: dict[str, str | None] = {}
    for each in (host.dev / "dri/by-path").children("pci-*"):
        if pattern.fullmatch(each.name):
            path = f"{BY_PATH}/{each.name}"
            try:
                found[path] = host.target(path)
            except SysfsError as error:
                found[path] = error.problem
    return found
