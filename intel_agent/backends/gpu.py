"""GPUs: cards of the i915 and xe drivers, and functions that VFIO gives to virtual machines.

Sources: Documentation/ABI/testing/sysfs-bus-pci (`vendor`, `device`, `class`, `driver`, `numa_node`, `sriov_numvfs`,
`physfn`), Documentation/gpu/drm-uapi.rst, drivers/gpu/drm/xe/xe_survivability_mode.c (`survivability_mode`), and what
`drm` and `userspace` name. None of these attributes wakes the hardware.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent import drm, drmhealth, gpumodels, pci, userspace
from intel_agent.allocation import SHARES, Policy, PolicyName
from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.errors import SysfsError
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Event, Exclusion, Mount, Readings, Verdict
from intel_agent.sysfs import Dir, Host, unreadable
from intel_agent.userspace import VFIO_DRIVERS

DRIVERS = frozenset({"i915", "xe"})

_CLASS = re.compile(r"0x[0-9a-f]{6}")
_DISPLAY_CLASS = "0x03"
_SEE_DEV = "check that the agent sees the whole /dev of the host and that nothing removes device files"
_REPORT = "report this with the names of the kernel and the card"
_SEE_UDEV = "udev makes these links: check that it runs"
_BIND = "bind it to i915 or xe for containers, to vfio-pci or xe-vfio-pci for virtual machines"
_SEE_PF = "bind that to i915 or xe: their driver is what gives virtual functions their share of the card"
_SEE_IOMMU = "QEMU takes no such group: switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)"

_NO_MODESET = frozenset({"nomodeset", "i915.modeset=0", "xe.modeset=0"})
"""Words of the kernel's command line."""

_VFIO = "gpu.intel.com/vfio"
_MONITORS = frozenset({"monitoring", "i915_monitoring", "xe_monitoring"})


