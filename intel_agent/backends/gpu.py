"""GPUs of the i915 and xe drivers.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`vendor`, `device`, `class`, `driver`, `numa_node`, `sriov_numvfs`,
`physfn`), Documentation/gpu/drm-uapi.rst, drivers/gpu/drm/xe/xe_survivability_mode.c (`survivability_mode`).
None of these attributes wakes the hardware.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent import drm, pci
from intel_agent.allocation import PolicyName
from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Mount
from intel_agent.sysfs import Dir, Host, unreadable

DRIVERS = frozenset({"i915", "xe"})

_DISPLAY_CLASS = "0x03"
_SEE_DEV = "check that the agent sees the whole /dev of the host and that nothing removes device files"
_REPORT = "report this with the names of the kernel and the card"
_SEE_UDEV = "udev makes these links: check that it runs"

_MODELS = {
    "0x0bd5": "Data Center GPU Max 1550",
    "0x0bda": "Data Center GPU Max 1100",
    "0x56c0": "Data Center GPU Flex 170",
    "0x56c1": "Data Center GPU Flex 140",
    "0x56a0": "Arc A770",
    "0x56a1": "Arc A750",
    "0x56a5": "Arc A380",
    "0x56a6": "Arc A310",
    "0xe20b": "Arc B580",
    "0xe20c": "Arc B570",
}
"""Discrete cards whose id says which one it is. Nothing is said of others."""


class Gpu(Backend, frozen=True, kw_only=True):
    """Graphics and compute cards: `gpu.intel.com/i915`, `gpu.intel.com/xe`, and all of them to look at."""

    name: ClassVar[str] = "gpu"
    subsystems: ClassVar[frozenset[str]] = frozenset({"drm", "pci", "mei"})
    directories: ClassVar[tuple[str, ...]] = (drm.BY_PATH,)

    shared_dev_num: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_SHARES, description="How many containers may use one card.")
    ] = 1
    preferred_allocation_policy: Annotated[
        PolicyName,
        msgspec.Meta(
            description="Which shares a container with several gets: of distinct cards (none), of the cards with most "
            "shares left (balanced), or of as few cards as possible (packed)."
        ),
    ] = "none"
    enable_monitoring: Annotated[
        bool, msgspec.Meta(description="Whether gpu.intel.com/monitoring, access to all cards at once, is offered.")
    ] = False
    allow_ids: Annotated[
        pci.IdList, msgspec.Meta(description='PCI device ids to offer, for example ["0x56c0"]; nothing means: all.')
    ] = msgspec.field(default=(), name="allowIDs")
    deny_ids: Annotated[
        pci.IdList, msgspec.Meta(description='PCI device ids not to offer, for example ["0x56c0"]. Not with allowIDs.')
    ] = msgspec.field(default=(), name="denyIDs")
    bypath_mode: Annotated[
        Literal["single", "none", "all"],
        msgspec.Meta(description="Links of /dev/dri/by-path in the container: those of its cards, none, or all."),
    ] = "single"

    def problems(self) -> dict[str, str]:
        lists = {"allowIDs": self.allow_ids, "denyIDs": self.deny_ids}
        found = {key: problem for key, ids in lists.items() if (problem := pci.id_list_problem(ids))}
        if self.allow_ids and self.deny_ids:
            found.setdefault("denyIDs", "cannot be given together with allowIDs: keep one of them")
        return found

    def policy(self, resource: str) -> PolicyName | None:
        return self.preferred_allocation_policy

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        cards: dict[Dir, str] = {}
        for link in drm.cards(host):
            try:
                function = drm.function_of(host, link)
            except SysfsError as error:
                yield unreadable(host.kernel_path(link), error)
                continue
            if function is not None and cards.setdefault(function, link.name) != link.name:
                yield _excluded(host.kernel_path(link), "second-card", f"{cards[function]} is the same device", _REPORT)
        offered: list[Device] = []
        for item in host.each(cards, lambda function: self._card(host, cards[function], function)):
            if isinstance(item, Device):
                offered.append(item)
            yield item
        yield from _without_card(host, {function.name for function in cards})
        if self.enable_monitoring and offered:
            yield from _monitoring(host, offered)

    def _card(self, host: Host, name: str, function: Dir) -> Iterator[Device | Exclusion]:
        if pci.identity(function, "vendor") != pci.INTEL:
            return
        path = host.kernel_path(function)
        device_id = pci.identity(function, "device")
        driver = function.link_name("driver")
        if refusal := self._refused(path, device_id) or _unfit(path, driver, pci.virtual_functions(function)):
            yield refusal
            return
        nodes, absent = _nodes(host, function)
        yield from absent
        if not nodes:
            yield _excluded(path, "no-node", f"{name} has no device node in /dev/dri", _SEE_DEV)
            return
        mounts, stray = self._mounts(host, function.name, nodes)
        yield from stray
        yield Device(
            id=name,
            resource=f"gpu.intel.com/{driver}",
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=nodes, mounts=mounts),
            cdi_name=name,
            shares=self.shared_dev_num,
            numa_nodes=pci.numa_nodes(function),
            attributes=_attributes(function, device_id, driver),
        )

    def _refused(self, path: str, device_id: str) -> Exclusion | None:
        """Whole ids are compared: 0x56c is not part of 0x56c0."""
        if self.allow_ids and device_id not in pci.ids(self.allow_ids):
            return _excluded(path, "not-allowed", f"{device_id} is not in allowIDs", "add it to devices.gpu.allowIDs")
        if device_id in pci.ids(self.deny_ids):
            return _excluded(path, "denied", f"{device_id} is in denyIDs", "take it out of devices.gpu.denyIDs")
        return None

    def _mounts(
        self, host: Host, address: str, nodes: Sequence[DeviceNode]
    ) -> tuple[tuple[Mount, ...], list[Exclusion]]:
        """Return the by-path links of this card, and exclusions of those that lead somewhere else."""
        if self.bypath_mode == "none":
            return (), []
        if self.bypath_mode == "all":
            return ((_mount(host, drm.BY_PATH),) if (host.dev / "dri/by-path").exists() else ()), []
        own = {node.path for node in nodes}
        links = drm.links(host, address)
        return tuple(_mount(host, path) for path, target in links.items() if target in own), [
            _excluded(path, "by-path", f"it leads to {target!r}, no node of this card", _SEE_UDEV)
            for path, target in links.items()
            if target not in own
        ]


def _without_card(host: Host, known: Container[str]) -> Iterator[Device | Exclusion]:
    """Name GPUs that no driver made a card of."""
    bus = host.sys / "bus/pci/devices"
    try:
        functions = [link for link in bus.children() if link.name not in known]
    except SysfsError as error:
        yield unreadable(host.kernel_path(bus), error)
        return
    yield from host.each(functions, lambda link: _bare(host, link))


def _bare(host: Host, link: Dir) -> Iterator[Exclusion]:
    if not (link.optional_text("class") or "").startswith(_DISPLAY_CLASS) or pci.identity(link, "vendor") != pci.INTEL:
        return
    path = host.kernel_path(link.resolved())
    driver = link.link_name("driver")
    if link.exists("survivability_mode"):
        yield _excluded(path, "survivability", "it is in survivability mode", "flash its firmware")
    elif driver in DRIVERS:
        yield _excluded(path, "no-card", f"driver {driver} made no card of it", "look at the kernel log")
    else:
        yield _wrong_driver(path, driver)


def _wrong_driver(path: str, driver: str | None) -> Exclusion:
    found = "no driver" if driver is None else f"driver {driver!r}"
    return _excluded(path, "driver", found, f"bind it to one of: {', '.join(sorted(DRIVERS))}")


def _unfit(path: str, driver: str | None, virtual_functions: int) -> Exclusion | None:
    if driver not in DRIVERS:
        return _wrong_driver(path, driver)
    if virtual_functions:
        evidence = f"{virtual_functions} virtual functions are enabled"
        return _excluded(path, "has-virtual-functions", evidence, "use those, or write 0 to its sriov_numvfs")
    return None


def _nodes(host: Host, function: Dir) -> tuple[tuple[DeviceNode, ...], list[Exclusion]]:
    """Return the card's nodes that are there, and what is to be said of the others."""
    there: list[DeviceNode] = []
    absent: list[Exclusion] = []
    for each in drm.nodes(function):
        path = f"/dev/dri/{each.name}"
        if node := host.node(path):
            there.append(node)
        else:
            absent.append(_absent(host, each, path))
    return tuple(there), absent


