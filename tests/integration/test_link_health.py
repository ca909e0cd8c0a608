"""A pulled cable, by the kernel's own netlink: the functions that hang on it are Unhealthy at once, and come back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio import to_thread

from intel_agent.errors import KubeletError
from intel_agent.simulation.kubelet import SimulatedKubelet

from .cables import ALL, MACHINE, agent, cable, cabled, until_allocatable
from .log import Line
from .namespace import Namespace
from .node import Node
from .process import Process
from .waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root"),
]

RECOVERY = 1.0
"""Seconds that a link has to be back."""


@pytest.fixture
def machine() -> str:
    return MACHINE


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Namespace]:
    with cabled(tmp_path / "space") as space:
        yield space


def warnings(it: Process) -> list[Line]:
    return [line for line in it.lines("device.changed") if line.level == "warning"]


async def test_a_port_without_a_link_takes_its_functions_with_it_until_it_held(
    space: Namespace, node: Node, kubelet: SimulatedKubelet
) -> None:
    async with agent(space, node, kubelet, "pf", recovery=RECOVERY) as it:
        await cable(space, False)
        await until_allocatable(kubelet, 0)
        await until(lambda: len(warnings(it)) >= ALL, "a line for each function, which comes after the list")
        changes = warnings(it)
        assert len(changes) == ALL
        assert all("link-down: ens1f0, which it sends through" in str(line) for line in changes)
        assert b"link-down" not in await to_thread.run_sync((node.runtime / "known-nic.json").read_bytes)
        plugged = await cable(space, True)
        assert await until_allocatable(kubelet, ALL) - plugged >= RECOVERY


async def test_without_a_word_the_cable_is_no_matter(space: Namespace, node: Node, kubelet: SimulatedKubelet) -> None:
    async with agent(space, node, kubelet, "none"):
        await cable(space, False)
        with pytest.raises(KubeletError):  # not while it is looked at, four times
            await until_allocatable(kubelet, 0, within=2.5)
