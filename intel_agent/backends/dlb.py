"""Dynamic Load Balancers of the dlb2 driver, which is not part of the kernel.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`sriov_numvfs`, `physfn`, `numa_node`); the driver's class `dlb2` and
its nodes `/dev/dlb<N>`. Nothing of this touches the hardware.
"""

import re
from collections.abc import Container, Iterator
from typing import ClassVar

from intel_agent import pci, userspace
from intel_agent.backends import Backend
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, Exclusion
from intel_agent.sysfs import Dir, Host, unreadable

DRIVER = "dlb2"

_NAME = re.compile(r"dlb[0-9]+")
_IDS = {"0x2710": "Dynamic Load Balancer", "0x2711": "virtual function of a Dynamic Load Balancer"}
_OTHERS = frozenset({None, DRIVER, *userspace.VFIO_DRIVERS, *userspace.UIO_DRIVERS})


class Dlb(Backend, frozen=True, kw_only=True):
    """Dynamic Load Balancers: physical functions `dlb.intel.com/pf`, virtual ones `dlb.intel.com/vf`."""

    name: ClassVar[str] = "dlb"
    subsystems: ClassVar[frozenset[str]] = frozenset({"dlb2", "pci"})
    choices: ClassVar[frozenset[str]] = frozenset({"has-virtual-functions"})

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        name = _IDS.get(identity.device) if identity.vendor == pci.INTEL else None
        return None if name is None else pci.Hardware(name, {DRIVER: DRIVER})

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        found, odd = pci.of_class(host, "dlb2", _NAME)
        yield from odd
        yield from host.each(found, lambda function: [_balancer(host, found[function], function)])
        yield from _stray(host, frozenset(found.values()))
        known = {function.name for function in found}
        yield from pci.others(host, known, _OTHERS, lambda link: _without_device(host, link))


def _balancer(host: Host, name: str, function: Dir) -> Device | Exclusion:
    path = host.kernel_path(function)
    if count := pci.virtual_functions(function):
        evidence = f"{count} virtual functions are enabled"
        return _excluded(path, "has-virtual-functions", evidence, "use those, or write 0 to its sriov_numvfs")
    if (node := host.node(f"/dev/{name}")) is None:
        remedy = "check that the agent sees the whole /dev of the host and that nothing removes device files"
        return _excluded(path, "no-node", f"/dev/{name} is not there", remedy)
    # A virtual function has no such file; nor has a physical one in a virtual machine, which is called vf, too.
    what = "pf" if function.exists("sriov_numvfs") else "vf"
    return Device(
        id=f"/dev/{name}",
        resource=f"dlb.intel.com/{what}",
        sysfs_path=path,
        edits=ContainerEdits(device_nodes=(node,)),
        cdi_name=name,
        numa_nodes=pci.numa_nodes(function),
        attributes=_attributes(function),
    )


def _stray(host: Host, names: Container[str]) -> Iterator[Exclusion]:
    """Name files in /dev that look like devices of the driver, and no device has them."""
    try:
        nodes = [each for each in host.dev.children(_NAME) if each.name not in names]
    except SysfsError as error:
        yield unreadable(host.kernel_path(host.dev), error)
        return
    for each in nodes:
        evidence = f"nothing in /sys/class/dlb2 is called {each.name}"
        remedy = "remove the file, or check that the agent sees the whole /sys of the host"
        yield _excluded(host.kernel_path(each), "no-device", evidence, remedy)


def _without_device(host: Host, link: Dir) -> Iterator[Exclusion]:
    """Name load balancers that the driver does not have, or made nothing of."""
    driver = link.link_name("driver")
    if driver != DRIVER and (link.optional_text("device") not in _IDS or pci.identity(link, "vendor") != pci.INTEL):
        return
    path = host.kernel_path(link.resolved())
    if driver == DRIVER:
        yield _excluded(path, "no-class-device", "driver dlb2 made no device of it", "look at the kernel log")
    else:
        found = "no driver" if driver is None else f"driver {driver!r}"
        yield _excluded(path, "driver", found, "load dlb2, or bind it to that")


def _attributes(function: Dir) -> dict[str, str]:
    known = {
        "pciAddress": function.name,
        "deviceId": function.optional_text("device"),
        "driver": function.link_name("driver"),
        "physicalFunction": function.link_name("physfn"),
    }
    return {key: value for key, value in known.items() if value}


def _excluded(path: str, rule: str, evidence: str, remedy: str) -> Exclusion:
    return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")
