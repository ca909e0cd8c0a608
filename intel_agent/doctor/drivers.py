"""Why a PCI function has no driver.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`driver_override`, `drivers_autoprobe`),
Documentation/admin-guide/kernel-parameters.txt (`module_blacklist`), man 5 modprobe.d (`blacklist`, `install`,
`modprobe.blacklist` on the kernel's command line), man 5 modules.dep.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from intel_agent.doctor.node import Accelerator, Node
from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir

_LISTS = ("module_blacklist", "modprobe.blacklist", "rd.driver.blacklist")
_MODPROBE = ("etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d")
_NO_INSTALL = re.compile(r"install\s+(\S+)\s+(/usr)?(/bin/)?(false|true|:)\b")
_BLACKLIST = re.compile(r"blacklist\s+(\S+)")
_NOTHING = frozenset({None, "", "(null)"})


@dataclass(frozen=True, slots=True)
class Cause:
    """What keeps a driver away, where that stands, and what to do.

    `certain` says that no driver can come before that is done.
    """

    evidence: str
    remedy: str
    certain: bool = True


def cause(node: Node, accelerator: Accelerator) -> Cause:
    """Return what keeps all drivers from an accelerator that has none.

    Raises:
        SysfsError: a file that tells cannot be read.
    """
    wanted = accelerator.hardware.drivers
    function = f"/sys/bus/pci/devices/{accelerator.address}"
    override = accelerator.function.optional_text("driver_override")
    if override not in _NOTHING and override not in wanted:
        remedy = f"echo > {function}/driver_override; echo {accelerator.address} > /sys/bus/pci/drivers_probe"
        return Cause(f"{function}/driver_override: {override}", remedy)
    drivers = [name for name in wanted if (node.host.sys / "bus/pci/drivers" / name).exists()]
    if drivers:
        return _not_taken(node, accelerator, drivers)
    if words := [each for each in command_line(node) if each in accelerator.hardware.stopped_by]:
        return Cause(f"/proc/cmdline: {' '.join(words)}", f"take {' and '.join(words)} off the kernel's command line")
    modules = list(dict.fromkeys(wanted.values()))
    if places := {name: place for name in modules for place in blacklists(node, name)}:
        lines = "; ".join(places.values())
        return Cause(lines, f"take {' and '.join(places)} out of there, then modprobe {' or '.join(modules)}")
    if (release := _without(node, modules)) is not None:
        what = " or ".join(modules)
        remedy = f"install the package with the kernel's further modules, or a kernel that has {what}"
        return Cause(f"/lib/modules/{release}/modules.dep: no {what}", remedy)
    evidence = f"{function}/driver is not there, nor is /sys/bus/pci/drivers/{' or '.join(wanted)}"
    return Cause(evidence, f"load {' or '.join(wanted)}: modprobe {modules[0]}", certain=False)


def _not_taken(node: Node, accelerator: Accelerator, drivers: list[str]) -> Cause:
    loaded = " and ".join(drivers)
    if (node.host.sys / "bus/pci").optional_text("drivers_autoprobe") == "0":
        remedy = f"echo {accelerator.address} > /sys/bus/pci/drivers_probe, or echo 1 > /sys/bus/pci/drivers_autoprobe"
        return Cause(f"/sys/bus/pci/drivers_autoprobe: 0, so {loaded} takes nothing by itself", remedy)
    remedy = (
        f"look for {accelerator.address} in the kernel log: missing firmware, too little address space (BIOS: Above 4G "
        "Decoding), or an id that this kernel's driver does not take without force_probe; then "
        f"echo {accelerator.address} > /sys/bus/pci/drivers_probe"
    )
    return Cause(f"/sys/bus/pci/drivers/{drivers[0]} is there and has not taken it", remedy, certain=False)


def blacklists(node: Node, module: str) -> Iterator[str]:
    """Yield where a module is kept from being loaded, each with the words that do."""
    for word in command_line(node):
        key, _, value = word.partition("=")
        if key in _LISTS and _same(module, *value.split(",")):
            yield f"/proc/cmdline: {word}"
    for directory in _MODPROBE:
        for file in Dir(f"{node.host.root}/{directory}").children("*.conf"):
            yield from (f"{node.called(file.path)}: {line}" for line in _lines(file) if _keeps(line, module))


def command_line(node: Node) -> list[str]:
    """Return the words that the kernel was started with; none where they cannot be read."""
    try:
        return (node.proc.optional_text("cmdline") or "").split()
    except SysfsError:
        return []


def _keeps(line: str, module: str) -> bool:
    found = _BLACKLIST.fullmatch(line) or _NO_INSTALL.match(line)
    return found is not None and _same(module, found[1])


def _same(module: str, *names: str) -> bool:
    return module.replace("-", "_") in [each.replace("-", "_") for each in names]


def _lines(file: Dir) -> list[str]:
    try:
        with open(file.path, encoding="utf-8", errors="replace") as opened:
            return [line.split("#")[0].strip() for line in opened.read(1 << 20).splitlines()]
    except OSError:
        return []


def _without(node: Node, modules: list[str]) -> str | None:
    """Return the kernel's release if it can be seen that it has none of these modules."""
    release = node.proc.optional_text("sys/kernel/osrelease")
    listed = _lines(Dir(f"{node.host.root}/lib/modules/{release}/modules.dep"))
    names = {line.partition(":")[0].rpartition("/")[2].partition(".")[0].replace("-", "_") for line in listed}
    return release if names and not names.intersection(modules) else None
