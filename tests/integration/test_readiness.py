"""Ready means that kubelet has the present list: under restarts, refusals and changes in any order."""

import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from machines import MEMORY
from thorough import some

from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.tree import Tree

from .node import I915_CARD, XE_CARD, Node, made
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

ON_ITS_WAY = 250
"""Looks, each after 2 ms or more, during which a list, or the end of a stream, may be on its way.

Kubelet acknowledges nothing. No time: on a loaded machine both what looks and what is on its way take longer.
"""

STEPS = ("restart", "die", "vanish", "start", "refuse", "hold", "proceed", "break", "mend", "unplug", "plug", "reload")
Story = Sequence[tuple[str, int]]
"""Steps, and after each so many milliseconds of rest."""


class World:
    """A node, its kubelet and its agent, to which things happen."""

    def __init__(self, node: Node, kubelet: SimulatedKubelet, agent: Running) -> None:
        self.node = node
        self.kubelet = kubelet
        self.agent = agent
        self._vendor = (node.root / f"{XE_CARD[1:]}/vendor").read_text()
        self._pulled: Tree | None = None
        self._alive = True
        self._shares = 1
        self._leaving = False
        """Whether kubelet is about to go: it forgets what it knew before its streams end."""

    async def do(self, step: str) -> None:  # noqa: C901 - one branch for each step
        match step:
            case "restart" if self._alive:
                with self._left():
                    await self.kubelet.restart()
            case "die" | "vanish" if self._alive:
                self._alive = False
                with self._left():
                    await self.kubelet.stop(leave_socket=step == "die")
            case "start" if not self._alive:
                self._alive = True
                await self.kubelet.start()
            case "refuse":
                self.kubelet.refuse("not now")
            case "hold":
                self.kubelet.hold()
            case "proceed":
                self.kubelet.proceed()
            case "break" | "mend":
                await self.node.change(f"{XE_CARD}/vendor", "nothing\n" if step == "break" else self._vendor)
                self.agent.hint(["gpu"])
            case "unplug" if self._pulled is None:
                self._pulled = await self.node.unplug(I915_CARD)
                self.agent.hint(["gpu"])
            case "plug" if self._pulled is not None:
                await self.node.plug(self._pulled)
                self._pulled = None
                self.agent.hint(["gpu"])
            case "reload":
                self._shares = self._shares % 3 + 1
                await to_thread.run_sync(self._configure)
                await self.agent.agent.reload()
            case _:
                pass

    @contextmanager
    def _left(self) -> Generator[None]:
        self._leaving = True
        try:
            yield
        finally:
            self._leaving = False

    def _configure(self) -> None:
        self.node.configure(devices={"gpu": {"sharedDevNum": self._shares}})

    @property
    def ready(self) -> bool:
        return not self.agent.agent.unready

    @property
    def told(self) -> bool:
        """Whether kubelet knows of every id in the present lists, and of each what it is to know."""
        known = self.kubelet.resources()
        return all(
            name in known
            and {each.id: each.health for each in known[name].devices}
            == {each: str(line.health) for line in published.listing.value.lines for each in line.ids}
            for name, published in self.agent.published.items()
        )

    async def never_ready_without_list(self) -> None:
        """Look all the time.

        Raises:
            AssertionError: it was ready, and kubelet did not have the list, for longer than anything is on its way.
        """
        looks = 0
        while True:
            looks = looks + 1 if self.ready and not self.told and not self._leaving else 0
            assert looks < ON_ITS_WAY, "ready, and kubelet does not have the present list"
            await anyio.sleep(0.002)


@asynccontextmanager
async def place() -> AsyncGenerator[Node]:
    with tempfile.TemporaryDirectory(prefix="ia", dir=MEMORY) as base:
        yield await to_thread.run_sync(made, Path(base), "everything")


@pytest.mark.timeout(600)
# A failure is told as it was found: to make its story shorter would take minutes.
@settings(max_examples=some(12), suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(story=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 80)), min_size=3, max_size=12))
async def test_it_is_never_ready_while_kubelet_lacks_the_present_list(story: Story) -> None:
    async with place() as node, node.kubelet(dial_seconds=0.5) as kubelet, running(node) as agent:
        await agent.until_registered()
        world = World(node, kubelet, agent)
        async with anyio.create_task_group() as group:
            group.start_soon(world.never_ready_without_list)
            for step, rest in story:
                await world.do(step)
                await anyio.sleep(rest / 1000)
            for step in ("start", "proceed", "mend", "plug"):
                await world.do(step)
            await until(lambda: world.ready and world.told, "readiness in the end")
            group.cancel_scope.cancel()
