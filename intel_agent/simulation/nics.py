"""Network cards as tree text, and what netlink tells of them: the rest of `intel_agent.simulation.machines`.

Sources: Documentation/networking/device_drivers/ethernet/intel/ice.rst (virtual and scalable functions, RDMA), the
kernel's Documentation/networking/sriov.rst, Documentation/infiniband/user_verbs.rst and user_mad.rst.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intel_agent.links import Interface, Links, VirtualFunction
from intel_agent.simulation.machines import Function, at, character_device, link, netlink, vfio

NETWORK = "020000"
INFINIBAND = 231
"""Major number of RDMA's nodes (Documentation/admin-guide/devices.txt)."""


def network_interface(directory: str, name: str, index: int) -> Iterator[str]:
    """Yield an interface of the device whose directory is `directory`."""
    own = f"{directory}/net/{name}"
    yield f"{own}/ifindex = {index}"
    yield f"{own}/type = 1"
    yield f"{own}/operstate = up"
    yield f"{own}/carrier = 1"
    yield link(f"{own}/device", directory)
    yield link(f"{own}/subsystem", "/sys/class/net")
    yield link(f"/sys/class/net/{name}", own)


def rdma(directory: str, name: str, number: int) -> Iterator[str]:
    """Yield an RDMA device and its nodes, which have the number `number`."""
    yield f"{directory}/infiniband/{name}/node_type = 1: CA"
    yield link(f"/sys/class/infiniband/{name}", f"{directory}/infiniband/{name}")
    for kind, node, first in (("mad", "umad", 0), ("mad", "issm", 64), ("verbs", "uverbs", 192)):
        own = f"{directory}/infiniband_{kind}/{node}{number}"
        yield f"{own}/ibdev = {name}"
        yield from character_device(
            own,
            node=f"infiniband/{node}{number}",
            number=f"{INFINIBAND}:{first + number}",
            subsystem=f"class/infiniband_{kind}",
        )


def rdma_connections() -> Iterator[str]:
    """Yield the node of RDMA's connection manager, which all its users open."""
    yield from character_device(
        "/sys/devices/virtual/misc/rdma_cm", node="infiniband/rdma_cm", number="10:122", subsystem="class/misc"
    )


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual function. With `iavf` it has an interface, with `vfio-pci` the nodes of VFIO."""

    driver: str | None = "iavf"
    rdma: int | None = None
    """The number of its RDMA device and of that one's nodes."""


@dataclass(frozen=True, slots=True)
class Port:
    """A physical function of an E810, driven by `ice`.

    Its virtual functions count from `first` on, on the same bus; they have the IOMMU groups and the interface numbers
    that follow its own.
    """

    directory: str
    interface: str
    index: int
    group: int
    numa: int = 0
    virtual: Sequence[Virtual] = ()
    first: int = 8
    scalable: Sequence[int] = ()
    """The numbers with which scalable functions were made."""

    @property
    def address(self) -> str:
        return posixpath.basename(self.directory)

    def virtual_directory(self, number: int) -> str:
        place = self.first + number
        bus = self.address.rpartition(":")[0]
        return f"{posixpath.dirname(self.directory)}/{bus}:{place // 8:02x}.{place % 8}"

    def interface_of(self, number: int) -> str:
        return f"{self.interface}v{number}"

    def lines(self) -> Iterator[str]:
        directories = [self.virtual_directory(number) for number in range(len(self.virtual))]
        yield f"# {self.address}: E810, {self.interface}, {len(directories)} virtual functions"
        yield from Function(
            self.directory, "8086:1592", "ice", NETWORK, self.numa, self.group, 128, directories
        ).lines()
        yield from network_interface(self.directory, self.interface, self.index)
        for number, function in enumerate(self.virtual):
            yield from self._virtual(number, function)
        for number in self.scalable:
            directory = f"{self.directory}/ice.sf.{number}"
            yield f"{directory}/sfnum = {number}"
            yield link(f"{directory}/subsystem", "/sys/bus/auxiliary")
            yield link(f"/sys/bus/auxiliary/devices/ice.sf.{number}", directory)
            yield from network_interface(directory, f"{self.interface}s{number}", self.index + 900 + number)

    def _virtual(self, number: int, function: Virtual) -> Iterator[str]:
        directory = self.virtual_directory(number)
        group = self.group + 1 + number
        own = Function(directory, "8086:1889", function.driver, NETWORK, self.numa, group, physical=self.directory)
        yield from own.lines()
        if function.driver == "iavf":
            yield from network_interface(directory, self.interface_of(number), self.index + 1 + number)
        if function.driver == "vfio-pci":
            yield from own.user_space(group)
        if function.rdma is not None:
            yield from rdma(directory, f"irdma{function.rdma}", function.rdma)

    @property
    def interfaces(self) -> Iterator[Interface]:
        """What rtnetlink tells of the interfaces in `lines`."""
        states = tuple(VirtualFunction(number, "auto") for number in range(len(self.virtual)))
        yield _interface(self.index, self.interface, f"pci/{self.address}", states)
        for number, function in enumerate(self.virtual):
            if function.driver == "iavf":
                address = posixpath.basename(self.virtual_directory(number))
                yield _interface(self.index + 1 + number, self.interface_of(number), f"pci/{address}")
        for number in self.scalable:
            device = f"auxiliary/ice.sf.{number}"
            yield _interface(self.index + 900 + number, f"{self.interface}s{number}", device)