def _monitoring(host: Host, cards: Sequence[Device]) -> Iterator[Device | Exclusion]:
    """All cards and their management controllers as one device: never faulty, nowhere near a NUMA node."""
    nodes = [node for card in cards for node in card.edits.device_nodes]
    for card in cards:
        function = Dir(host.root + card.sysfs_path)
        try:
            with host.reading(function):
                found = {mei: host.node(f"/dev/{mei.name}") for mei in drm.controllers(function)}
        except SysfsError as error:
            yield _excluded(card.sysfs_path, "controller", str(error), _SEE_DEV)
            continue
        nodes.extend(node for node in found.values() if node)
        yield from (_absent(host, mei, f"/dev/{mei.name}") for mei, node in found.items() if not node)
    yield Device(
        id="all",
        resource="gpu.intel.com/monitoring",
        sysfs_path="/sys/class/drm",
        edits=ContainerEdits(device_nodes=tuple(nodes)),
        cdi_name="monitoring",
        attributes={"cards": ",".join(card.id for card in cards)},
    )


def _attributes(function: Dir, device_id: str, driver: str | None) -> dict[str, str]:
    known = {
        "pciAddress": function.name,
        "deviceId": device_id,
        "driver": driver,
        "model": _MODELS.get(device_id),
        "discrete": "true" if device_id in _MODELS else None,
        "physicalFunction": function.link_name("physfn"),
    }
    return {key: value for key, value in known.items() if value}


def _mount(host: Host, path: str) -> Mount:
    return Mount(container_path=path, host_path=host.host_path(path))


def _absent(host: Host, device: Dir, node: str) -> Exclusion:
    return _excluded(host.kernel_path(device), "node-missing", f"{node} is not there", _SEE_DEV)


def _excluded(path: str, rule: str, evidence: str, remedy: str) -> Exclusion:
    return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")
