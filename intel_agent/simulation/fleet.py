"""The packaged machines. `python -m intel_agent.simulation.fleet` writes nodes/*.tree from them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from intel_agent.simulation.machines import DEDICATED, SHARED, Gpu, Idxd, Queue, at, sgx
from intel_agent.simulation.tree import NODES, parse

HEAD = "# Written by `python -m intel_agent.simulation.fleet`; see docs/simulation.md.\n"

_KERNEL = Queue(kind="kernel")
_DISABLED = Queue(mode="shared", kind="none", state="disabled", size=0)


def bench() -> Iterator[str]:
    """Yield the machine of the benchmarks: 8 graphics cards, SGX, 16 queues each of DSA and IAA, on two sockets."""
    buses = ("18", "2b", "3b", "4d", "98", "ab", "bb", "cd")
    for card, bus in enumerate(buses):
        yield from Gpu(card, _slot(bus), numa=card // 4, group=20 + card, total_virtual=31).lines()
    yield from sgx()
    for number, (bus, numa) in enumerate((("6a", 0), ("e7", 1))):
        yield from _accelerators(bus, 2 * number, numa, [*[SHARED] * 4, *[DEDICATED] * 4], first_minor=8 * number)


def xeon() -> Iterator[str]:
    """Yield a two-socket server with SGX, DSA and IAA; queues of every sort."""
    yield from sgx()
    dsa = [SHARED, DEDICATED, _KERNEL, _DISABLED]
    yield from Idxd("dsa", 0, at("0000:6a:01.0"), dsa, group=30).lines()
    yield from Idxd("iax", 1, at("0000:6a:02.0"), [SHARED, DEDICATED, _DISABLED], group=31).lines()
    yield from Idxd("dsa", 2, at("0000:e7:01.0"), [DEDICATED, DEDICATED], numa=1, group=32, first_minor=2).lines()
    yield from Idxd("iax", 3, at("0000:e7:02.0"), [_DISABLED], numa=1, group=33, state="disabled").lines()


def gpu_server() -> Iterator[str]:
    """Yield cards on i915 and on xe, one of them split into virtual functions, and the server's own simple display."""
    physical, first, second = _slot("bb"), _slot("bb", "00.1"), _slot("bb", "00.2")
    yield from _display()
    yield from Gpu(1, _slot("3b"), "i915", group=20, mei=1, total_virtual=31).lines()
    yield from Gpu(2, _slot("4d"), "i915", "8086:56c1", group=21, mei=2, total_virtual=31).lines()
    yield from Gpu(3, _slot("98"), identity="8086:e211", numa=1, group=22, mei=3, connector="DP-1").lines()
    yield from Gpu(
        4, physical, identity="8086:e212", numa=1, group=23, total_virtual=24, virtual=(first, second)
    ).lines()
    for card, function in ((5, first), (6, second)):
        yield from Gpu(card, function, identity="8086:e212", numa=1, group=19 + card, physical=physical).lines()


def laptop() -> Iterator[str]:
    """Yield a machine without NUMA whose processor has the graphics inside."""
    yield from Gpu(0, at("0000:00:02.0"), "i915", "8086:46a6", -1, group=0, connector="eDP-1", total_virtual=7).lines()


def everything() -> Iterator[str]:
    """Yield a small machine with something of each kind there is so far: what `intel-agent demo` shows."""
    yield from Gpu(0, _slot("3b"), group=20, mei=1).lines()
    yield from Gpu(1, _slot("bb"), "i915", numa=1, group=21, mei=2).lines()
    yield from sgx()
    yield from _accelerators("6a", 0, 0, [SHARED, DEDICATED, DEDICATED], first_minor=0)


def empty() -> Iterator[str]:
    """Yield a machine without any accelerator, but with the display that every server has."""
    yield from _display()


MACHINES: Mapping[str, Callable[[], Iterable[str]]] = {
    "bench": bench,
    "empty": empty,
    "everything": everything,
    "gpu-server": gpu_server,
    "laptop": laptop,
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


def _slot(bus: str, place: str = "00.0") -> str:
    """Return the directory of a function in a slot; its root port is on the bus before."""
    return at(f"0000:{bus}:{place}", f"0000:{int(bus, 16) - 1:02x}:00.0")


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
