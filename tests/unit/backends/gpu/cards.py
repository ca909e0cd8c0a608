"""Cards as text trees, and what the backend says of them."""

from pathlib import Path

from intel_agent.backends.gpu import Gpu
from intel_agent.inventory import Found
from intel_agent.model import DeviceNode, Mount
from intel_agent.sysfs import Host


def card(
    number: int, address: str = "", *, device: str = "0x56c0", driver: str | None = "xe", vendor: str = "0x8086"
) -> str:
    """Return the tree of one card as the kernel and udev show it."""
    address = address or f"0000:{number:02x}:00.0"
    function = f"/sys/devices/pci0000:00/{address}"
    render = 128 + number
    bound = f"{function}/driver -> ../../../bus/pci/drivers/{driver}" if driver else ""
    return f"""
{function}/vendor = {vendor}
{function}/device = {device}
{function}/numa_node = {number % 2}
{bound}
{function}/drm/card{number}/dev = 226:{number}
{function}/drm/card{number}/device -> ../..
{function}/drm/card{number}/card{number}-DP-1/status = disconnected
{function}/drm/controlD{64 + number}/dev = 226:{64 + number}
{function}/drm/renderD{render}/dev = 226:{render}
/sys/class/drm/card{number} -> ../../devices/pci0000:00/{address}/drm/card{number}
/sys/class/drm/card{number}-DP-1 -> ../../devices/pci0000:00/{address}/drm/card{number}/card{number}-DP-1
/sys/class/drm/renderD{render} -> ../../devices/pci0000:00/{address}/drm/renderD{render}
/dev/dri/card{number} c 226:{number}
/dev/dri/controlD{64 + number} c 226:{64 + number}
/dev/dri/renderD{render} c 226:{render}
/dev/dri/by-path/pci-{address}-card -> ../card{number}
/dev/dri/by-path/pci-{address}-render -> ../renderD{render}
"""


FIRST = "/sys/devices/pci0000:00/0000:01:00.0"
CARD = card(1)
TWO = card(1) + card(2, driver="i915", device="0x4905")
AGAIN = "this is looked at again by itself"
SEE_DEV = f"check that the agent sees the whole /dev of the host and that nothing removes device files; {AGAIN}"


def found(host: Host, gpu: Gpu | None = None) -> Found:
    return Found.of((gpu or Gpu()).discover(host))


def ids(host: Host, gpu: Gpu | None = None) -> list[str]:
    return [device.id for device in found(host, gpu).devices]


def rules(host: Host, gpu: Gpu | None = None) -> dict[str, str]:
    return {each.path: each.rule for each in found(host, gpu).exclusions}


def node(name: str) -> DeviceNode:
    return DeviceNode(f"/dev/{name}", f"/on/host/dev/{name}", "rw")


def mount(name: str) -> Mount:
    return Mount(f"/dev/{name}", f"/on/host/dev/{name}", read_only=True)


def spoil(path: Path, how: str) -> None:
    """Put something odd in the place of a file or link: nothing, a directory, a link to itself, or another text."""
    path.unlink()
    match how:
        case "absent":
            pass
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case _:
            path.write_text(f"{how}\n".removeprefix("="))
