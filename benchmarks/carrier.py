"""How soon 64 network functions are Unhealthy whose port lost its link: figures of docs/performance.md. Needs root.

One end of a cable in a network namespace stands for the port; the agent is a process there, kubelet is simulated.
Time is taken from the kernel's message, received here, to what kubelet could hand out.
"""

import os
import socket
import statistics
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from integration.cables import ALL, LINKS, MACHINE, agent, cable, cabled, until_allocatable
from integration.node import made

from intel_agent.sources.netlink import listening

TIMES = 30
CALM = 2.2
"""Seconds between two losses: the last look after a change comes after 2 s."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ia") as base:
        taken = anyio.run(losses, Path(base))
    load = os.getloadavg()[0]
    print(
        f"{ALL} functions without a link are Unhealthy at kubelet after {1000 * statistics.median(taken):.1f} ms, "
        f"best {1000 * min(taken):.1f}, worst {1000 * max(taken):.1f} ({TIMES} times, load {load:.1f})"
    )


async def losses(base: Path) -> list[float]:
    """Return how long each loss of the link took to kubelet, in seconds."""
    taken: list[float] = []
    node = made(base, MACHINE)
    async with node.kubelet() as kubelet:
        with cabled(base / "space") as space, space.run(lambda: listening(LINKS)) as kernel:
            async with agent(space, node, kubelet, "pf"):
                for _ in range(TIMES):
                    await anyio.sleep(CALM)
                    drained(kernel)
                    async with anyio.create_task_group() as group:
                        group.start_soon(cable, space, False)
                        await anyio.wait_readable(kernel)
                        told = anyio.current_time()
                        taken.append(await until_allocatable(kubelet, 0) - told)
                    await cable(space, True)
                    await until_allocatable(kubelet, ALL)
    return taken


def drained(kernel: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            kernel.recv(1 << 16)


if __name__ == "__main__":
    main()