class Gpu(Backend, frozen=True, kw_only=True):
    """Cards (`gpu.intel.com/i915`, `gpu.intel.com/xe`), all of them to look at, and functions for virtual machines."""

    name: ClassVar[str] = "gpu"
    subsystems: ClassVar[frozenset[str]] = frozenset({"devcoredump", "drm", "pci", "mei"})
    directories: ClassVar[tuple[str, ...]] = (drm.BY_PATH, "/dev/vfio", "/dev/vfio/devices")
    overall: ClassVar[frozenset[str]] = frozenset(f"gpu.intel.com/{each}" for each in _MONITORS)
    taken: ClassVar[frozenset[str]] = _MONITORS | {"vfio"}
    choices: ClassVar[frozenset[str]] = frozenset({"not-allowed", "denied", "has-virtual-functions"})

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
        bool, msgspec.Meta(description="Whether access to all cards at once is offered, to monitors.")
    ] = False
    monitoring_mode: Annotated[
        Literal["single", "split"],
        msgspec.Meta(
            description="Whether monitors see all cards, as gpu.intel.com/monitoring (single), or those of one driver, "
            "as gpu.intel.com/i915_monitoring or gpu.intel.com/xe_monitoring (split)."
        ),
    ] = "single"
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
    temperature_limit: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=200,
            description="At more degrees Celsius than this a card is unhealthy. 0 means: at the emergency limit that "
            "it tells itself, or above 100 where it tells none.",
        ),
    ] = 0

    def problems(self) -> dict[str, str]:
        lists = {"allowIDs": self.allow_ids, "denyIDs": self.deny_ids}
        found = {key: problem for key, ids in lists.items() if (problem := pci.id_list_problem(ids))}
        if self.allow_ids and self.deny_ids:
            found.setdefault("denyIDs", "cannot be given together with allowIDs: keep one of them")
        return found

    def policy(self, resource: str) -> Policy | None:
        return None if resource == _VFIO else SHARES[self.preferred_allocation_policy]

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        edits = super().allocate(devices)
        functions = [each for each in devices if each.attributes.get("driver") in VFIO_DRIVERS]
        if not functions:
            return edits
        addresses = userspace.kubevirt_addresses(functions[0].resource, (each.id for each in functions))
        return edits + ContainerEdits(env=addresses)

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        if identity.vendor != pci.INTEL or not identity.pci_class.startswith(_DISPLAY_CLASS):
            return None
        model = gpumodels.model(identity.device)
        name = "GPU of a family not known here" if model is None else model.name or f"GPU of the family {model.family}"
        return pci.Hardware(name, {"xe": "xe", "i915": "i915"}, _NO_MODESET)

    def diagnose(self, event: Event) -> Iterable[Verdict]:
        return drmhealth.diagnosed(event)

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
        links = cache(lambda: drm.links(host))
        for item in host.each(cards, lambda function: self._card(host, cards[function], function, links)):
            if isinstance(item, Device) and item.resource != _VFIO:
                offered.append(item)
            yield item
        yield from self._without_card(host, {function.name for function in cards})
        if self.enable_monitoring:
            yield from self._monitors(host, self.ruled(Found(tuple(offered))).devices)

    def _card(
        self, host: Host, name: str, function: Dir, links: Callable[[], Mapping[str, Sequence[str]]]
    ) -> Iterator[Device | Exclusion]:
        if pci.identity(function, "vendor") != pci.INTEL:
            return
        path = host.kernel_path(function)
        if (driver := function.link_name("driver")) not in DRIVERS:
            yield self._function(host, function)
            return
        device_id = pci.identity(function, "device")
        if refusal := self._refused(path, device_id) or _divided(path, function):
            yield refusal
            return
        nodes, absent = _nodes(host, function)
        yield from absent
        if not nodes:
            yield _excluded(path, "no-node", f"{name} has no device node in /dev/dri", _SEE_DEV)
            return
        mounts, stray = self._mounts(host, function.name, nodes, links)
        yield from stray
        temperatures = drmhealth.temperatures(function)
        yield Device(
            id=name,
            resource=f"gpu.intel.com/{driver}",
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=nodes, mounts=mounts),
            cdi_name=name,
            shares=self.shared_dev_num,
            numa_nodes=pci.numa_nodes(function),
            attributes=drm.attributes(function, name, device_id, driver),
            faults=frozenset(drmhealth.signs(function, temperatures, self.temperature_limit)),
            readings=Readings({each.sensor: each.degrees for each in temperatures}),
        )

    def _without_card(self, host: Host, known: Container[str]) -> Iterator[Device | Exclusion]:
        """GPUs that no driver made a card of."""
        bus = host.sys / "bus/pci/devices"
        try:
            names = sorted((name for name in bus.names() if name not in known), key=pci.order)
        except SysfsError as error:
            yield unreadable(host.kernel_path(bus), error)
            return
        functions: list[Dir] = []
        strangers = pci.Strangers(host, userspace.ANYTHING)
        for link in (bus / name for name in names if name not in strangers):
            try:
                with host.reading(link):
                    if _is_gpu(bus, link):
                        functions.append(link.resolved())
                    else:
                        strangers.add(link.name)
            except SysfsError as error:
                yield unreadable(host.kernel_path(_end(link)), error)
        yield from host.each(functions, lambda function: [self._function(host, function)])

    def _function(self, host: Host, function: Dir) -> Device | Exclusion:
        """Return what VFIO gives to a virtual machine of a GPU without a card, or why it is given to nobody."""
        path = host.kernel_path(function)
        driver = function.link_name("driver")
        if refusal := _unbound(path, driver, function):
            return refusal
        device_id = pci.identity(function, "device")
        if refusal := self._refused(path, device_id) or _divided(path, function) or _unsafe(path, function):
            return refusal
        nodes = userspace.vfio_nodes(host, function)
        if isinstance(nodes, Exclusion):
            return nodes
        return Device(
            id=function.name,
            resource=_VFIO,
            sysfs_path=path,
            edits=ContainerEdits(device_nodes=nodes),
            cdi_name=function.name,
            numa_nodes=pci.numa_nodes(function),
            attributes=drm.attributes(function, None, device_id, driver),
        )

    def _monitors(self, host: Host, cards: Sequence[Device]) -> Iterator[Device | Exclusion]:
        if not cards:
            return
        if self.monitoring_mode == "single":
            yield from _monitoring(host, "monitoring", "/sys/class/drm", cards)
            return
        for driver in sorted({card.attributes["driver"] for card in cards}):
            own = [card for card in cards if card.attributes["driver"] == driver]
            yield from _monitoring(host, f"{driver}_monitoring", f"/sys/bus/pci/drivers/{driver}", own)

    def _refused(self, path: str, device_id: str) -> Exclusion | None:
        """Whole ids are compared: 0x56c is not part of 0x56c0."""
        if self.allow_ids and device_id not in pci.ids(self.allow_ids):
            return _excluded(path, "not-allowed", f"{device_id} is not in allowIDs", "add it to devices.gpu.allowIDs")
        if device_id in pci.ids(self.deny_ids):
            return _excluded(path, "denied", f"{device_id} is in denyIDs", "take it out of devices.gpu.denyIDs")
        return None

    def _mounts(
        self,
        host: Host,
        address: str,
        nodes: Sequence[DeviceNode],
        links: Callable[[], Mapping[str, Sequence[str]]],
    ) -> tuple[tuple[Mount, ...], list[Exclusion]]:
        """Return those of the by-path links of this card that lead to it, and exclusions of the others."""
        if self.bypath_mode == "none":
            return (), []
        if self.bypath_mode == "all":
            return ((_mount(host, drm.BY_PATH),) if (host.dev / "dri/by-path").exists() else ()), []
        own = {node.path for node in nodes}
        targets = {path: drm.target(host, path) for path in links().get(address, ())}
        return tuple(_mount(host, path) for path, target in targets.items() if target in own), [
            _excluded(path, "by-path", f"it leads to {target!r}, no node of this card", _SEE_UDEV)
            for path, target in targets.items()
            if target not in own
        ]


