"""The agent in this process: the real one, with its clock and its threads, on a simulated node."""

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio import to_thread

from intel_agent import control
from intel_agent.agent import Agent, Settings, read
from intel_agent.publish.publisher import Published
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.sysfs import Host

from .client import Client
from .node import EVERYTHING, Node
from .waiting import until


def taken(kubelet: SimulatedKubelet) -> int:
    """Return how many registrations kubelet took; one that meets the start of a kubelet is called off and repeated."""
    return sum(each.answer is None for each in kubelet.registrations)


class Running:
    """An agent that runs until its block ends."""

    def __init__(self, node: Node, agent: Agent, scope: anyio.CancelScope) -> None:
        self.node = node
        self.agent = agent
        self._scope = scope

    @property
    def published(self) -> dict[str, Published]:
        return self.agent.publisher.published

    def stop(self) -> None:
        """Have the agent end, as a signal does; the block may go on."""
        self._scope.cancel()

    def hint(self, kinds: Iterable[str] | None = None) -> None:
        """Have the agent look again, as after a kernel event: at these kinds, or at all."""
        self.agent.scanner.hint(kinds)

    async def mark(self, device: str, word: str, reason: str) -> None:
        """Say so of a device as `intel-agent mark` does, once the agent serves the node."""
        directory = self.node.runtime
        await until((directory / control.NAME).exists, "the agent's socket")
        arguments = {"device": device, "word": word, "reason": reason}
        await to_thread.run_sync(control.ask, str(directory), "mark", arguments)

    def health(self, resource: str) -> dict[str, str]:
        """Return what kubelet should hear of the resource."""
        published = self.published.get(resource)
        lines = () if published is None else published.listing.value.lines
        return {each: line.health.value for line in lines for each in line.ids}

    @property
    def looked(self) -> bool:
        """Whether the agent has looked at every kind."""
        return len(self.agent.inventory.value.found) == len(self.agent.config.value.devices.backends)

    @property
    def registered(self) -> frozenset[str]:
        return frozenset(name for name, each in self.published.items() if each.registration.registered is not None)

    def told(self, resource: str) -> bool:
        """Whether kubelet has the present list of the resource, or is no simulated one: that cannot be asked."""
        if not self.node.kubelets:
            return True
        known = self.node.kubelets[-1].resources().get(resource)
        return known is not None and {each.id: each.health for each in known.devices} == self.health(resource)

    async def until_registered(self, resources: Iterable[str] = EVERYTHING) -> "Running":
        """Wait until kubelet has taken these resources, and has a list of each."""
        wanted = frozenset(resources)
        await until(lambda: wanted <= self.registered, f"registration of all of {sorted(wanted)}")
        await until(lambda: all(map(self.told, wanted)), f"lists of all of {sorted(wanted)}")
        return self

    async def until_healthy(self, *resources: str) -> "Running":
        """Wait until files define all that is offered, and kubelet can hand out every device of these resources.

        A list does not wait long for a file: devices may be unhealthy at first.
        """
        await self.until_registered(resources)
        files = self.agent.publisher

        def healthy() -> bool:
            defined = not files.cdi.undefined and not files.infos.undefined
            return defined and all(set(self.health(each).values()) == {"Healthy"} for each in resources)

        await until(lambda: healthy() and all(map(self.told, resources)), f"healthy devices of {sorted(resources)}")
        return self

    @contextmanager
    def client(self, resource: str) -> Generator[Client]:
        with Client(self.node.socket(resource)) as client:
            yield client


@asynccontextmanager
async def running(
    node: Node, *, root: str | None = None, environment: Mapping[str, str] | None = None, account: str = "/nowhere"
) -> AsyncGenerator[Running]:
    """Run an agent as `intel-agent run --config FILE --root DIR --host-root DIR` does, as a pod if need be."""
    settings = Settings(
        node.config,
        root or str(node.root),
        str(node.root),
        runtime_directory=str(node.runtime),
        state_directory=str(node.state),
        account_directory=account,
        environment=environment or {},
    )
    config = await to_thread.run_sync(read, node.config)
    host = await to_thread.run_sync(Host, settings.root, settings.host_root)
    agent = Agent(settings, config, host)
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def live() -> None:
            with scope:
                await agent.run()

        group.start_soon(live)
        yield Running(node, agent, scope)
        scope.cancel()
