"""FPGA cards as tree text, of the shape that the kernel's driver (DFL) or OPAE's gives them.

Sources: Documentation/fpga/dfl.rst, Documentation/ABI/testing/{sysfs-platform-dfl-fme,sysfs-platform-dfl-port,
sysfs-class-fpga-region}, drivers/fpga/dfl-fme-pr.c (a bridge and a region for each port, below the engine).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from intel_agent.simulation.machines import Function, character_device, link

_MAJORS = {"dfl-fme": 236, "dfl-port": 235, "intel-fpga-fme": 243, "intel-fpga-port": 243}
_ENGINE = {
    "bitstream_id": "0x23000410010309",
    "bitstream_metadata": "0x121808040000000",
    "cache_size": "0",
    "fabric_version": "0",
    "socket_id": "0",
    "errors/fme_errors": "0x0",
    "errors/pcie0_errors": "0x0",
    "errors/pcie1_errors": "0x0",
    "errors/nonfatal_errors": "0x0",
    "errors/catfatal_errors": "0x0",
    "errors/first_error": "0x0",
    "errors/next_error": "0x0",
    "errors/inject_errors": "0x0",
}
_PORT = {
    "power_state": "0x0",
    "ap1_event": "0",
    "ap2_event": "0",
    "ltr": "0",
    "errors/errors": "0x0",
    "errors/first_error": "0x0",
    "errors/first_malformed_req": "0x00000000000000000000000000000000",
}


@dataclass(frozen=True, slots=True)
class Port:
    """A port: its number on the node, its id on the card, and what is programmed there."""

    number: int
    port_id: int
    afu_id: str


@dataclass(frozen=True, slots=True)
class Fpga:
    """A card. `region` is the first number of its regions on the node.

    `ports` are at its physical function, one port each at every virtual one, given by its directory and the port.
    """

    directory: str
    engine: int
    region: int
    interface_id: str
    ports: Sequence[Port]
    virtual: Sequence[tuple[str, Port]] = ()
    identity: str = "8086:09c4"
    virtual_identity: str = "8086:09c5"
    numa: int = 0
    group: int = 60
    driver: Literal["dfl", "opae"] = "dfl"

    @property
    def _names(self) -> tuple[str, str, str]:
        """PCI driver, class of devices with the device's name before its number, and what units begin with."""
        if self.driver == "dfl":
            return "dfl-pci", "fpga_region/region", "dfl"
        return "intel-fpga-pci", "fpga/intel-fpga-dev.", "intel-fpga"

    def lines(self) -> Iterator[str]:
        pci_driver = self._names[0]
        functions = [directory for directory, _ in self.virtual]
        yield f"# FPGA {self.identity} on {pci_driver}, engine {self.engine}"
        yield from Function(
            self.directory, self.identity, pci_driver, "120000", self.numa, self.group, len(functions) or 1, functions
        ).lines()
        yield from self._device(self.directory, self.region)
        device = self._at(self.directory, self.region)
        yield from self._engine(device)
        for port in self.ports:
            yield from self._port(device, port)
        after = self.region + 1 + self._regions
        for place, (directory, port) in enumerate(self.virtual):
            yield from Function(
                directory,
                self.virtual_identity,
                pci_driver,
                "120000",
                self.numa,
                self.group + 1 + place,
                physical=self.directory,
            ).lines()
            yield from self._device(directory, after + place)
            yield from self._port(self._at(directory, after + place), port)

    @property
    def _regions(self) -> int:
        """How many regions the engine has: one for each port, wherever that is."""
        return len(self.ports) + len(self.virtual) if self.driver == "dfl" else 0

    def _at(self, function: str, number: int) -> str:
        """Return the directory of the device that has units."""
        return f"{function}/{self._names[1]}{number}"

    def _device(self, function: str, number: int) -> Iterator[str]:
        path = f"{self._names[1]}{number}"
        yield link(f"/sys/class/{path}", f"{function}/{path}")
        yield link(f"{function}/{path}/subsystem", f"/sys/class/{path.partition('/')[0]}")
        yield link(f"{function}/{path}/device", function)

    def _engine(self, device: str) -> Iterator[str]:
        yield from self._unit(device, "fme", self.engine)
        directory = f"{device}/{self._names[2]}-fme.{self.engine}"
        yield f"{directory}/ports_num = {len(self.ports) + len(self.virtual)}"
        for name, value in _ENGINE.items():
            yield f"{directory}/{name} = {value}"
        if self.driver == "opae":
            yield f"{directory}/pr/interface_id = {self.interface_id}"
        for number in range(self.region + 1, self.region + 1 + self._regions):
            yield f"{directory}/dfl-fme-br.{number}/fpga_bridge/br{number}/state = enabled"
            region = f"{directory}/dfl-fme-region.{number}/fpga_region/region{number}"
            yield f"{region}/compat_id = {self.interface_id}"
            yield link(f"/sys/class/fpga_region/region{number}", region)

    def _port(self, device: str, port: Port) -> Iterator[str]:
        yield from self._unit(device, "port", port.number)
        directory = f"{device}/{self._names[2]}-port.{port.number}"
        yield f"{directory}/id = {port.port_id}"
        yield f"{directory}/afu_id = {port.afu_id}"
        for name, value in _PORT.items():
            yield f"{directory}/{name} = {value}"

    def _unit(self, device: str, kind: str, number: int) -> Iterator[str]:
        """Yield the platform device of a port or an engine, and its node."""
        name = f"{self._names[2]}-{kind}"
        directory = f"{device}/{name}.{number}"
        minor = number if kind == "port" or self.driver == "dfl" else 128 + number
        yield from character_device(
            directory, node=f"{name}.{number}", number=f"{_MAJORS[name]}:{minor}", subsystem="bus/platform/devices"
        )
        yield link(f"{directory}/driver", f"/sys/bus/platform/drivers/{name}")
        yield link(f"/sys/bus/platform/drivers/{name}/{name}.{number}", directory)
