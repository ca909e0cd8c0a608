"""Nothing that happens puts a device into two hands: somebody looks ten times a second while it happens."""

from collections.abc import Callable, Hashable

from .agent import Agent
from .exclusiveness import no_device_twice
from .machine import DEDICATED, DEDICATED_QUEUE, I915, Machine, device
from .node import Node
from .podresources import Holding


def one_card(holding: Holding) -> Hashable | None:
    """Return the card of a share: of an exclusive card there is one, whatever its shares are called."""
    return device(holding.device) if holding.resource == I915 else None


def contend(node: Node) -> None:
    """Let a second pod try to get the exclusive queue, and see it refused."""
    pod = node.run({DEDICATED: 1})
    pod.until_refused()
    pod.remove()


def test_upgrades_crashes_restarts_and_unplugs(
    node: Node, machine: Machine, agent: Agent, start_agent: Callable[..., Agent]
) -> None:
    with no_device_twice(node.pod_resources):
        holder = node.run({DEDICATED: 1}).until_running()
        contend(node)
        new = start_agent("new")
        agent.process.stop()
        new.until_offered()
        contend(node)
        new.process.kill()
        contend(node)
        agent.start().until_offered()
        contend(node)
        queue = machine.unplug(DEDICATED_QUEUE)
        agent.until_offered({DEDICATED: frozenset()})
        contend(node)
        machine.plug(queue)
        agent.until_offered()
        contend(node)
        node.kubelet.kill()
        node.kubelet.start()
        agent.until_offered()
        contend(node)
        assert holder.devices == {"wq-user-dedicated-wq0.0-0"}
        holder.remove()
        node.run({DEDICATED: 1}).until_running()


def test_a_card_that_becomes_exclusive_while_a_pod_holds_its_second_share(node: Node, agent: Agent) -> None:
    pods = [node.run({I915: 1}).until_running() for _ in range(4)]
    holder = next(pod for pod in pods if "card0-1" in pod.devices)
    for pod in pods:
        if pod is not holder:
            pod.remove()
    with no_device_twice(node.pod_resources, one_card):
        agent.configure(gpu={"sharedDevNum": 1, "enableMonitoring": True})
        # The agent believes that the other pods are gone when kubelet must have told of them if they were not.
        agent.until_offered({I915: frozenset({"card1-0"}), "gpu.intel.com/xe": frozenset({"card2-0"})}, within=40)
        node.run({I915: 1}).until_running()
        node.run({I915: 1}).until_refused()
        holder.remove()
        agent.until_offered(
            {I915: frozenset({"card0-0", "card1-0"}), "gpu.intel.com/xe": frozenset({"card2-0"})}, within=40
        )
        node.run({I915: 1}).until_running()
