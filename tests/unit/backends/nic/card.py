"""A card of two ports with some functions, and a pool to look at it with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from intel_agent.backends.nic import Nic
from intel_agent.inventory import Found
from intel_agent.links import Interface, Links
from intel_agent.model import Device
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import at
from intel_agent.simulation.nics import Port, Virtual, links, rdma_connections
from intel_agent.sysfs import Host

KERNEL, USER = Virtual(), Virtual("vfio-pci")
PORT = Port(at("0000:3b:00.0"), "ens1f0", 10, 20, virtual=(KERNEL, KERNEL, USER))
OTHER = Port(at("0000:3b:00.1"), "ens1f1", 50, 60, numa=1, virtual=(Virtual(rdma=0), USER), first=136, scalable=(7,))
FIRST, SECOND, THIRD = "0000:3b:01.0", "0000:3b:01.1", "0000:3b:01.2"
FOURTH, FIFTH = "0000:3b:11.0", "0000:3b:11.1"
SCALABLE = "ice.sf.7"

COMMON = """
/dev/vfio/vfio c 10:196
/dev/vhost-net c 10:238
/dev/net/tun c 10:200
"""


def text(*ports: Port) -> str:
    lines = [line for port in ports for line in port.lines()]
    return "\n".join((*lines, *rdma_connections(), COMMON))


def seen(*ports: Port, uplink: str = "") -> Links:
    return links(ports, uplink)


def machine(root: Path, *ports: Port, more: str = "", known: Iterable[Device] = ()) -> Host:
    """Make the machine below `root`, and return it with what netlink tells of it."""
    materialise(text(*ports) + more, root)
    host = Host(str(root), "/on/host")
    host.links = seen(*ports)
    host.known = {each.sysfs_path: each for each in known}
    return host


def pool(**keys: object) -> dict[str, object]:
    """Return a pool called intel.com/x that selects everything, unless the keys say something else."""
    return {"resource": "intel.com/x", "selectors": {}, **keys}


def selecting(**selector: object) -> Nic:
    return nic(pool(selectors=selector))


def nic(*pools: Mapping[str, object], **section: object) -> Nic:
    made = msgspec.convert({"pools": pools, **section}, Nic)
    assert made.problems() == {}
    return made


def found(section: Nic, host: Host) -> Found:
    return Found.of(section.discover(host))


def ids(section: Nic, host: Host) -> list[str]:
    return [each.id for each in found(section, host).devices]


def rules(section: Nic, host: Host) -> dict[str, str]:
    """Return the rules that keep devices from being offered, by the last part of the path; not `not-selected`."""
    exclusions = found(section, host).exclusions
    return {each.path.rpartition("/")[2]: each.rule for each in exclusions if each.rule != "not-selected"}


def renamed(known: Links, old: str, new: str) -> Links:
    return changed(known, [replace(each, name=new) if each.name == old else each for each in known.interfaces])


def without(known: Links, *names: str) -> Links:
    """Return what netlink tells when these interfaces are in another network namespace."""
    return changed(known, [each for each in known.interfaces if each.name not in names])


def changed(known: Links, interfaces: Sequence[Interface]) -> Links:
    return replace(known, interfaces=tuple(interfaces))
