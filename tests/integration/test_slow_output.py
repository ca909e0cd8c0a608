"""Nobody reads what the agent logs: it serves all the same."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet

from .client import Client
from .log import parsed
from .node import EVERYTHING, XE, Node
from .process import process

pytestmark = pytest.mark.anyio


@contextmanager
def pipe() -> Generator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


async def allocations(node: Node, times: int) -> None:
    with Client(node.socket(XE)) as client:
        for _ in range(times):
            await client.allocate(["card0-0"])


async def test_an_output_that_nobody_reads_keeps_nobody_waiting(node: Node, kubelet: SimulatedKubelet) -> None:
    with pipe() as (reader, writer), process(node, stdout=writer) as agent:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        # Each of these is a line of some 170 bytes in the log, and the pipe takes 64 kB: from then on nobody can write,
        # and waiting for the output would never end.
        await allocations(node, 700)
        agent.popen.send_signal(signal.SIGTERM)
        assert await agent.wait() == 0
        os.set_blocking(reader, False)
        lines = parsed(os.read(reader, 1 << 20).rpartition(b"\n")[0])
        assert lines[0].event in {"config.loaded", "agent.started"}
        assert "allocation.granted" in {line.event for line in lines}
