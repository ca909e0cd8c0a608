"""Network functions, accelerators of PCI class 12 and scalable functions, sorted into pools by an administrator.

What the SR-IOV network device plugin does. The parts: `selectors` and `pools` are the configuration, `candidates` the
facts, `nodes` and `variables` what containers get, `linkhealth` whether they have a link, `unselected` what to say of
devices that no pool wants.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta

from intel_agent import pci, userspace
from intel_agent.backends import Backend
from intel_agent.backends.nic import existing, linkhealth, nodes, variables
from intel_agent.backends.nic.candidates import VHOST, Candidate, Surroundings
from intel_agent.backends.nic.pools import PREFIX, Pool, clashes, name_problems, pool_problems
from intel_agent.backends.nic.selectors import SCALABLE, DeviceType, Selector, first_misfit
from intel_agent.backends.nic.unselected import Unselected
from intel_agent.errors import ConfigError, EditsError, SysfsError
from intel_agent.links import LinkFact
from intel_agent.model import NO_EDITS, ContainerEdits, Device, DeviceNode, Exclusion
from intel_agent.rules import Rule
from intel_agent.sysfs import Dir, Host, natural, unreadable

_CLASS = re.compile("0x[0-9a-f]{6}")
_NETWORK, _ACCELERATOR = "0x02", "0x12"
_TYPES: dict[str, DeviceType] = {_NETWORK: "netDevice", _ACCELERATOR: "accelerator"}
_SCALABLE_FUNCTION = re.compile(rf"[^\s.]+\.{SCALABLE}\.[0-9]+")


class Nic(Backend, frozen=True, kw_only=True):
    """Network functions and the like, in pools. Without pools nothing is looked for."""

    name: ClassVar[str] = "nic"
    subsystems: ClassVar[frozenset[str]] = frozenset(
        {
            "auxiliary",
            "infiniband",
            "infiniband_mad",
            "infiniband_verbs",
            "net",
            "pci",
            "uio",
            "vdpa",
            "vfio",
            "vfio-dev",
        }
    )
    directories: ClassVar[tuple[str, ...]] = ("/dev/vfio",)
    choices: ClassVar[frozenset[str]] = frozenset({"uplink", "has-virtual-functions", "not-selected"})
    remembers: ClassVar[bool] = True

    resource_prefix: Annotated[
        str, Meta(pattern=PREFIX, description="The prefix of resources that have none of their own.")
    ] = "intel.com"
    config_file: Annotated[
        str,
        Meta(
            pattern="^(/.*)?$",
            description="A configuration file of the SR-IOV network device plugin, in place of pools. In the path, "
            "$(NODE_NAME) is the name of the node.",
        ),
    ] = ""
    pools: Annotated[tuple[Pool, ...], Meta(description="The resources, in the order in which they take devices.")] = ()

    @classmethod
    def objections(cls, rule: Rule) -> dict[str, str]:
        found = super().objections(rule)
        if rule.resource is not UNSET:
            found["resource"] = f"found {rule.resource}; pools say how resources are called: leave it out"
        return found

    @property
    def file(self) -> str:
        return self.config_file

    def with_file(self, content: bytes) -> tuple["Nic", tuple[str, ...]]:
        reading = existing.read(content, self.resource_prefix)
        if reading.problems:
            raise ConfigError([f"{path}: {text}" if path else text for path, text in reading.problems])
        remarks = tuple(f"{path}: {text}" if path else text for path, text in reading.warnings)
        return msgspec.structs.replace(self, pools=reading.pools, config_file=""), remarks

    def problems(self) -> dict[str, str]:
        found = dict(clashes(self.pools, self.resource_prefix))
        found |= dict(pool_problems(self.pools, self.resource_prefix))
        if self.config_file and self.pools:
            found["configFile"] = "cannot be given together with pools: its resources are the pools"
        for _, text in name_problems(f"{self.resource_prefix}/x", "resourceName"):
            found["resourcePrefix"] = text
        return found

    @property
    def configured(self) -> bool:
        return bool(self.pools or self.config_file)

    @property
    def link_facts(self) -> frozenset[LinkFact]:
        selectors = [each for pool in self.pools if pool.device_type != "accelerator" for each in pool.all_selectors]
        wanted = {
            LinkFact.INTERFACES: bool(selectors),
            LinkFact.ESWITCH: bool(selectors),
            LinkFact.DDP: any(each.ddp_profiles for each in selectors),
            LinkFact.RDMA: any(each.is_rdma for each in selectors),
            LinkFact.VDPA: any(each.vdpa_type for each in selectors),
        }
        return frozenset(fact for fact, asked in wanted.items() if asked)

    def discover(self, host: Host) -> Iterator[Device | Exclusion]:
        types = {pool.device_type for pool in self.pools}
        if types - {"accelerator"} and host.links is None:
            raise SysfsError("rtnetlink", "it is not known on which interfaces the node itself lives")
        around = Surroundings(host)
        unselected = Unselected(self.pools, self.resource_prefix)
        strangers = pci.Strangers(host, userspace.ANYTHING)

        def function(directory: Dir) -> Sequence[Device | Exclusion]:
            device_type = _TYPES.get(_base_class(directory))
            if device_type not in types:
                strangers.add(directory.name)
                return ()
            return self._offered(Candidate(around, directory, directory), device_type, unselected)

        def scalable(directory: Dir) -> Sequence[Device | Exclusion]:
            parent = pci.function_above(directory)
            if parent is None or _base_class(parent) != _NETWORK:
                return ()
            return self._offered(Candidate(around, directory, parent), "auxNetDevice", unselected)

        if types - {"auxNetDevice"}:
            yield from _each(host, "pci", pci.ADDRESS, pci.order, function, but=strangers)
        if "auxNetDevice" in types:
            yield from _each(host, "auxiliary", _SCALABLE_FUNCTION, natural, scalable)
        yield from unselected.exclusions()

    def _offered(
        self, candidate: Candidate, device_type: DeviceType, unselected: Unselected
    ) -> Sequence[Device | Exclusion]:
        selected = self._selected(candidate, device_type)
        if selected is None:
            unselected.add(candidate, device_type)
            return ()
        pool, selector = selected
        if refusal := _refused(candidate, device_type):
            return (refusal,)
        found = nodes.of(candidate.around.host, candidate, selector)
        if isinstance(found, Exclusion):
            return (found,)
        return (self._device(candidate, pool, selector, found),)

    def _selected(self, candidate: Candidate, device_type: DeviceType) -> tuple[Pool, Selector] | None:
        """Return the first pool that selects the device, and which of its selectors does."""
        return next(
            (
                (pool, selector)
                for pool in self.pools
                if pool.device_type == device_type
                for selector in pool.all_selectors
                if first_misfit(selector, device_type, candidate) is None
            ),
            None,
        )

    def _device(self, candidate: Candidate, pool: Pool, selector: Selector, found: tuple[DeviceNode, ...]) -> Device:
        resource = pool.name(self.resource_prefix)
        return Device(
            id=candidate.id,
            resource=resource,
            sysfs_path=candidate.path,
            edits=ContainerEdits(device_nodes=found),
            cdi_name=candidate.id,
            numa_nodes=() if pool.exclude_topology else pci.numa_nodes(candidate.function),
            attributes={"pool": resource, **_attributes(candidate, pool.device_type, selector)},
            faults=linkhealth.faults(candidate, pool.link_health),
        )

    def allocate(self, devices: Sequence[Device]) -> ContainerEdits:
        if not devices:
            return NO_EDITS
        wanted = devices[0].attributes["pool"]
        pool = next((each for each in self.pools if each.name(self.resource_prefix) == wanted), None)
        if pool is None:
            raise EditsError(f"{wanted} is no pool of devices.nic any more")
        for each in devices:
            if each.attributes.get("rdma") and not each.edits.device_nodes:
                raise EditsError(f"the RDMA device of {each.id} is not back in the host's network namespace yet")
        ordered = sorted(devices, key=lambda device: _bus_order(device.id))
        return ContainerEdits(env=variables.variables(ordered, pool)) + super().allocate(ordered)

    def device_info(self, device: Device) -> Mapping[str, object] | None:
        return variables.device_info(device)

    def socket_name(self, resource: str) -> str:
        return resource.replace("/", "_") + ".sock"


def _each(
    host: Host,
    bus: str,
    name: re.Pattern[str],
    order: Callable[[str], Any],
    read: Callable[[Dir], Iterable[Device | Exclusion]],
    *,
    but: Container[str] = (),
) -> Iterator[Device | Exclusion]:
    """Read each device of a bus that is called so, in this order, `but` those; `read` may find out more of them."""
    directory = host.sys / f"bus/{bus}/devices"
    for each in sorted(filter(name.fullmatch, directory.names()), key=order):
        if each in but:
            continue
        link = directory / each
        try:
            device = _followed(link)
        except SysfsError as error:
            yield unreadable(host.kernel_path(link), error)
        else:
            yield from host.each((device,), read)


def _followed(link: Dir) -> Dir:
    device = link.followed()
    if device.name != link.name:
        raise SysfsError(link.path, f"leads to {device.name!r}, which is another device")
    return device


def _base_class(function: Dir) -> str:
    """Return what kind of device a PCI function is: the first two digits of its class.

    Raises:
        SysfsError: that cannot be told.
    """
    text = function.text("class")
    if not _CLASS.fullmatch(text):
        raise SysfsError(f"{function.path}/class", f"{text[:40]!r} is not a class like 0x020000")
    return text[: len(_NETWORK)]


def _bus_order(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts PCI addresses by their hexadecimal numbers, and other names naturally."""
    return [("", int(part, 16)) for part in re.split("[:.]", name)] if pci.ADDRESS.fullmatch(name) else natural(name)


