"""The packaged machines. `python -m intel_agent.simulation.fleet` writes nodes/*.tree from them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from intel_agent.simulation import nics
from intel_agent.simulation.accelerators import Dlb, Gaudi, Npu
from intel_agent.simulation.fpgas import Fpga, Port
from intel_agent.simulation.machines import DEDICATED, SHARED, Function, Gpu, Idxd, Queue, at, sgx, vfio
from intel_agent.simulation.qats import Qat
from intel_agent.simulation.tree import NODES, parse

HEAD = "# Written by `python -m intel_agent.simulation.fleet`; see docs/simulation.md.\n"

_KERNEL = Queue(kind="kernel")
_DISABLED = Queue(mode="shared", kind="none", state="disabled", size=0)

_INTERFACE = "69528db6eb31577a8c3668f9faa081f6"
"""What the FPGA cards with ports at their physical function are programmed for, and two accelerators for it."""
_LOOPBACK, _LOOPBACK_3 = "d8424dc4a4a3c413f89e433683f9040b", "f7df405cbd7acf7222f144b0b93acd18"


def _slot(bus: str, place: str = "00.0") -> str:
    """Return the directory of a function in a slot; its root port is on the bus before."""
    return at(f"0000:{bus}:{place}", f"0000:{int(bus, 16) - 1:02x}:00.0")


def bench() -> Iterator[str]:
    """Yield the machine of the benchmarks: 8 graphics cards, SGX, 16 queues each of DSA and IAA, on two sockets."""
    buses = ("18", "2b", "3b", "4d", "98", "ab", "bb", "cd")
    for card, bus in enumerate(buses):
        yield from Gpu(card, _slot(bus), numa=card // 4, group=20 + card, total_virtual=31).lines()
    yield from sgx()
    for number, (bus, numa) in enumerate((("6a", 0), ("e7", 1))):
        yield from _accelerators(bus, 2 * number, numa, [*[SHARED] * 4, *[DEDICATED] * 4], first_minor=8 * number)


def xeon() -> Iterator[str]:
    """Yield a two-socket server with SGX, DSA, IAA, QAT and DLB: queues of every sort, functions of both."""
    yield from sgx()
    dsa = [SHARED, DEDICATED, _KERNEL, _DISABLED]
    yield from Idxd("dsa", 0, at("0000:6a:01.0"), dsa, group=30).lines()
    yield from Idxd("iax", 1, at("0000:6a:02.0"), [SHARED, DEDICATED, _DISABLED], group=31).lines()
    yield from Idxd("dsa", 2, at("0000:e7:01.0"), [DEDICATED, DEDICATED], numa=1, group=32, first_minor=2).lines()
    yield from Idxd("iax", 3, at("0000:e7:02.0"), [_DISABLED], numa=1, group=33, state="disabled").lines()
    yield from vfio()
    yield from Qat(at("0000:6b:00.0"), services="sym;asym", virtual=4, group=50).lines()
    yield from Qat(at("0000:e8:00.0"), services="dc", virtual=4, numa=1, group=60, first_cdev=4).lines()
    yield from Dlb(0, at("0000:6d:00.0"), group=70).lines()
    yield from _balancers(1, "ea", numa=1, group=71)


def gpu_server() -> Iterator[str]:
    """Yield Flex, Max and B-series cards, virtual functions for containers and for machines, and a simple display."""
    yield from _display()
    yield from Gpu(1, _slot("3b"), "i915", group=20, mei=1, memory=14, total_virtual=31).lines()
    yield from Gpu(2, _slot("4d"), "i915", "8086:56c1", group=21, mei=2, memory=6, total_virtual=31).lines()
    yield from Gpu(3, _slot("98"), identity="8086:e211", numa=1, group=22, mei=3, memory=24, connector="DP-1").lines()
    yield from Gpu(7, _slot("5d"), "i915", "8086:0bda", group=26, mei=7).lines()
    yield from Gpu(8, _slot("cd"), identity="8086:e20b", numa=1, group=27, mei=8, memory=12, connector="DP-2").lines()
    yield from _divided_among_containers()
    yield from _divided_among_machines()


def _divided_among_containers() -> Iterator[str]:
    physical, first, second = _slot("bb"), _slot("bb", "00.1"), _slot("bb", "00.2")
    yield from Gpu(
        4, physical, identity="8086:e212", numa=1, group=23, total_virtual=24, virtual=(first, second)
    ).lines()
    for card, function in ((5, first), (6, second)):
        yield from Gpu(card, function, identity="8086:e212", numa=1, group=19 + card, physical=physical).lines()


def _divided_among_machines() -> Iterator[str]:
    physical = _slot("ab")
    functions = [_slot("ab", f"00.{number}") for number in (1, 2, 3)]
    yield from Gpu(
        9, physical, identity="8086:e223", numa=1, group=60, memory=32, total_virtual=24, virtual=functions
    ).lines()
    yield from vfio()
    for number, (function, driver) in enumerate(zip(functions, ("vfio-pci", "vfio-pci", "xe-vfio-pci"), strict=True)):
        virtual = Function(function, "8086:e223", driver, "038000", 1, 61 + number, physical=physical)
        yield f"# {virtual.address}: for virtual machines"
        yield from virtual.lines()
        yield from virtual.user_space(number)


def laptop() -> Iterator[str]:
    """Yield a machine without NUMA whose processor has the graphics and a neural processing unit inside."""
    yield from Gpu(0, at("0000:00:02.0"), "i915", "8086:7d55", -1, group=0, connector="eDP-1", total_virtual=7).lines()
    yield from Npu(0, at("0000:00:0b.0"), group=7).lines()


def qat() -> Iterator[str]:
    """Yield two sockets with 8 virtual functions of QAT each, below a root port and without, and an old QAT card."""
    yield from vfio()
    yield from Qat(_slot("6b"), services="sym;asym", virtual=8, group=50).lines()
    yield from Qat(at("0000:e8:00.0"), services="dc", virtual=8, numa=1, group=60, first_cdev=8).lines()
    yield from Qat(_slot("b1"), "8086:37c8", "8086:37c9", "c6xx", numa=1, group=70).lines()


def gaudi() -> Iterator[str]:
    """Yield a server with 8 Gaudi2 cards on two sockets; their numbers and their places on the board differ."""
    modules = (5, 4, 7, 6, 2, 3, 0, 1)
    for card, bus in enumerate(("33", "34", "4d", "4e", "b3", "b4", "cc", "cd")):
        place = at(f"0000:{bus}:00.0", f"0000:{int(bus, 16) - 2:02x}:00.0")
        yield from Gaudi(card, place, module=modules[card], verbs=card, numa=card // 4, group=50 + card).lines()


def everything() -> Iterator[str]:
    """Yield a small machine with something of each kind there is: what `intel-agent demo` shows."""
    yield from Gpu(0, _slot("3b"), group=20, mei=1).lines()
    yield from Gpu(1, _slot("bb"), "i915", numa=1, group=21, mei=2).lines()
    yield from sgx()
    yield from _accelerators("6a", 0, 0, [SHARED, DEDICATED, DEDICATED], first_minor=0)
    yield from vfio()
    yield from _for_one_machine(2, "5d", group=22)
    yield from Npu(0, at("0000:00:0b.0"), numa=0, group=7).lines()
    yield from Gaudi(1, _slot("34"), module=0, verbs=2, group=24).lines()
    yield from Qat(at("0000:6b:00.0"), services="sym;asym", virtual=2, group=50, first_cdev=1).lines()
    yield from Dlb(0, at("0000:6d:00.0"), group=60).lines()
    yield from _balancers(1, "ea", numa=1, group=61)
    yield from Fpga(_slot("af"), 0, 0, _INTERFACE, [Port(0, 0, _LOOPBACK)], numa=1, group=70).lines()
    yield from nics.small()


def _for_one_machine(card: int, bus: str, group: int) -> Iterator[str]:
    """Yield a card whose one virtual function is free for a virtual machine."""
    physical, virtual = _slot(bus), _slot(bus, "00.1")
    yield from Gpu(
        card, physical, identity="8086:e223", group=group, memory=32, total_virtual=24, virtual=[virtual]
    ).lines()
    function = Function(virtual, "8086:e223", "xe-vfio-pci", "038000", 0, group + 1, physical=physical)
    yield f"# {function.address}: for a virtual machine"
    yield from function.lines()
    yield from function.user_space(0)


def _balancers(number: int, bus: str, numa: int, group: int) -> Iterator[str]:
    """Yield a load balancer with two virtual ones, which are offered in its place."""
    physical = at(f"0000:{bus}:00.0")
    virtual = [at(f"0000:{bus}:00.{place}") for place in (1, 2)]
    yield from Dlb(number, physical, numa, group, virtual).lines()
    for place, function in enumerate(virtual, 1):
        yield from Dlb(number + place, function, numa, group + place, physical=physical).lines()


def fpga() -> Iterator[str]:
    """Yield two FPGA cards on two sockets: one with two ports, and one whose ports are at virtual functions."""
    ports = [Port(0, 0, _LOOPBACK), Port(1, 1, _LOOPBACK_3)]
    yield from Fpga(_slot("3b"), 0, 0, _INTERFACE, ports).lines()
    # The driver made ports 2 and 3 of the physical function, and others of these two when they were released.
    virtual = [(_slot("af", f"00.{place}"), Port(3 + place, place - 1, _LOOPBACK_3)) for place in (1, 2)]
    yield from Fpga(
        _slot("af"),
        1,
        3,
        "bfac4d851ee856fe8c95865ce1bbaa2d",
        [],
        virtual,
        identity="8086:0b2b",
        virtual_identity="8086:0b2c",
        numa=1,
        group=70,
    ).lines()


def empty() -> Iterator[str]:
    """Yield a machine without any accelerator, but with the display that every server has."""
    yield from _display()


MACHINES: Mapping[str, Callable[[], Iterable[str]]] = {
    "bench": bench,
    "empty": empty,
    "everything": everything,
    "fpga": fpga,
    "gaudi": gaudi,
    "gpu-server": gpu_server,
    "laptop": laptop,
    "nic-host": nics.nic_host,
    "qat": qat,
    "xeon": xeon,
}


def text(name: str) -> str:
    """Return the text of the machine as it is packaged.

    Raises:
        TreeError: the machine contradicts itself.
    """
    machine = "".join(f"{line}\n" for line in MACHINES[name]())
    parse(machine)
    return HEAD + machine


def _accelerators(bus: str, number: int, numa: int, queues: list[Queue], *, first_minor: int) -> Iterator[str]:
    """Yield one DSA and one IAA of a socket; their numbers count over both kinds."""
    group = 40 + number
    dsa = Idxd("dsa", number, at(f"0000:{bus}:01.0"), queues, first_minor, numa, group)
    iaa = Idxd("iax", number + 1, at(f"0000:{bus}:02.0"), queues, first_minor, numa, group + 1)
    return chain(dsa.lines(), iaa.lines())


def _display() -> Iterator[str]:
    """Yield the display of a server's management controller: a card of another vendor without a render node."""
    directory = at("0000:02:00.0", "0000:01:00.0")
    return Gpu(0, directory, "ast", "1a03:2000", group=10, connector="VGA-1", render=False).lines()


def main() -> None:
    for name in MACHINES:
        (NODES / f"{name}.tree").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
