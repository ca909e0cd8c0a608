"""A port of 64 functions whose interface is one end of a cable, in a network namespace with the agent."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.machines import at, vfio
from intel_agent.simulation.nics import Port, Virtual
from intel_agent.sysfs import SIMULATION_MARK

from .log import unexpected
from .namespace import Namespace, namespace
from .node import Node
from .process import Process, process
from .waiting import PATIENCE

DPDK = "intel.com/dpdk"
HARDWARE = "02:00:00:00:00:18"
PORT = Port(at("0000:18:00.0", "0000:17:00.0"), "ens1f0", 10, 100, virtual=[Virtual("vfio-pci")] * 64)
MACHINE = "\n".join(
    (
        *PORT.lines(),
        *vfio(),
        f"{PORT.directory}/net/ens1f0/address = {HARDWARE}",
    )
)
ALL = 64
LINKS = 1
"""The mask of RTNLGRP_LINK."""


@contextmanager
def cabled(root: Path) -> Generator[Namespace]:
    """Give a namespace with the port's interface in it: one end of a cable, for want of a card."""
    with namespace(root) as space:
        space.ip(f"link add ens1f0 address {HARDWARE} type veth peer name wire0", "link set ens1f0 up")
        yield space


async def cable(space: Namespace, plugged: bool) -> float:  # noqa: FBT001 - for a task group
    """Plug the cable or pull it; return when that began."""
    started = anyio.current_time()
    await to_thread.run_sync(space.ip, f"link set wire0 {'up' if plugged else 'down'}")
    return started


@asynccontextmanager
async def agent(
    space: Namespace, node: Node, kubelet: SimulatedKubelet, link_health: str, recovery: float = 0.0
) -> AsyncGenerator[Process]:
    """Give an agent in the namespace, of whose functions all are healthy; what it knows of links is the kernel's."""
    (node.root / SIMULATION_MARK).unlink()
    pool = {"resource": DPDK, "linkHealth": link_health, "selectors": {"pfNames": ["ens1f0"]}}
    node.configure(devices={"nic": {"pools": [pool]}}, health={"recoverySeconds": recovery})
    await cable(space, True)
    with process(node, before=["nsenter", f"--net={space.path}", "--"]) as it:
        await until_allocatable(kubelet, ALL)
        yield it
        assert it.alive
    assert unexpected(it.lines()) == []


async def until_allocatable(kubelet: SimulatedKubelet, count: int, within: float = PATIENCE) -> float:
    """Wait until kubelet could hand out so many functions of all 64; return when that was."""
    await kubelet.wait_for(
        lambda seen: DPDK in seen and (seen[DPDK].capacity, seen[DPDK].allocatable) == (ALL, count), within
    )
    return anyio.current_time()