def _refused(candidate: Candidate, device_type: DeviceType) -> Exclusion | None:
    if not candidate.driver:
        return Exclusion(
            candidate.path, "no-driver", "no driver is bound to it", "bind one: the function's own, or vfio-pci"
        )
    if candidate.is_uplink:
        names = ", ".join(each.name for each in candidate.interfaces)
        return Exclusion(
            candidate.path,
            "uplink",
            f"the node itself lives on {names}: a default route or the node's address is there, or on what it carries",
            "nothing: whoever got it would take the node off the network; its virtual functions can be offered",
        )
    if device_type == "netDevice" and (count := pci.virtual_functions(candidate.directory)):
        return Exclusion(
            candidate.path,
            "has-virtual-functions",
            f"{count} virtual functions are enabled",
            "offer those; it is offered itself when sriov_numvfs is 0",
        )
    if device_type == "auxNetDevice" and candidate.index is None:
        return Exclusion(
            candidate.path,
            "no-number",
            "it has no sfnum",
            "look at the kernel log: devlink gives every scalable function a number",
        )
    return None


def _attributes(candidate: Candidate, device_type: DeviceType, selector: Selector) -> dict[str, str]:
    index = None if candidate.index is None else str(candidate.index)
    values = {
        "deviceType": device_type,
        "pciAddress": candidate.address,
        "vendorId": f"0x{candidate.vendor}",
        "deviceId": f"0x{candidate.device}",
        "driver": candidate.driver,
        "interface": candidate.interface,
        "linkType": candidate.link_type,
        "pfName": candidate.pf_name,
        "physicalFunction": candidate.pf_address,
        "function": index,
        "representor": candidate.representor,
        "pKey": candidate.p_key if selector.p_keys else None,
    }
    if selector.is_rdma:
        values |= {"rdma": "true", "rdmaDevices": ",".join(candidate.rdma_devices)}
    if selector.vdpa_type:
        values |= {"vdpaDevice": candidate.vdpa_device, "vdpaDriver": candidate.vdpa_type}
        values["vdpaPath"] = candidate.vhost_path if candidate.vdpa_type == VHOST else None
    return {key: value for key, value in values.items() if value}
