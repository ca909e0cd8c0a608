"""Devices as tree text, of the shape that real drivers give them: what the packaged machines are made of.

Sources: Documentation/ABI/testing/sysfs-bus-pci, Documentation/ABI/stable/sysfs-driver-dma-idxd,
Documentation/gpu/drm-uapi.rst, Documentation/arch/x86/sgx.rst, and the listings of machines that have them.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intel_agent import linkfiles
from intel_agent.links import Links

CPUS = {0: "0-31,64-95", 1: "32-63,96-127", -1: "0-15"}
"""CPUs of a NUMA node; of a machine without NUMA for -1."""

DRM = 226
"""Major number of DRM devices (Documentation/admin-guide/devices.txt)."""


VFIO_GROUPS, VFIO_CDEVS = 240, 239
"""Major numbers that the kernel gave to VFIO; it takes free ones."""


def link(path: str, to: str) -> str:
    """Return the entry of a link at `path` to `to`, relative as the kernel makes it."""
    return f"{path} -> {posixpath.relpath(to, posixpath.dirname(path))}"


def at(address: str, port: str | None = None) -> str:
    """Return the directory of a PCI function, directly below the host bridge or below a root port."""
    above = port or address
    return f"/sys/devices/pci{above.rpartition(':')[0]}/{f'{port}/' if port else ''}{address}"


@dataclass(frozen=True, slots=True)
class Function:
    """A PCI function.

    `identity` is vendor:device, `group` its IOMMU group, `numa` -1 where the kernel knows no node.
    `virtual` are the directories of the functions that it has as a physical one (of at most `total_virtual`),
    `physical` is that of its own one when it is virtual.
    """

    directory: str
    identity: str
    driver: str | None
    pci_class: str
    numa: int = 0
    group: int | None = None
    total_virtual: int | None = None
    virtual: Sequence[str] = ()
    physical: str | None = None

    @property
    def address(self) -> str:
        return posixpath.basename(self.directory)

    def lines(self) -> Iterator[str]:
        directory, address = self.directory, self.address
        vendor, device = self.identity.split(":")
        driver = f"DRIVER={self.driver}\\n" if self.driver else ""
        yield f"{directory}/vendor = 0x{vendor}"
        yield f"{directory}/device = 0x{device}"
        yield f"{directory}/class = 0x{self.pci_class}"
        yield f"{directory}/revision = 0x08"
        yield f"{directory}/subsystem_vendor = 0x{vendor}"
        yield f"{directory}/subsystem_device = 0x0000"
        yield f"{directory}/numa_node = {self.numa}"
        yield f"{directory}/local_cpulist = {CPUS[self.numa]}"
        yield f"{directory}/enable = {0 if self.driver is None else 1}"
        yield f"{directory}/power/runtime_status = active"
        yield f"{directory}/uevent = {driver}PCI_ID={self.identity.upper()}\\nPCI_SLOT_NAME={address}"
        yield link(f"{directory}/subsystem", "/sys/bus/pci")
        yield link(f"/sys/bus/pci/devices/{address}", directory)
        if self.driver is not None:
            yield link(f"{directory}/driver", f"/sys/bus/pci/drivers/{self.driver}")
            yield link(f"/sys/bus/pci/drivers/{self.driver}/{address}", directory)
        if self.group is not None:
            yield link(f"{directory}/iommu_group", f"/sys/kernel/iommu_groups/{self.group}")
            yield link(f"/sys/kernel/iommu_groups/{self.group}/devices/{address}", directory)
        if self.total_virtual is not None:
            yield f"{directory}/sriov_totalvfs = {self.total_virtual}"
            yield f"{directory}/sriov_numvfs = {len(self.virtual)}"
        for number, function in enumerate(self.virtual):
            yield link(f"{directory}/virtfn{number}", function)
        if self.physical is not None:
            yield link(f"{directory}/physfn", self.physical)

    def user_space(self, cdev: int) -> Iterator[str]:
        """Yield what vfio-pci makes of the function: the node of its group, and its own one, number `cdev`."""
        group = f"/sys/devices/virtual/vfio/{self.group}"
        yield from character_device(
            group, node=f"vfio/{self.group}", number=f"{VFIO_GROUPS}:{self.group}", subsystem="class/vfio"
        )
        own = f"{self.directory}/vfio-dev/vfio{cdev}"
        yield link(f"{own}/device", self.directory)
        yield from character_device(
            own, node=f"vfio/devices/vfio{cdev}", number=f"{VFIO_CDEVS}:{cdev}", subsystem="class/vfio-dev"
        )


def netlink(links: Links) -> Iterator[str]:
    """Yield what netlink tells of the machine's links."""
    yield "# Netlink"
    for path, text in linkfiles.files(links):
        yield f"{path} = {text.replace(chr(92), chr(92) * 2)}"  # a backslash of a tree's text is written twice


