"""Gaudi accelerators of the habanalabs driver.

Sources: Documentation/ABI/testing/sysfs-driver-habanalabs (`pci_addr`, `status`, `hard_reset_cnt`, `device_type`;
`module_id` in the driver's own releases only), drivers/accel/habanalabs/common/habanalabs_drv.c (what `status` says),
Documentation/ABI/testing/sysfs-bus-pci, and
Documentation/ABI/stable/sysfs-class-infiniband (`infiniband_verbs`).
What the driver tells of itself lies in the PCI function's directory, in `device/` of the accelerator, or, before there
was the class `accel`, in the class device itself. Nothing that is read here asks the firmware.
"""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from intel_agent import pci, userspace
from intel_agent.backends import Backend
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Fault, Reason, Signs, merged
from intel_agent.sysfs import Dir, Host, unreadable

DRIVER = "habanalabs"
RESOURCE = "habana.ai/gaudi"

_HABANA = "0x1da3"
_NAMES = {"accel": re.compile(r"accel([0-9]+)"), "habanalabs": re.compile(r"hl([0-9]+)")}
"""What the driver calls cards, by class; with the older one only where there is no other."""
_NODES = {"accel": ("accel/accel", "accel/accel_controlD"), "habanalabs": ("hl", "hl_controlD")}
_VERBS = re.compile(r"uverbs[0-9]+")
_OTHERS = frozenset({None, DRIVER, *userspace.VFIO_DRIVERS, *userspace.UIO_DRIVERS})

_OPERATIONAL = "operational"
_STOPPED = frozenset({"disabled", "needs reset", "malfunction"})
_RESETTING = frozenset({"in reset", "in device creation", "in reset after device release"})
"""Cards in a reset come back by themselves; this happens whenever a program ends.

Source: `hl_device_status` in drivers/accel/habanalabs/common/device.c. A reset is told before anything else, so while
it lasts nobody is told whether the card is still stopped (`HIDDEN`).
"""
_RESET = Fault(Reason.HUNG, "sysfs", "its driver had to reset the card (hard_reset_cnt): see the kernel log")

_SEE_DEV = "check that the agent sees the whole /dev of the host and that nothing removes device files"

_MODELS = {
    **dict.fromkeys(("0x1000", "0x1001", "0x1010", "0x1011"), "Gaudi"),
    **dict.fromkeys(("0x1020", "0x1021"), "Gaudi2"),
    **dict.fromkeys(("0x1030", "0x1060", "0x1061", "0x1062", "0x1063"), "Gaudi3"),
}


class Gaudi(Backend, frozen=True, kw_only=True):
    """Gaudi cards, each for one container: `habana.ai/gaudi`."""

    name: ClassVar[str] = "gaudi"
    subsystems: ClassVar[frozenset[str]] = frozenset({"accel", "habanalabs", "infiniband_verbs", "pci"})

    def socket_name(self, resource: str) -> str:
        return "gaudi_habanalabs.sock" if resource == RESOURCE else super().socket_name(resource)

    @classmethod
    def domain(cls) -> str:
        return RESOURCE.partition("/")[0]

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        if identity.vendor != _HABANA:
            return None
        return pci.Hardware(_MODELS.get(identity.device, "accelerator of Habana Labs"), {DRIVER: DRIVER})

    def discover(self, host: Host) -> Iterator[Device | Exclusion | Signs]:
        members, odd = _members(host)
        bound = (host.sys / "bus/pci/drivers" / DRIVER).names()
        count = sum(1 for each in bound if pci.ADDRESS.fullmatch(each))
        if bound:
            yield from odd
        yield from host.each(members, lambda function: _card(host, function, members[function], count))
        known = {function.name for function in members}
        yield from pci.others(host, known, _OTHERS, lambda link: _without_device(host, link, lost=bool(odd)))

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        cards = sorted(devices, key=lambda card: int(card.attributes["index"]))
        modules = [card.attributes.get("moduleId") for card in cards]
        env = {
            "HABANA_VISIBLE_DEVICES": ",".join(card.attributes["index"] for card in cards),
            "HL_VISIBLE_DEVICES": ",".join(card.edits.device_nodes[0].path for card in cards),
        }
        # A program takes all places on the board for its own unless it is told which are.
        told = [module for module in dict.fromkeys(modules) if module is not None]
        if len(told) == len(cards) < max(int(card.attributes["cardsOfNode"]) for card in cards):
            env["HABANA_VISIBLE_MODULES"] = ",".join(told)
        return merged((*(card.edits for card in cards), ContainerEdits(env=env)))


class _Member(NamedTuple):
    """The class device that the driver made for a card."""

    kind: str
    """The class."""
    number: str
    directory: Dir

    def told(self, name: str) -> str | None:
        """Return what the driver tells of the card, wherever it does."""
        text = self.directory.optional_text(f"device/{name}")
        return self.directory.optional_text(name) if text is None else text


def _members(host: Host) -> tuple[dict[Dir, _Member], list[Exclusion]]:
    """Return the class device of each PCI function that has one, of whatever driver, and those that lead nowhere."""
    found: dict[Dir, _Member] = {}
    odd: list[Exclusion] = []
    for kind, names in _NAMES.items():
        for link in (host.sys / "class" / kind).children():
            if (name := names.fullmatch(link.name)) is None:
                continue
            try:
                member = _Member(kind, name[1], link.resolved())
                found.setdefault(_function(host, member), member)
            except SysfsError as error:
                odd.append(unreadable(host.kernel_path(link), error))
    return found, odd


