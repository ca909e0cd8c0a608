"""Neural processing units of the intel_vpu driver.

Sources: Documentation/accel/introduction.rst (class `accel`, nodes `/dev/accel/accel<N>`),
Documentation/ABI/testing/sysfs-bus-pci (`vendor`, `device`, `class`, `driver`, `numa_node`),
drivers/accel/ivpu/ivpu_drv.c (the PCI ids), drivers/accel/ivpu/ivpu_pm.c (`IVPU_PM_EVENT`). None of these attributes
wakes the hardware.
"""

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec

from intel_agent import pci, userspace
from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.model import ContainerEdits, Device, Event, Exclusion, Fault, Reason, Verdict
from intel_agent.sysfs import Dir, Host

DRIVER = "intel_vpu"

_ACCEL = re.compile(r"accel[0-9]+")
_RECOVERED = "IVPU_PM_EVENT"
_PROCESSING_CLASS = "0x12"
_OTHERS = frozenset({None, DRIVER, *userspace.VFIO_DRIVERS, *userspace.UIO_DRIVERS})
_SEE_DEV = "check that the agent sees the whole /dev of the host and that nothing removes device files"

_MODELS = {
    "0x7e4c": "Core Ultra Series 1",
    "0x643e": "Core Ultra 200V Series",
    "0xad1d": "Core Ultra Series 2",
    "0x7d1d": "Core Ultra Series 2 (H)",
    "0xb03e": "Core Ultra Series 3",
    "0xfd3e": "Wildcat Lake",
    "0xd71d": "Nova Lake",
}
"""The processors that have them."""


class Npu(Backend, frozen=True, kw_only=True):
    """Neural processing units: `npu.intel.com/accel`."""

    name: ClassVar[str] = "npu"
    subsystems: ClassVar[frozenset[str]] = frozenset({"accel", "pci"})

    shared_dev_num: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_SHARES, description="How many containers may use one NPU.")
    ] = 1

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        processor = _MODELS.get(identity.device) if identity.vendor == pci.INTEL else None
        return None if processor is None else pci.Hardware(f"NPU of {processor}", {DRIVER: DRIVER})

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        found, odd = pci.of_class(host, "accel", _ACCEL)
        yield from odd
        yield from host.each(found, lambda function: self._npu(host, found[function], function))
        known = {function.name for function in found}
        yield from pci.others(host, known, _OTHERS, lambda link: _without_accel(host, link))

    def diagnose(self, event: Event) -> Iterator[Verdict]:
        """Yield that the driver has recovered an NPU that hung. It says so after every try, and not how that went."""
        if (event.subsystem, event.action) == ("pci", "change") and event.properties.get(_RECOVERED) == "IVPU_RECOVER":
            hung = Fault(Reason.HUNG, "kernel", "it hung, and its driver started it again: see the kernel log")
            yield Verdict(f"/sys{event.path}", hung, passed=True)

    def _npu(self, host: Host, name: str, function: Dir) -> Iterator[Device | Exclusion]:
        if pci.identity(function, "vendor") != pci.INTEL:
            return  # accelerators of other makers are in this class, too
        path = host.kernel_path(function)
        device_id = pci.identity(function, "device")
        driver = function.link_name("driver")
        if refusal := _unknown(path, device_id, driver):
            yield refusal
            return
        if (node := host.node(f"/dev/accel/{name}")) is None:
            yield _excluded(path, "no-node", f"/dev/accel/{name} is not there", _SEE_DEV)
            return
        yield Device(
            id=name,
            resource="npu.intel.com/accel",
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=(node,)),
            cdi_name=name,
            shares=self.shared_dev_num,
            numa_nodes=pci.numa_nodes(function),
            attributes=_attributes(function, device_id, driver),
        )


def _unknown(path: str, device_id: str, driver: str | None) -> Exclusion | None:
    """Return why this is not taken for an NPU. Its driver binds NPUs only, so its word counts for new ids, too."""
    if driver == DRIVER or (driver is None and device_id in _MODELS):
        return None
    found = "no driver" if driver is None else f"driver {driver!r}"
    if device_id in _MODELS:
        return _excluded(path, "driver", found, f"bind it to {DRIVER}")
    remedy = f"if it is an NPU, bind it to {DRIVER}: with that driver ids that are not known here are offered, too"
    return _excluded(path, "unknown-device", f"{found}, and {device_id} is the id of no NPU known here", remedy)


def _without_accel(host: Host, link: Dir) -> Iterator[Exclusion]:
    """Name NPUs that no driver made an accelerator of."""
    if not (link.optional_text("class") or "").startswith(_PROCESSING_CLASS):
        return
    driver = link.link_name("driver")
    if pci.identity(link, "vendor") != pci.INTEL or (driver != DRIVER and pci.identity(link, "device") not in _MODELS):
        return  # programmable hardware is in this class, too
    path = host.kernel_path(link.resolved())
    if driver == DRIVER:
        remedy = "look at the kernel log: most often its firmware is missing on the host"
        yield _excluded(path, "no-accel", f"driver {driver} made no accelerator of it", remedy)
    else:
        found = "no driver" if driver is None else f"driver {driver!r}"
        yield _excluded(path, "driver", found, f"load {DRIVER} (since Linux 6.3), or bind it to that")


def _attributes(function: Dir, device_id: str, driver: str | None) -> dict[str, str]:
    known = {
        "pciAddress": function.name,
        "deviceId": device_id,
        "driver": driver,
        "model": _MODELS.get(device_id),
    }
    return {key: value for key, value in known.items() if value}


def _excluded(path: str, rule: str, evidence: str, remedy: str) -> Exclusion:
    return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")