def vfio() -> Iterator[str]:
    """Yield the two nodes that all users of VFIO open first."""
    yield "# VFIO and iommufd"
    for name, node, minor in (("vfio", "vfio/vfio", 196), ("iommu", "iommu", 124)):
        yield from character_device(
            f"/sys/devices/virtual/misc/{name}", node=node, number=f"10:{minor}", subsystem="class/misc"
        )


def character_device(
    directory: str, *, node: str, number: str, subsystem: str, name: str | None = None
) -> Iterator[str]:
    """Yield what the kernel and udev make for a character device `/dev/<node>` whose directory is `directory`.

    `subsystem` is where it is linked (`class/drm`, `bus/dsa/devices`), `name` under which name, if not its own.
    """
    major, minor = number.split(":")
    yield f"{directory}/dev = {number}"
    yield f"{directory}/uevent = MAJOR={major}\\nMINOR={minor}\\nDEVNAME={node}"
    yield link(f"{directory}/subsystem", f"/sys/{subsystem.removesuffix('/devices')}")
    yield link(f"/sys/{subsystem}/{name or posixpath.basename(directory)}", directory)
    yield link(f"/sys/dev/char/{number}", directory)
    yield f"/dev/{node} c {number}"
    yield link(f"/dev/char/{number}", f"/dev/{node}")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics card. `mei` is the number of its management engine's node, if it has one.

    `memory` is its own, in GiB, where the driver has a file that tells it; such a card has sensors, too.
    `virtual` are the functions that it has as a physical one, `physical` is its own one when it is virtual.
    """

    card: int
    directory: str
    driver: str = "xe"
    identity: str = "8086:56c0"
    numa: int = 0
    group: int | None = None
    mei: int | None = None
    connector: str | None = None
    memory: int | None = None
    total_virtual: int | None = None
    virtual: Sequence[str] = ()
    physical: str | None = None
    render: bool = True

    def lines(self) -> Iterator[str]:
        function = Function(
            self.directory,
            self.identity,
            self.driver,
            "030000" if self.connector else "038000",
            self.numa,
            self.group,
            self.total_virtual,
            self.virtual,
            self.physical,
        )
        yield f"# {function.address}: {self.identity} on {self.driver}, card{self.card}"
        yield from function.lines()
        yield from self._node(f"card{self.card}", self.card, "card")
        if self.render:
            yield from self._node(f"renderD{128 + self.card}", 128 + self.card, "render")
        if self.connector is not None:
            name = f"card{self.card}-{self.connector}"
            yield f"{self.directory}/drm/card{self.card}/{name}/status = disconnected"
            yield link(f"/sys/class/drm/{name}", f"{self.directory}/drm/card{self.card}/{name}")
        if self.mei is not None:
            yield from self._management_engine(self.mei)
        if self.memory is not None:
            yield from self._memory(self.memory << 30)

    def _memory(self, size: int) -> Iterator[str]:
        if self.driver == "xe":
            yield f"{self.directory}/tile0/physical_vram_size_bytes = {size}"
            yield f"{self.directory}/tile0/gt0/gtidle/name = gt0-rc"
        else:
            yield f"{self.directory}/drm/card{self.card}/lmem_total_bytes = {size}"
            yield f"{self.directory}/drm/card{self.card}/gt/gt0/id = 0"
        yield f"{self.directory}/hwmon/hwmon{self.card}/name = {self.driver}"
        yield link(f"/sys/class/hwmon/hwmon{self.card}", f"{self.directory}/hwmon/hwmon{self.card}")

    def _node(self, name: str, minor: int, kind: str) -> Iterator[str]:
        directory = f"{self.directory}/drm/{name}"
        yield link(f"{directory}/device", self.directory)
        yield from character_device(directory, node=f"dri/{name}", number=f"{DRM}:{minor}", subsystem="class/drm")
        yield link(f"/dev/dri/by-path/pci-{posixpath.basename(self.directory)}-{kind}", f"/dev/dri/{name}")

    def _management_engine(self, number: int) -> Iterator[str]:
        domain, bus, place = posixpath.basename(self.directory).split(":")
        slot, part = place.split(".")
        # The auxiliary bus numbers its devices by the parent's domain, bus, slot and function.
        identifier = int(domain, 16) << 16 | int(bus, 16) << 8 | int(slot, 16) << 3 | int(part)
        auxiliary = f"{self.driver}.mei-gscfi.{identifier}"
        directory = f"{self.directory}/{auxiliary}"
        yield link(f"{directory}/subsystem", "/sys/bus/auxiliary")
        yield link(f"/sys/bus/auxiliary/devices/{auxiliary}", directory)
        mei = f"{directory}/mei/mei{number}"
        yield link(f"{mei}/device", directory)
        yield from character_device(mei, node=f"mei{number}", number=f"241:{number}", subsystem="class/mei")


def sgx(*, enclave: bool = True, provision: bool = True) -> Iterator[str]:
    """Yield SGX's two miscellaneous devices."""
    yield "# SGX with flexible launch control"
    for name, minor, present in (("sgx_enclave", 125, enclave), ("sgx_provision", 126, provision)):
        if present:
            directory = f"/sys/devices/virtual/misc/{name}"
            yield from character_device(directory, node=name, number=f"10:{minor}", subsystem="class/misc")


