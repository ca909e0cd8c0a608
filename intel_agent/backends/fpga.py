"""FPGAs: accelerators as they are programmed, or whole regions to be programmed.

Sources: Documentation/fpga/dfl.rst, Documentation/ABI/testing/sysfs-platform-dfl-port (`afu_id`), and those of
`intel_agent.dfl`, which finds the cards. None of this wakes the hardware.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from intel_agent import dfl, dflhealth, pci
from intel_agent.backends import Backend
from intel_agent.dfl import Card, Unit
from intel_agent.errors import SysfsError
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Fault, Hook, Reason, Signs
from intel_agent.sysfs import Host, unreadable

_ALL_ONES = "f" * 32
_HEXADECIMAL = re.compile(r"([0-9a-f]{2}){2,}")
_MODE_OF_THE_HOOK = {"com.intel.fpga.mode": "fpga.intel.com/region"}


class Fpga(Backend, frozen=True, kw_only=True):
    """FPGA cards: `fpga.intel.com/af-...` for each port's accelerator, or `fpga.intel.com/region-...` for each card."""

    name: ClassVar[str] = "fpga"
    subsystems: ClassVar[frozenset[str]] = frozenset({"fpga", "fpga_region", "pci", "platform"})

    mode: Annotated[
        Literal["af", "region", "regiondevel"],
        msgspec.Meta(
            description="What is offered: accelerators as they are programmed (af), cards that a hook programs before "
            "a container starts (region), or cards that the container programs itself (regiondevel)."
        ),
    ] = "af"
    hook: Annotated[
        str,
        msgspec.Meta(
            pattern="^/", description="The program on the host that programs cards in mode region. It must be there."
        ),
    ] = "/opt/intel/fpga-sw/intel-fpga-crihook"

    def recognised(self, identity: pci.Identity) -> pci.Hardware | None:
        return dfl.recognised(identity)

    def discover(self, host: Host) -> Iterator[Device | Exclusion | Signs]:
        for item in dfl.cards(host):
            if isinstance(item, Card):
                yield from self._card(host, item)
            else:
                yield item

    def _card(self, host: Host, card: Card) -> Iterator[Device | Exclusion | Signs]:
        engine = card.engine
        yield from (dflhealth.signs(host, unit) for unit in (engine, *card.ports))
        try:
            with host.reading(engine.directory):
                interface_id = dfl.interface_id(engine)
        except SysfsError as error:
            # Each port by its own path, so that those which are known stay known.
            yield from (unreadable(host.kernel_path(each.directory), error) for each in (engine, *card.ports))
            return
        if interface_id is None:
            evidence = f"{engine.name} has no {engine.layout.interface_id}"
            remedy = "a card that cannot be programmed in part has none; otherwise look at the kernel log"
            yield engine.excluded(host, "no-interface-id", evidence, remedy)
        elif self.mode == "af":
            ports = {port.directory: port for port in card.ports}
            above = (host.kernel_path(engine.directory),)
            yield from host.each(ports, lambda directory: [_accelerator(host, ports[directory], interface_id, above)])
        else:
            yield from host.each([engine.directory], lambda _: [self._region(host, card, interface_id)])

    def _region(self, host: Host, card: Card, interface_id: str) -> Device | Exclusion:
        nodes: list[DeviceNode] = []
        for unit in (*card.ports, card.engine) if self.mode == "regiondevel" else card.ports:
            if isinstance(node := _node(host, unit), Exclusion):
                return node  # a region is all of its ports
            nodes.append(node)
        edits = ContainerEdits(device_nodes=tuple(nodes))
        if self.mode == "region":
            edits += ContainerEdits(annotations=_MODE_OF_THE_HOOK, hooks=(Hook("createRuntime", self.hook),))
        ids = {"interfaceId": interface_id}
        parts = tuple(host.kernel_path(port.directory) for port in card.ports)
        return _device(host, card.engine, f"region-{interface_id}", edits, ids, depends_on=parts, parts=parts)


def accelerator(interface_id: str, afu_id: str) -> str:
    """Return how an accelerator is called: both ids are in the name, as it says what the accelerator can do.

    Raises:
        ValueError: an id is no even number of hexadecimal digits, four at least.
    """
    for each in (interface_id, afu_id):
        if not _HEXADECIMAL.fullmatch(each):
            raise ValueError(f"{each[:40]!r} is no id of hexadecimal digits")
    code = urlsafe_b64encode(bytes.fromhex(interface_id + afu_id)).rstrip(b"=").decode()
    return f"af-{interface_id[:3]}.{afu_id[:3]}.{code}"


def _accelerator(host: Host, port: Unit, interface_id: str, above: tuple[str, ...]) -> Device | Exclusion:
    if (afu_id := dfl.identity(port.directory, "afu_id")) is None:
        return port.excluded(host, "no-afu-id", f"{port.name} has no afu_id", "load the module dfl-afu")
    if isinstance(node := _node(host, port), Exclusion):
        return node
    ids = {"interfaceId": interface_id, "afuId": afu_id}
    edits = ContainerEdits(device_nodes=(node,))
    return _device(host, port, accelerator(interface_id, afu_id), edits, ids, depends_on=above)


def _node(host: Host, unit: Unit) -> DeviceNode | Exclusion:
    path = f"/dev/{unit.name}"
    number, expected = host.number(path), unit.directory.text("dev")
    if str(number) == expected:
        return host.node_named(path)
    found = "is not there" if number is None else f"has the number {number}"
    remedy = "check that the agent sees the whole /dev of the host"
    return unit.excluded(host, "no-node", f"{path} {found}; expected {expected[:40]!r}", remedy)


def _device(
    host: Host,
    unit: Unit,
    resource: str,
    edits: ContainerEdits,
    ids: Mapping[str, str],
    *,
    depends_on: tuple[str, ...],
    parts: tuple[str, ...] = (),
) -> Device:
    model = pci.identity(unit.physical, "device")
    known = {
        **ids,
        "pciAddress": unit.function.name,
        "deviceId": model,
        "model": dfl.MODELS.get(model),
        "driver": unit.function.link_name("driver"),
        "physicalFunction": unit.physical.name if unit.physical != unit.function else None,
        "ports": ",".join(part.rpartition("/")[2] for part in parts),
    }
    return Device(
        id=unit.name,
        resource=f"fpga.intel.com/{resource}",
        sysfs_path=host.kernel_path(unit.directory),
        edits=edits,
        cdi_name=unit.name,
        numa_nodes=pci.numa_nodes(unit.function),
        attributes={key: value for key, value in known.items() if value},
        faults=frozenset(_faults(ids)),
        parts=parts,
        depends_on=depends_on,
    )


def _faults(ids: Mapping[str, str]) -> Iterator[Fault]:
    if blank := [name for name, each in ids.items() if each == _ALL_ONES]:
        detail = f"{' and '.join(blank)}: all ones. Nothing is programmed, or the card does not answer"
        yield Fault(Reason.UNIDENTIFIED, "sysfs", detail)
