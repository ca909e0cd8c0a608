"""An agent in a storm: nothing grows, nothing is left over, and in the end it knows what is so.

`tox -e soak` lets it rage for ten minutes; here it is a short one.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence

import anyio
import pytest

from intel_agent.model import Event
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log, unexpected
from .node import DEDICATED_DSA, DEDICATED_IAA, ENCLAVE, PROVISION, SHARED_DSA, SHARED_IAA, XE, Node
from .process import process
from .running import running
from .soak import Footprint, Storm, cards_of, footprint
from .test_kernel_events import Kernel
from .waiting import until

SECONDS = float(os.environ.get("SOAK_SECONDS", "9"))
"""How long a storm lasts."""
OFFER = frozenset({XE, ENCLAVE, PROVISION, SHARED_DSA, DEDICATED_DSA, SHARED_IAA, DEDICATED_IAA})
"""What the machine offers."""
GROWTH = (2 if SECONDS >= 600 else 8) << 20
"""Bytes that the agent may have more in the last third of a storm than in the second one.

The thirds of a short storm are too short for what Python keeps to level out.
"""
TOGETHER = 4
"""Threads for what blocks that it may have more in the end: they are kept a while, and made as things come together."""

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300 + 2 * SECONDS),
    pytest.mark.parametrize("machine", ["bench"]),
]


async def until_settled(storm: Storm) -> None:
    """Wait until kubelet has exactly those cards for healthy that are so."""
    sound = len(storm.cards) - len(storm.wedged)
    wanted = (len(storm.cards), sound)

    def settled() -> bool:
        resource = storm.kubelet.resources().get(XE)
        return resource is not None and (resource.capacity, resource.allocatable) == wanted

    await until(settled, f"{sound} of {len(storm.cards)} cards")


def most(samples: Sequence[Footprint]) -> Footprint:
    """Return the most of everything."""
    return Footprint(*(max(column) for column in zip(*samples, strict=True)))


def working() -> Counter[str]:
    """Return how many tasks there are of each coroutine."""
    return Counter(str(getattr(each.get_coro(), "__qualname__", "")) for each in asyncio.all_tasks())


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")
async def test_a_process_does_not_grow_and_keeps_nothing(node: Node, kubelet: SimulatedKubelet) -> None:
    cards = cards_of(node)
    with process(node, before=["unshare", "--net", "--"]) as agent:
        pid = agent.popen.pid
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= OFFER)
        first = footprint(pid)
        kernel = Kernel(agent)
        storm = Storm(node, kubelet, cards, kernel.say_all)
        samples: list[Footprint] = []

        async def sample() -> None:
            while True:
                samples.append(footprint(pid))
                await anyio.sleep(max(SECONDS / 300, 0.1))

        async with anyio.create_task_group() as group:
            group.start_soon(sample)
            await storm.rage(SECONDS)
            group.cancel_scope.cancel()
        await storm.calm(again=bool(agent.lines("events.overrun")))
        kernel.close()
        await until_settled(storm)
        third = len(samples) // 3
        before, after = most(samples[third : 2 * third]), most(samples[2 * third :])
        sys.stdout.write(
            f"\n{storm.said} messages, {storm.plugs} cards replugged, {storm.restarts} restarts of kubelet, "
            f"{storm.reloads} reloads in {SECONDS:g} s\nat first: {first}\nat most in the second third: {before}\n"
            f"at most in the last third: {after}\nat last: {footprint(pid)}\n"
        )
        await until(lambda: footprint(pid).sockets <= first.sockets, "sockets to be closed")
        await until(lambda: footprint(pid).files <= first.files, "files to be closed")
        assert min(storm.restarts, storm.reloads, storm.plugs) >= 1
        assert after.memory - before.memory <= GROWTH
        assert footprint(pid).threads <= before.threads + TOGETHER
        assert await agent.stop() == 0
    assert unexpected(agent.lines()) == []
    assert kubelet.violations == []


async def test_no_task_is_left_over(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent:

        async def say(commands: list[str]) -> None:
            for each in commands:
                _, action, path, subsystem, *more = each.split()
                keys = dict(part.split("=", 1) for part in more)
                agent.agent._happened(Event(action, subsystem, path, keys))  # pyright: ignore[reportPrivateUsage]  # as in test_health

        storm = Storm(node, kubelet, cards_of(node), say, seed=1)
        await until(lambda: not agent.agent.unready, "everything to be registered")
        tasks = working()
        await storm.rage(min(SECONDS, 60))
        await storm.calm(again=False)
        await until_settled(storm)
        await until(lambda: not working() - tasks, f"{tasks} tasks")
    assert unexpected(await log.lines()) == []
    assert kubelet.violations == []