@dataclass(frozen=True, slots=True)
class Queue:
    """A work queue of DSA or IAA. Only an enabled one of type `user` has a device node."""

    mode: str = "dedicated"
    kind: str = "user"
    state: str = "enabled"
    size: int = 16

    @property
    def has_node(self) -> bool:
        return self.kind == "user" and self.state == "enabled"

    @property
    def driver(self) -> str | None:
        return {"user": "user", "kernel": "dmaengine"}.get(self.kind) if self.state == "enabled" else None


SHARED, DEDICATED = Queue(mode="shared"), Queue()


@dataclass(frozen=True, slots=True)
class Idxd:
    """A data streaming (`dsa`) or analytics (`iax`) accelerator. Numbers count over both kinds, as in the driver.

    `first_minor` is the minor number of its first queue with a node.
    """

    kind: str
    number: int
    directory: str
    queues: Sequence[Queue]
    first_minor: int = 0
    numa: int = 0
    group: int | None = None
    state: str = "enabled"

    @property
    def name(self) -> str:
        return f"{self.kind}{self.number}"

    def lines(self) -> Iterator[str]:
        identity = {"dsa": "8086:0b25", "iax": "8086:0cfe"}[self.kind]
        function = Function(self.directory, identity, "idxd", "088000", self.numa, self.group)
        yield f"# {function.address}: {self.name}"
        yield from function.lines()
        directory = f"{self.directory}/{self.name}"
        for name, value in self._attributes():
            yield f"{directory}/{name} = {value}"
        yield from self._on_bus(directory, "idxd" if self.state == "enabled" else None)
        yield f"{directory}/engine{self.number}.0/group_id = 0"
        yield from self._on_bus(f"{directory}/engine{self.number}.0", None)
        yield f"{directory}/group{self.number}.0/engines = engine{self.number}.0"
        yield from self._on_bus(f"{directory}/group{self.number}.0", None)
        minor = self.first_minor
        for place, queue in enumerate(self.queues):
            yield from self._queue(f"{directory}/wq{self.number}.{place}", queue, minor)
            minor += queue.has_node

    def _attributes(self) -> Iterator[tuple[str, str]]:
        yield "state", self.state
        yield "numa_node", str(self.numa)
        yield "cdev_major", str(self._major)
        yield "max_work_queues", "8"
        yield "max_work_queues_size", "128"
        yield "max_engines", "4"
        yield "max_groups", "4"
        yield "pasid_enabled", "1"
        yield "configurable", "1"
        yield "clients", "0"
        yield "errors", "0x0\\n0x0\\n0x0\\n0x0"
        yield "version", "0x100"

    @property
    def _major(self) -> int:
        return {"dsa": 238, "iax": 237}[self.kind]

    def _queue(self, directory: str, queue: Queue, minor: int) -> Iterator[str]:
        name = posixpath.basename(directory)
        values = {
            "state": queue.state,
            "mode": queue.mode,
            "type": queue.kind,
            "name": "app" if queue.kind == "user" else queue.driver or "",
            "driver_name": queue.driver or "",
            "size": queue.size,
            "priority": 10,
            "group_id": 0,
            "block_on_fault": 0,
            "threshold": queue.size if queue.mode == "shared" else 0,
            "clients": 0,
            "max_transfer_size": 2 << 20,
        }
        for attribute, value in values.items():
            yield f"{directory}/{attribute} = {value}"
        yield from self._on_bus(directory, queue.driver)
        if queue.has_node:
            yield f"{directory}/cdev_minor = {minor}"
            yield from character_device(
                f"{directory}/{self.kind}!{name}",
                node=f"{self.kind}/{name}",
                number=f"{self._major}:{minor}",
                subsystem="bus/dsa/devices",
            )

    def _on_bus(self, directory: str, driver: str | None) -> Iterator[str]:
        name = posixpath.basename(directory)
        yield link(f"{directory}/subsystem", "/sys/bus/dsa")
        yield link(f"/sys/bus/dsa/devices/{name}", directory)
        if driver is not None:
            yield link(f"{directory}/driver", f"/sys/bus/dsa/drivers/{driver}")
            yield link(f"/sys/bus/dsa/drivers/{driver}/{name}", directory)