def _is_gpu(bus: Dir, link: Dir) -> bool:
    pci_class = link.optional_text("class")
    if pci_class is None:
        # What is no link to a directory is odd. It is not said of it that it is no GPU.
        bus.link_name(link.name)
        link.children()
        return False
    if not _CLASS.fullmatch(pci_class):
        raise SysfsError(f"{link.path}/class", f"{pci_class[:40]!r} is not a class like 0x038000")
    return pci_class.startswith(_DISPLAY_CLASS) and pci.identity(link, "vendor") == pci.INTEL


def _end(link: Dir) -> Dir:
    """Return the function that a link leads to, by which it is known if it was seen before; else the link."""
    try:
        end = link.resolved()
    except SysfsError:
        return link
    return end if end.name == link.name else link


def _unbound(path: str, driver: str | None, function: Dir) -> Exclusion | None:
    if driver in VFIO_DRIVERS:
        return None
    if function.exists("survivability_mode"):
        return _excluded(path, "survivability", "it is in survivability mode", "flash its firmware")
    if driver in DRIVERS:
        return _excluded(path, "no-card", f"driver {driver} made no card of it", "look at the kernel log")
    return _excluded(path, "driver", _named(driver), _BIND)


def _divided(path: str, function: Dir) -> Exclusion | None:
    if not (count := pci.virtual_functions(function)):
        return None
    evidence = f"{count} virtual functions are enabled"
    return _excluded(path, "has-virtual-functions", evidence, "use those, or write 0 to its sriov_numvfs")


def _unsafe(path: str, function: Dir) -> Exclusion | None:
    physical = userspace.virtual_function_of(function)
    if physical is not None and (driver := physical.link_name("driver")) not in DRIVERS:
        evidence = f"its physical function {physical.name} has {_named(driver)}"
        return _excluded(path, "physical-function", evidence, _SEE_PF)
    if (group := userspace.group(function)) is not None and not group.isolated:
        return _excluded(path, "no-iommu", f"group {group.name} was made without an IOMMU", _SEE_IOMMU)
    return None


def _named(driver: str | None) -> str:
    return "no driver" if driver is None else f"driver {driver!r}"


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


def _monitoring(host: Host, name: str, path: str, cards: Sequence[Device]) -> Iterator[Device | Exclusion]:
    """Yield these cards and their management controllers as one device: never faulty, nowhere near a NUMA node."""
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
        resource=f"gpu.intel.com/{name}",
        sysfs_path=path,
        edits=ContainerEdits(device_nodes=tuple(nodes)),
        cdi_name=name,
        attributes={"cards": ",".join(card.id for card in cards)},
    )


def _mount(host: Host, path: str) -> Mount:
    return Mount(container_path=path, host_path=host.host_path(path))


def _absent(host: Host, device: Dir, node: str) -> Exclusion:
    return _excluded(host.kernel_path(device), "node-missing", f"{node} is not there", _SEE_DEV)


def _excluded(path: str, rule: str, evidence: str, remedy: str) -> Exclusion:
    return Exclusion(path, rule, evidence, f"{remedy}; this is looked at again by itself")
