"""NPUs, Gaudi cards and load balancers as tree text, of the shape that real drivers give them.

Sources: Documentation/accel/introduction.rst, Documentation/ABI/testing/sysfs-bus-pci, drivers/accel/ivpu/ivpu_sysfs.c,
Documentation/ABI/testing/sysfs-driver-habanalabs, the files of the driver dlb2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intel_agent.simulation.machines import Function, character_device, link

ACCEL = 261
"""Major number of compute accelerators (Documentation/admin-guide/devices.txt)."""

VERBS = 231
"""Major number of InfiniBand verbs devices; their minor numbers begin at 192."""

DLB2 = 234
"""Major number that the kernel gave to dlb2; it takes a free one."""


@dataclass(frozen=True, slots=True)
class Npu:
    """A neural processing unit."""

    number: int
    directory: str
    identity: str = "8086:7d1d"
    numa: int = -1
    group: int | None = None

    def lines(self) -> Iterator[str]:
        function = Function(self.directory, self.identity, "intel_vpu", "120000", self.numa, self.group)
        yield f"# {function.address}: {self.identity} on intel_vpu, accel{self.number}"
        yield from function.lines()
        yield f"{self.directory}/npu_busy_time_us = 0"
        yield f"{self.directory}/sched_mode = HW"
        yield from accel(self.directory, self.number)


def accel(directory: str, number: int) -> Iterator[str]:
    """Yield what the kernel's accel subsystem makes for a PCI function."""
    own = f"{directory}/accel/accel{number}"
    yield link(f"{own}/device", directory)
    yield from character_device(own, node=f"accel/accel{number}", number=f"{ACCEL}:{number}", subsystem="class/accel")


@dataclass(frozen=True, slots=True)
class Gaudi:
    """A Gaudi card on a driver with the class `accel`. `module` is its place on the board, `verbs` its RDMA device."""

    number: int
    directory: str
    identity: str = "1da3:1020"
    kind: str = "GAUDI2"
    module: int | None = None
    verbs: int | None = None
    numa: int = 0
    group: int | None = None

    def lines(self) -> Iterator[str]:
        function = Function(self.directory, self.identity, "habanalabs", "120000", self.numa, self.group)
        yield f"# {function.address}: {self.identity} on habanalabs, accel{self.number}"
        yield from function.lines()
        told = {
            "device_type": self.kind,
            "pci_addr": function.address,
            "status": "Operational",
            "hard_reset_cnt": 0,
            "security_enabled": 1,
        }
        for name, value in told.items() if self.module is None else {**told, "module_id": self.module}.items():
            yield f"{self.directory}/{name} = {value}"
        yield from accel(self.directory, self.number)
        control = f"{self.directory}/accel/accel_controlD{self.number}"
        yield link(f"{control}/device", self.directory)
        yield from character_device(
            control,
            node=f"accel/accel_controlD{self.number}",
            number=f"{ACCEL}:{128 + self.number}",
            subsystem="class/accel",
        )
        if self.verbs is not None:
            verbs = f"{self.directory}/infiniband_verbs/uverbs{self.verbs}"
            yield f"{verbs}/ibdev = hbl_{self.verbs}"
            yield link(f"{verbs}/device", self.directory)
            yield from character_device(
                verbs,
                node=f"infiniband/uverbs{self.verbs}",
                number=f"{VERBS}:{192 + self.verbs}",
                subsystem="class/infiniband_verbs",
            )


@dataclass(frozen=True, slots=True)
class Dlb:
    """A Dynamic Load Balancer: a physical function that may have virtual ones, or a virtual one of `physical`."""

    number: int
    directory: str
    numa: int = 0
    group: int | None = None
    virtual: Sequence[str] = ()
    physical: str | None = None

    def lines(self) -> Iterator[str]:
        identity, total = ("8086:2711", None) if self.physical else ("8086:2710", 16)
        function = Function(
            self.directory, identity, "dlb2", "0b4000", self.numa, self.group, total, self.virtual, self.physical
        )
        yield f"# {function.address}: {identity} on dlb2, dlb{self.number}"
        yield from function.lines()
        yield f"{self.directory}/total_resources/num_sched_domains = 32"
        own = f"{self.directory}/dlb2/dlb{self.number}"
        yield link(f"{own}/device", self.directory)
        yield from character_device(
            own, node=f"dlb{self.number}", number=f"{DLB2}:{self.number}", subsystem="class/dlb2"
        )
