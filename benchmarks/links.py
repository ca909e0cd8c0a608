"""What it costs to know the host's links: as root, in network namespaces that nobody else sees.

Cables stand for the node's interfaces. Where the kernel has netdevsim, two functions of it have 64 virtual functions
each. Times of changes are from the system call that makes the change to the hint on the loop.
"""

import fcntl
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path

import anyio
from anyio import to_thread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from integration.namespace import Namespace, ip, namespace

from intel_agent.sources import kernel
from intel_agent.sysfs import Host, Look

CABLES, FUNCTIONS, VIRTUAL = 100, 2, 64
CHANGES, BURST = 100, 10_000
NETDEVSIM = Path("/sys/bus/netdevsim")
_SET_MTU = 0x8922
"""SIOCSIFMTU of linux/sockios.h."""


def private() -> float:
    """Return the private memory of this process in MB (10^6 bytes)."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


def taken(what: Callable[[], object]) -> float:
    """Return how many milliseconds it takes."""
    started = time.perf_counter()
    what()
    return (time.perf_counter() - started) * 1e3


def figures(times: list[float]) -> str:
    return f"median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms ({len(times)} times)"


def imported() -> None:
    """Print what the import costs, after all that an agent has imported without it."""
    import_module("intel_agent.agent")
    kernel._import_sparingly()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]  # its cost alone
    before = private()

    def load() -> None:
        for name in ("linkevents", "links"):
            import_module(f"intel_agent.sources.{name}")

    print(f"import: {taken(load):.1f} ms, {private() - before:.2f} MB")


def gathered(host: Host) -> None:
    """Print how long a gathering takes."""
    from intel_agent.links import LinkFact
    from intel_agent.sources import links

    before = private()

    def everything() -> links.Ground:
        around = links.ground(host, "", 5.0)
        said = links.words(host, around, frozenset(LinkFact), Look(), before=links.Words(), seconds=5.0)
        links.assembled(around, said)
        return around

    found = everything().interfaces
    functions = sum(len(each.virtual_functions) for each in found)
    times = [taken(everything) for _ in range(20)]
    print(f"{len(found)} interfaces, {functions} virtual functions: {figures(times)}, {private() - before:.2f} MB more")


@contextmanager
def simulated(node: Namespace) -> Generator[None]:
    """Make the functions of netdevsim, if the kernel has it; so many virtual ones take debugfs."""
    made: list[str] = []
    try:
        for name in [str(4242 + number) for number in range(FUNCTIONS)] if NETDEVSIM.exists() else []:
            node.run(partial((NETDEVSIM / "new_device").write_text, f"{name} 1"))
            made.append(name)
            Path(f"/sys/kernel/debug/netdevsim/netdevsim{name}/max_vfs").write_text(str(VIRTUAL))
            (NETDEVSIM / f"devices/netdevsim{name}/sriov_numvfs").write_text(str(VIRTUAL))
        yield
    finally:
        for name in made:
            (NETDEVSIM / "del_device").write_text(name)


async def changes() -> None:
    """Print how soon a change becomes a hint, and what a burst of them does to the loop."""
    from intel_agent.sources import linkevents

    heard: list[float] = []
    pauses: list[float] = []
    async with anyio.create_task_group() as group:
        group.start_soon(linkevents.follow, lambda: None, lambda: heard.append(time.perf_counter()))
        times = [await _one(heard, number) for number in range(CHANGES)]
        print(f"a change to the hint: {figures(times)}")
        group.start_soon(_watch, pauses)
        await anyio.sleep(1)
        print(f"loop without changes stood still {max(pauses):.1f} ms")
        pauses.clear()
        hints, started = len(heard), time.perf_counter()
        await to_thread.run_sync(ip, [f"link set made0 mtu {1400 + number % 2}" for number in range(BURST)])
        seconds = time.perf_counter() - started
        await anyio.sleep(2 * linkevents.SPACING)
        print(f"{BURST} changes in {seconds:.1f} s: {len(heard) - hints} hints, loop stood still {max(pauses):.1f} ms")
        group.cancel_scope.cancel()


async def _one(heard: list[float], number: int) -> float:
    await anyio.sleep(0.3)  # longer than hints are apart
    count, started = len(heard), time.perf_counter()
    await to_thread.run_sync(_set_mtu, 1400 + number % 2)
    while len(heard) == count:  # noqa: ASYNC110 - what is measured is the time that it notes itself
        await anyio.sleep(0.001)
    return (heard[count] - started) * 1e3


def _set_mtu(mtu: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_MTU, struct.pack("=16si20x", b"made0", mtu))


async def _watch(pauses: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await anyio.sleep(0.001)
        pauses.append((time.perf_counter() - started) * 1e3 - 1)


def main() -> None:
    imported()
    with tempfile.TemporaryDirectory() as place, namespace(Path(place, "node")) as node:
        node.ip(*(f"link add made{number} type veth peer name other{number}" for number in range(CABLES)))
        host = node.run(lambda: Host(str(node.root)))
        with simulated(node):
            node.run(partial(gathered, host))
        node.ip(
            *(f"link add more{number} type veth peer name rest{number}" for number in range(FUNCTIONS * VIRTUAL // 2))
        )
        node.run(partial(gathered, host))
        node.run(partial(anyio.run, changes), 300)


if __name__ == "__main__":
    main()
