"""QAT words over PCI: which functions there are, and what a physical one is configured for.

Sources: Documentation/ABI/testing/sysfs-driver-qat (`qat/state`, `qat/cfg_services`),
drivers/crypto/intel/qat/qat_common/adf_cfg.c (`dev_cfg` in debugfs, what older kernels have instead). All of that the
driver has in memory.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from intel_agent.errors import SysfsError
from intel_agent.model import Exclusion, Reason
from intel_agent.sysfs import Dir, Host

GENERIC = "generic"
"""The capability of functions of which it is not known what they can do."""

LONGEST = len("wq-user-dedicated")
"""The most letters of a capability: it is part of a socket's path, and no longer than what DSA has there."""

_CONFIGURABLE = frozenset({"4xxx", "420xx", "6xxx"})
"""Drivers of devices whose services can be chosen: from the fourth generation on."""

_IDS = (
    ("dh895xcc", "dh895xcc", "0x0434", "0x0442"),
    ("dh895xcc", "dh895xcc", "0x0435", "0x0443"),
    ("c4xxx", "c4xxx", "0x18a0", "0x18a1"),
    ("c3xxx", "c3xxx", "0x19e2", "0x19e3"),
    ("c6xx", "c6xx", "0x37c8", "0x37c9"),
    ("d15xx", "d15xx", "0x6f54", "0x6f55"),
    ("4xxx", "4xxx", "0x4940", "0x4941"),
    ("4xxx", "401xx", "0x4942", "0x4943"),
    ("4xxx", "402xx", "0x4944", "0x4945"),
    ("420xx", "420xx", "0x4946", "0x4947"),
    ("6xxx", "6xxx", "0x4948", "0x4949"),
)
"""Driver, generation, id of the physical function and id of its virtual ones."""

_SERVICES = re.compile(r"[a-z0-9]+(;[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Model:
    """What a device id says. `driver` is that of the physical function, `generation` its family."""

    driver: str
    generation: str
    virtual: bool

    @property
    def vf_driver(self) -> str:
        """The driver that virtual functions get when nobody asks for another."""
        return f"{self.driver}vf"

    @property
    def configurable(self) -> bool:
        """Whether its services can be chosen, so that its functions are not all alike."""
        return self.driver in _CONFIGURABLE

    @property
    def denied(self) -> bool:
        """Whether vfio-pci refuses it unless it is told not to: all older ones."""
        return not self.configurable


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        device: Model(driver, generation, virtual)
        for driver, generation, *both in _IDS
        for device, virtual in zip(both, (False, True), strict=True)
    }
)
"""By device id."""

KernelDriver = Literal["dh895xccvf", "c4xxxvf", "c3xxxvf", "c6xxvf", "d15xxvf", "4xxxvf", "420xxvf", "6xxxvf"]
KERNEL_DRIVERS: tuple[KernelDriver, ...] = get_args(KernelDriver)
"""The kernel's own drivers for virtual functions."""


@dataclass(frozen=True, slots=True)
class Physical:
    """A physical function, as far as its virtual ones depend on it.

    `state` is `up` or `down`, `None` where the driver does not tell. `services` is what it is configured for
    (`sym;asym`), if that is known; if it should be, `unknown` says why it is not.
    """

    address: str
    driver: str | None
    state: str | None
    services: str | None = None
    unknown: Exclusion | None = None


def physical(host: Host, function: Dir, *, configurable: bool) -> Physical:
    """Return what the physical function says of itself.

    Raises:
        SysfsError: it cannot be read, or says what the kernel does not document.
    """
    driver, state = function.link_name("driver"), function.optional_text("qat/state")
    if state is not None and state not in {"up", "down"}:
        raise SysfsError(f"{function.path}/qat/state", f"{state[:40]!r} is neither up nor down")
    found = Physical(function.name, driver, state)
    if not configurable or driver is None or state == "down":
        return found
    if text := function.optional_text("qat/cfg_services"):
        services = _checked(f"{function.path}/qat/cfg_services", text)
        return Physical(function.name, driver, state, services)
    try:
        services = _of_report(debugfs(host, function.name, driver))
    except SysfsError as error:
        return Physical(function.name, driver, state, unknown=_unknown(host, function, error))
    return Physical(function.name, driver, state, services)


def out_of_service(path: str, unit: Physical) -> Exclusion | None:
    """Return that the physical function does not run, so that the virtual one at `path` does nothing; or `None`."""
    if unit.driver is None:
        evidence = f"its physical function {unit.address} has no driver"
        return Exclusion(path, "physical-driver", evidence, to_kernel(unit.address, bound=False))
    if unit.state == "down":
        remedy = f"echo up > /sys/bus/pci/devices/{unit.address}/qat/state"
        return Exclusion(path, "down", f"its physical function {unit.address} is down", remedy, Reason.DISABLED)
    return None


def to_kernel(address: str, *, bound: bool) -> str:
    """Return the commands that give a physical function, which is `bound` to another driver or to none, to its own."""
    directory = f"/sys/bus/pci/devices/{address}"
    unbind = f"echo {address} > {directory}/driver/unbind; " if bound else ""
    return (
        f"modprobe $(cat {directory}/modalias); echo > {directory}/driver_override; {unbind}"
        f"echo {address} > /sys/bus/pci/drivers_probe"
    )


def capability(services: str | None) -> str:
    """Return the last part of the resource's name, as the existing plugin has it; the order of services is kept."""
    match services:
        case None:
            return GENERIC
        case "sym;asym" | "asym;sym":
            return "cy"
        case _:
            return services.replace(";", "-")


def debugfs(host: Host, address: str, driver: str) -> Dir:
    """Return where the driver reports on a physical function, if debugfs can be seen."""
    return host.sys / f"kernel/debug/qat_{driver}_{address}"


def _of_report(directory: Dir) -> str:
    section = ""
    path = f"{directory.path}/dev_cfg"
    for line in directory.whole_text("dev_cfg").splitlines():
        key, separator, value = line.partition("=")
        if not separator:
            section = line.strip()
        elif (section, key.strip()) == ("[GENERAL]", "ServicesEnabled"):
            return _checked(path, value.strip().strip('"'))
    raise SysfsError(path, "says nothing of ServicesEnabled")


def _checked(path: str, services: str) -> str:
    if not _SERVICES.fullmatch(services) or len(services) > LONGEST:
        raise SysfsError(path, f"{services[:40]!r} is no list of services like 'sym;asym'")
    return services


def _unknown(host: Host, function: Dir, error: SysfsError) -> Exclusion:
    directory = f"/sys/bus/pci/devices/{function.name}/qat"
    if function.exists("qat/cfg_services"):
        remedy = (
            f"choose its services: echo down > {directory}/state; echo 'sym;asym' > {directory}/cfg_services; "
            f"echo up > {directory}/state"
        )
    else:
        remedy = (
            "let the agent see debugfs (mount -t debugfs debugfs /sys/kernel/debug), or run a kernel whose driver "
            "has qat/cfg_services"
        )
    return Exclusion(
        path=host.kernel_path(function),
        rule="services-unknown",
        evidence=f"no qat/cfg_services tells what it is configured for, and {error}",
        remedy=f"{remedy}; meanwhile its virtual functions are offered as {GENERIC}",
    )
