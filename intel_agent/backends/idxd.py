"""Work queues of the idxd driver: what DSA (data streaming) and IAA (analytics) accelerators have in common.

Sources: Documentation/ABI/stable/sysfs-driver-dma-idxd (`state` and `errors` of devices; `state`, `mode`, `type`,
`name` of queues), Documentation/ABI/testing/sysfs-bus-pci (`numa_node`). A queue of type `user` has a character device
named after it; libaccel-config opens it by its number below /dev/char, applications by its name, so containers get
both. Nothing of this touches the hardware.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec

from intel_agent import pci
from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Fault, Reason
from intel_agent.sysfs import Dir, Host, unreadable

_QUEUE = re.compile(r"wq[0-9]+\.[0-9]+")
_WORD = re.compile(r"(0[xX])?[0-9a-fA-F]+", re.ASCII)
_MODES = frozenset({"shared", "dedicated"})
_LOOKED_AT_AGAIN = "it is offered as soon as that changes"


@dataclass(frozen=True, slots=True)
class _Unit:
    """What all queues of one accelerator have in common."""

    name: str
    state: str
    numa_nodes: tuple[int, ...]
    pci_address: str | None
    faults: frozenset[Fault]

    @property
    def halted(self) -> bool:
        return self.state == "halted"


class Idxd(Backend, frozen=True, kw_only=True):
    """Work queues of accelerators with this name and prefix."""

    subsystems: ClassVar[frozenset[str]] = frozenset({"dsa", "pci"})
    directories: ClassVar[tuple[str, ...]] = ("/dev/char",)
    prefix: ClassVar[str]
    """How the kernel calls accelerators of this kind (`dsa0`), and the directory of their nodes (`/dev/dsa`)."""
    device_ids: ClassVar[frozenset[str]]
    """PCI ids of the accelerators (drivers/dma/idxd/registers.h)."""
    choices: ClassVar[frozenset[str]] = frozenset({"not-enabled", "queue-type"})

    shared_dev_num: Annotated[
        int,
        msgspec.Meta(ge=1, le=MAX_SHARES, description="How many containers may use one queue of mode shared."),
    ] = 1

    @property
    def drivers(self) -> Mapping[str, str]:
        """Modules by the drivers with which accelerators are offered."""
        return {"idxd": "idxd"}

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        if identity.vendor != pci.INTEL or identity.device not in self.device_ids:
            return None
        return pci.Hardware(f"{self.name.upper()} accelerator", self.drivers)

    def sharable(self, device: Device) -> bool:
        """Return whether the driver lets several processes open the queue."""
        return device.attributes.get("mode") == "shared"

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        for link in (host.sys / "bus/dsa/devices").children(re.compile(f"{self.prefix}[0-9]+")):
            yield from self._accelerator(host, link)

    def _accelerator(self, host: Host, link: Dir) -> Iterator[Device | Exclusion]:
        """Every queue of one accelerator. Finding and listing are no business of the driver and cannot block."""
        try:
            directory = link.resolved()
            queues = directory.children(_QUEUE)
        except SysfsError as error:
            yield unreadable(host.kernel_path(link), error)
            return
        try:
            with host.reading(directory):
                unit = _unit(link.name, directory)
        except SysfsError as error:
            # Each queue by its own path, so that those which are known stay known.
            yield from (unreadable(host.kernel_path(each), error) for each in (directory, *queues))
            return
        if not queues:
            yield Exclusion(
                path=host.kernel_path(directory),
                rule="no-queues",
                evidence=f"{link.name} has no work queues",
                remedy="look at the kernel log: idxd gives every accelerator its queues when it takes it over",
            )
        yield from host.each(queues, lambda queue: [self._queue(host, unit, queue)])

    def _queue(self, host: Host, unit: _Unit, queue: Dir) -> Device | Exclusion:
        found = self._offered(host, unit, queue)
        if not unit.halted or isinstance(found, Device):
            return found
        # The driver takes a halted accelerator's queues apart: what they lack is the consequence, not the cause.
        return Exclusion(
            path=found.path,
            rule="halted",
            evidence=f"{unit.name} is halted ({found.evidence})",
            remedy="look at the kernel log: idxd says there whether it resets itself, needs a reset or a reboot",
            reason=Reason.HALTED,
        )

    def _offered(self, host: Host, unit: _Unit, queue: Dir) -> Device | Exclusion:
        path = host.kernel_path(queue)
        state = queue.text("state")
        if not unit.halted and (refusal := _not_enabled(path, {unit.name: unit.state, queue.name: state})):
            return refusal
        kind, mode = queue.text("type"), queue.text("mode")
        if refusal := _unsuitable(path, kind, mode):
            return refusal
        nodes = self._nodes(host, queue)
        if isinstance(nodes, Exclusion):
            return nodes
        return Device(
            id=f"wq-{kind}-{mode}-{queue.name}",
            resource=f"{self.name}.intel.com/wq-{kind}-{mode}",
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=nodes),
            cdi_name=queue.name,
            shares=self.shared_dev_num if mode == "shared" else 1,
            numa_nodes=unit.numa_nodes,
            attributes=_attributes(unit, mode, queue.optional_text("name")),
            faults=unit.faults,
        )

    def _nodes(self, host: Host, queue: Dir) -> tuple[DeviceNode, DeviceNode] | Exclusion:
        named = f"/dev/{self.prefix}/{queue.name}"
        number = host.number(named)
        if number is None:
            return Exclusion(
                path=host.kernel_path(queue),
                rule="no-node",
                evidence=f"{named} is not there",
                remedy=f"check that the agent sees the whole /dev of the host; {_LOOKED_AT_AGAIN}",
            )
        numbered = f"/dev/char/{number}"
        target = host.target(numbered)
        if target != named:
            return Exclusion(
                path=host.kernel_path(queue),
                rule="no-char-link",
                evidence=f"{numbered} "
                + ("is not there" if target is None else f"leads to {target!r}, not to {named}"),
                remedy=f"udev makes this link: check that it runs and that the agent sees it; {_LOOKED_AT_AGAIN}",
            )
        return host.node_named(named), host.node_named(numbered)


def _unit(name: str, directory: Dir) -> _Unit:
    function = pci.function_above(directory)
    state = directory.optional_text("state")
    return _Unit(
        name=name,
        state="enabled" if state is None else state,
        numa_nodes=() if function is None else pci.numa_nodes(function),
        pci_address=None if function is None else function.name,
        faults=frozenset(_faults(name, directory, state)),
    )


def _faults(name: str, directory: Dir, state: str | None) -> Iterator[Fault]:
    if state == "halted":
        yield Fault(Reason.HALTED, "sysfs", f"{name} is halted: the kernel log says whether a reset helps")
    words = (directory.optional_text("errors") or "").split()
    if any(not _WORD.fullmatch(each) for each in words):
        raise SysfsError(f"{directory.path}/errors", "is not a row of hexadecimal numbers")
    if any(int(each, 16) for each in words):
        detail = f"{name} noted an error, mostly a bad descriptor of who uses it: errors tells which"
        yield Fault(Reason.ERROR_REGISTER, "sysfs", detail)


def _not_enabled(path: str, states: dict[str, str]) -> Exclusion | None:
    for name, state in states.items():
        if state != "enabled":
            return Exclusion(
                path=path,
                rule="not-enabled",
                evidence=f"{name} is {state[:40]!r}",
                remedy=f"configure and enable it, for example with accel-config; {_LOOKED_AT_AGAIN}",
                reason=Reason.DISABLED,
            )
    return None


def _unsuitable(path: str, kind: str, mode: str) -> Exclusion | None:
    if kind != "user":
        return Exclusion(
            path=path,
            rule="queue-type",
            evidence=f"type is {kind[:40]!r}",
            remedy=f"only queues of type user have device nodes; configure it so with accel-config; {_LOOKED_AT_AGAIN}",
        )
    if mode not in _MODES:
        return Exclusion(
            path=path,
            rule="queue-mode",
            evidence=f"mode is {mode[:40]!r}",
            remedy=f"set the mode to shared or dedicated with accel-config; {_LOOKED_AT_AGAIN}",
        )
    return None


def _attributes(unit: _Unit, mode: str, name: str | None) -> dict[str, str]:
    values = {"driver": "idxd", "unit": unit.name, "mode": mode, "pciAddress": unit.pci_address, "queueName": name}
    return {key: value for key, value in values.items() if value}
