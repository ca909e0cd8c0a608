"""Virtual functions of QAT (QuickAssist: encryption and compression) for drivers in user space.

Sources: Documentation/ABI/testing/sysfs-driver-qat, Documentation/ABI/testing/sysfs-bus-pci (`vendor`, `device`,
`driver`, `physfn`, `numa_node`, `sriov_numvfs`, `sriov_totalvfs`), and those of `userspace` and `qat`.
None of this touches the hardware. The agent binds nothing: whoever gave a function to VFIO wants it to be used so.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent import pci, qat, qathealth, userspace
from intel_agent.allocation import FUNCTIONS, Policy, PolicyName
from intel_agent.backends import MAX_SHARES, Backend
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, Exclusion, Fault, Mount, Signs
from intel_agent.sysfs import Dir, Host, unreadable

_MIXED = userspace.ANYTHING | {each for model in qat.MODELS.values() for each in (model.driver, model.vf_driver)}

_MODULES = {"vfio-pci": {"vfio-pci": "vfio_pci"}, "igb_uio": {"igb_uio": "igb_uio"}}
"""The module of each driver for user space, as a driver with its module."""

_Units = Mapping[Dir, qat.Physical | SysfsError]
"""What each physical function says of itself, or why it cannot be read."""


class Qat(Backend, frozen=True, kw_only=True):
    """Virtual functions: `qat.intel.com/cy`, `/dc`, ... by what their device is configured for, else `/generic`."""

    name: ClassVar[str] = "qat"
    subsystems: ClassVar[frozenset[str]] = frozenset({"pci", "uio", "vfio", "vfio-dev"})
    directories: ClassVar[tuple[str, ...]] = ("/dev/vfio", "/dev/vfio/devices")
    choices: ClassVar[frozenset[str]] = frozenset({"not-listed", "max-num-devices", "no-virtual-functions"})

    dpdk_driver: Annotated[
        Literal["vfio-pci", "igb_uio"],
        msgspec.Meta(description="The driver of functions that are offered. The agent binds none to it."),
    ] = "vfio-pci"
    kernel_vf_drivers: Annotated[
        Annotated[tuple[qat.KernelDriver, ...], msgspec.Meta(min_length=1, max_length=len(qat.KERNEL_DRIVERS))] | str,
        msgspec.Meta(
            description="Which virtual functions are offered, by the kernel's driver for them: a list or a comma list."
        ),
    ] = qat.KERNEL_DRIVERS
    max_num_devices: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=MAX_SHARES, description="How many functions are offered at most: those of low addresses."
        ),
    ] = 128
    preferred_allocation_policy: Annotated[
        PolicyName,
        msgspec.Meta(
            description="Which functions a container with several gets: any (none), of as many devices as possible "
            "(balanced), or of as few as possible (packed)."
        ),
    ] = "none"

    def problems(self) -> dict[str, str]:
        known = ", ".join(qat.KERNEL_DRIVERS)
        odd = ", ".join(repr(each) for each in sorted(self._kernel_drivers - {*qat.KERNEL_DRIVERS}))
        return {"kernelVfDrivers": f"{odd}: no driver of virtual functions; there are {known}"} if odd else {}

    @property
    def _kernel_drivers(self) -> frozenset[str]:
        given = self.kernel_vf_drivers
        pieces: Iterable[str] = given.split(",") if isinstance(given, str) else given
        return frozenset(each.strip() for each in pieces)

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        model = qat.MODELS.get(identity.device) if identity.vendor == pci.INTEL else None
        if model is None:
            return None
        if model.virtual:
            return pci.Hardware(f"virtual function of QAT ({model.generation})", _MODULES[self.dpdk_driver])
        return pci.Hardware(f"QAT ({model.generation})", {model.driver: f"qat_{model.driver}"})

    def policy(self, resource: str) -> Policy | None:
        return FUNCTIONS[self.preferred_allocation_policy]

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        return super().allocate(devices) + userspace.numbered("QAT", devices)

    def discover(self, host: Host) -> Iterator[Device | Exclusion | Signs]:
        virtual: dict[Dir, str] = {}
        physical: dict[Dir, str] = {}
        for each in pci.functions(host, qat.MODELS, mixed=_MIXED):
            if isinstance(each, Exclusion):
                yield each
                continue
            function, device = each
            if refusal := self._unlisted(host.kernel_path(function), qat.MODELS[device]):
                yield refusal
            else:
                (virtual if qat.MODELS[device].virtual else physical)[function] = device
        parents = yield from _parents(host, virtual)
        units = yield from _units(host, {parents[function]: virtual[function] for function in parents})
        offered = host.each(parents, lambda each: [self._virtual(host, each, virtual[each], units, parents[each])])
        yield from self._at_most(offered)
        yield from host.each(physical, lambda each: _physical(host, each, qat.MODELS[physical[each]]))

    def _unlisted(self, path: str, model: qat.Model) -> Exclusion | None:
        if model.vf_driver in self._kernel_drivers:
            return None
        evidence = f"{model.vf_driver} is not in kernelVfDrivers"
        return Exclusion(path, "not-listed", evidence, "add it to devices.qat.kernelVfDrivers")

    def _at_most(self, items: Iterable[Device | Exclusion]) -> Iterator[Device | Exclusion]:
        left = self.max_num_devices
        for item in items:
            if isinstance(item, Exclusion) or left:
                left -= isinstance(item, Device)
                yield item
                continue
            evidence = f"{self.max_num_devices} functions of lower addresses are offered"
            yield Exclusion(item.sysfs_path, "max-num-devices", evidence, "raise devices.qat.maxNumDevices")

    def _virtual(
        self, host: Host, function: Dir, device_id: str, units: _Units, parent: Dir | None
    ) -> Device | Exclusion:
        path, model = host.kernel_path(function), qat.MODELS[device_id]
        unit = units[parent] if parent is not None else None
        if isinstance(unit, SysfsError):
            raise SysfsError(unit.path, unit.problem)
        if unit is not None and (refusal := qat.out_of_service(path, unit)):
            return refusal
        edits = self._edits(host, function, model)
        if isinstance(edits, Exclusion):
            return edits
        services = None if unit is None else unit.services
        attributes = {
            "pciAddress": function.name,
            "deviceId": device_id,
            "driver": function.link_name("driver"),
            "generation": model.generation,
            "services": services,
            "physicalFunction": None if unit is None else unit.address,
        }
        return Device(
            id=function.name,
            resource=f"qat.intel.com/{qat.capability(services)}",
            sysfs_path=path,
            edits=edits,
            cdi_name=function.name,
            numa_nodes=pci.numa_nodes(function),
            attributes={key: value for key, value in attributes.items() if value},
        )

    def _edits(self, host: Host, function: Dir, model: qat.Model) -> ContainerEdits | Exclusion:
        if refusal := userspace.wrong_driver(host, function, self.dpdk_driver, denied=model.denied):
            return refusal
        if self.dpdk_driver == "vfio-pci":
            nodes = userspace.vfio_nodes(host, function)
            return nodes if isinstance(nodes, Exclusion) else ContainerEdits(device_nodes=nodes)
        found = userspace.uio_node(host, function)
        if isinstance(found, Exclusion):
            return found
        name, node = found
        directory = f"/sys/class/uio/{name}/device"
        mount = Mount(directory, host.host_path(directory), read_only=False)
        return ContainerEdits(device_nodes=(node,), mounts=(mount,))


def _physical(host: Host, function: Dir, model: qat.Model) -> Iterator[Exclusion]:
    """Name a physical function that has no virtual ones: of itself, it is not for containers."""
    if pci.virtual_functions(function):
        return
    path = host.kernel_path(function)
    driver, total = function.link_name("driver"), function.optional_integer("sriov_totalvfs")
    if driver != model.driver:
        evidence = "it has no driver" if driver is None else f"its driver is {driver}"
        yield Exclusion(path, "physical-driver", evidence, qat.to_kernel(function.name, bound=driver is not None))
    elif not total:
        remedy = "switch SR-IOV on in the BIOS; a virtual machine is given virtual functions, not this one"
        yield Exclusion(path, "no-sriov", "it cannot have virtual functions", remedy)
    else:
        remedy = f"echo {total} > /sys/bus/pci/devices/{function.name}/sriov_numvfs; then give them to vfio-pci"
        yield Exclusion(path, "no-virtual-functions", f"none of its {total} virtual functions is enabled", remedy)


def _parents(host: Host, virtual: Iterable[Dir]) -> Generator[Exclusion, None, dict[Dir, Dir | None]]:
    """Return the physical function of each virtual one; in a virtual machine there is none to be seen."""
    parents: dict[Dir, Dir | None] = {}
    for function in virtual:
        try:
            with host.reading(function):
                parents[function] = userspace.virtual_function_of(function)
        except SysfsError as error:
            yield unreadable(host.kernel_path(function), error)
    return parents


def _units(host: Host, wanted: Mapping[Dir | None, str]) -> Generator[Exclusion | Signs, None, _Units]:
    """Return what physical functions say, each read once; `wanted` has the device id of a virtual one for each."""
    units: dict[Dir, qat.Physical | SysfsError] = {}
    for function, device in wanted.items():
        if function is None:
            continue
        try:
            with host.reading(function):
                units[function] = unit = qat.physical(host, function, configurable=qat.MODELS[device].configurable)
                counts = _counts(host, function, unit)
        except SysfsError as error:
            units[function] = error
            yield unreadable(host.kernel_path(function), error)
        else:
            yield from () if unit.unknown is None else (unit.unknown,)
            yield Signs(host.kernel_path(function), counts=counts)
    return units


def _counts(host: Host, function: Dir, unit: qat.Physical) -> Mapping[Fault, int]:
    debugfs = qat.debugfs(host, unit.address, unit.driver or "")
    return qathealth.counts(function, debugfs, down=unit.state == "down")