def _function(host: Host, member: _Member) -> Dir:
    """Return the PCI function of a class device: it is above it, or, in some releases, the driver tells."""
    if (function := pci.function_above(member.directory)) is not None:
        return function
    with host.reading(member.directory):
        address = member.told("pci_addr") or ""
    if not pci.ADDRESS.fullmatch(address):
        raise SysfsError(f"{member.directory.path}/device/pci_addr", f"{address[:40]!r} is no PCI address")
    return (host.sys / "bus/pci/devices" / address).resolved()


def _card(host: Host, function: Dir, member: _Member, count: int) -> Iterator[Device | Exclusion | Signs]:
    if pci.identity(function, "vendor") != _HABANA:
        return  # an NPU, or an accelerator of another maker
    path = host.kernel_path(function)
    device_id = pci.identity(function, "device")
    model = _MODELS.get(device_id) or member.told("device_type") or ""
    if not model.upper().startswith("GAUDI"):
        evidence = f"{device_id} is the id of no Gaudi known here"
        yield _excluded(path, "not-gaudi", evidence, "report this if it is one; Goya and Greco are not offered")
        return
    nodes = {each: host.node(each) for each in (f"/dev/{prefix}{member.number}" for prefix in _NODES[member.kind])}
    if missing := [each for each, node in nodes.items() if node is None]:
        yield _excluded(path, "no-node", f"{' and '.join(missing)} not there", _SEE_DEV)
        return
    verbs, absent = _rdma(host, function)
    yield from absent
    yield Device(
        id=function.name,
        resource=RESOURCE,
        sysfs_path=path,
        edits=ContainerEdits(device_nodes=(*(node for node in nodes.values() if node), *verbs)),
        cdi_name=function.name,
        numa_nodes=pci.numa_nodes(function),
        attributes=_attributes(function, member, device_id, model) | {"cardsOfNode": str(count)},
        faults=_faults(member),
    )
    if (resets := _count(member)) is not None:
        yield Signs(path, counts={_RESET: resets})


def _count(member: _Member) -> int | None:
    """Return how often the driver has reset the whole card.

    Raises:
        SysfsError: it does not say so in a number.
    """
    text = member.told("hard_reset_cnt")
    if text is None or (text.isascii() and text.isdecimal()):
        return None if text is None else int(text)
    raise SysfsError(f"{member.directory.path}/hard_reset_cnt", f"{text[:40]!r} is not a number")


def _rdma(host: Host, function: Dir) -> tuple[list[DeviceNode], list[Exclusion]]:
    """Return the nodes through which programs drive the card's own network ports, and those that are not there."""
    paths = {f"/dev/infiniband/{each.name}": each for each in (function / "infiniband_verbs").children("uverbs*")}
    nodes = {path: host.node(path) for path, each in paths.items() if _VERBS.fullmatch(each.name)}
    return [node for node in nodes.values() if node], [
        _excluded(host.kernel_path(paths[path]), "node-missing", f"{path} is not there", _SEE_DEV)
        for path, node in nodes.items()
        if node is None
    ]


def _faults(member: _Member) -> frozenset[Fault]:
    status = member.told("status")
    if status is None or (word := status.lower()) == _OPERATIONAL:
        return frozenset()
    if word in _RESETTING:
        return frozenset({Fault(Reason.RESETTING, "sysfs", "its driver resets the card")})
    if word not in _STOPPED:
        raise SysfsError(f"{member.directory.path}/status", f"{status[:40]!r} is no status that the driver has")
    detail = f"the driver calls it {status!r}: the kernel log says why, and whether a hard reset or a reboot helps"
    return frozenset({Fault(Reason.HALTED, "sysfs", detail)})


def _attributes(function: Dir, member: _Member, device_id: str, model: str) -> dict[str, str]:
    module = member.told("module_id")
    if module is not None and not (module.isascii() and module.isdecimal()):
        raise SysfsError(f"{member.directory.path}/module_id", f"{module[:40]!r} is not a number")
    known = {
        "pciAddress": function.name,
        "deviceId": device_id,
        "driver": function.link_name("driver"),
        "model": model,
        "index": member.number,
        "moduleId": module,
    }
    return {key: value for key, value in known.items() if value}


def _without_device(host: Host, link: Dir, *, lost: bool) -> Iterator[Exclusion]:
    """Name cards that the driver does not have, or made nothing of; with `lost`, somebody's device cannot be read."""
    if link.optional_text("vendor") != _HABANA:
        return
    path = host.kernel_path(link.resolved())
    driver = link.link_name("driver")
    if driver == DRIVER and lost:
        yield unreadable(path, SysfsError(link.path, "its device in /sys/class/accel cannot be told"))
    elif driver == DRIVER:
        yield _excluded(path, "no-device", f"driver {driver} made no device of it", "look at the kernel log")
    else:
        found = "no driver" if driver is None else f"driver {driver!r}"
        yield _excluded(path, "driver", found, f"load {DRIVER}, or bind it to that")


def _excluded(path: str, rule: str, evidence: str, remedy: str) -> Exclusion:
    return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")