def _interface(index: int, name: str, device: str, virtual: tuple[VirtualFunction, ...] = ()) -> Interface:
    return Interface(
        index, name, "ether", up=True, operstate="up", carrier=True, device=device, virtual_functions=virtual
    )


OWN = _interface(2, "eno1", "pci/0000:02:00.0")
"""The interface that the machine `nic_host` itself lives on."""


def links(ports: Sequence[Port], uplink: str, *others: Interface) -> Links:
    """Return what netlink tells of a machine with these ports; the node itself lives on the interface `uplink`."""
    interfaces = (*others, *(each for port in ports for each in port.interfaces))
    return Links(interfaces, frozenset(each.index for each in interfaces if each.name == uplink))


_RDMA, _KERNEL_DRIVER, _USER_SPACE = range(4), Virtual(), Virtual("vfio-pci")
PORTS = tuple(
    Port(
        at(f"0000:18:00.{port}", "0000:17:00.0"),
        f"ens1f{port}",
        index=10 + 100 * port,
        group=100 + 100 * port,
        virtual=[
            *(Virtual(rdma=len(_RDMA) * port + number) for number in _RDMA),
            *[_KERNEL_DRIVER] * 28,
            *[_USER_SPACE] * 32,
        ],
        first=8 + 128 * port,
        scalable=(1,) if port else (),
    )
    for port in range(2)
)
"""The two ports of the E810 in `nic_host`: half of their functions are the kernel's, half are free for user space."""


FEW = Port(
    at("0000:18:00.0", "0000:17:00.0"),
    "ens1f0",
    index=10,
    group=100,
    virtual=[Virtual(rdma=0), Virtual(), Virtual("vfio-pci"), Virtual("vfio-pci")],
)
"""The port of an E810 with two functions for the kernel, one of them with RDMA, and two for user space."""


def nic_host() -> Iterator[str]:
    """Yield a host of network functions: an E810 with 128 of them, and the card that the node itself lives on."""
    yield from _own()
    yield from netlink(links(PORTS, OWN.name, OWN))
    for port in PORTS:
        yield from port.lines()
    yield from vfio()
    yield from _shared_nodes()


def small() -> Iterator[str]:
    """Yield an E810 with four functions and the card that the node itself lives on, but not the nodes of VFIO."""
    yield from _own()
    yield from netlink(links([FEW], OWN.name, OWN))
    yield from FEW.lines()
    yield from _shared_nodes()


def _own() -> Iterator[str]:
    own = at("0000:02:00.0", "0000:01:00.0")
    yield "# 0000:02:00.0: I350, eno1, what the node lives on"
    yield from Function(own, "8086:1521", "igb", NETWORK, group=10, total_virtual=7).lines()
    yield from network_interface(own, OWN.name, OWN.index)


def _shared_nodes() -> Iterator[str]:
    """Yield the nodes that users of network functions open beside those of a function: RDMA's and a guest's network."""
    yield from rdma_connections()
    yield from character_device(
        "/sys/devices/virtual/misc/vhost-net", node="vhost-net", number="10:238", subsystem="class/misc"
    )
    yield from character_device(
        "/sys/devices/virtual/misc/tun", node="net/tun", number="10:200", subsystem="class/misc"
    )
