"""Devices that come and go while pods have them."""

import pytest

from .agent import LINGER_SECONDS, Agent
from .machine import CARD0, DEDICATED, DEDICATED_QUEUE, I915, Machine
from .node import Node, StaticPod, unhealthy
from .waiting import always, eventually

QUEUE = "wq-user-dedicated-wq0.0-0"
NOTICED_SECONDS = 5.0
"""How long an unplug without a kernel event may stay unseen, with a new look every second."""


def until_health(pod: StaticPod, health: dict[str, str]) -> None:
    eventually(lambda: pod.status.container.health == health, f"{health} in the pod's status", within=NOTICED_SECONDS)


def test_row_20_the_list_follows_an_unplug_and_a_plug(agent: Agent, machine: Machine, node: Node) -> None:
    card = machine.unplug(CARD0)
    agent.until_offered({I915: frozenset({"card1-0", "card1-1"})}, within=NOTICED_SECONDS)
    assert node.run({I915: 1}).until_running().devices <= {"card1-0", "card1-1"}

    machine.plug(card)
    agent.until_offered(within=NOTICED_SECONDS)
    node.run({I915: 3}).until_running()


def test_row_26_a_vanished_device_is_unhealthy_as_long_as_a_pod_holds_it(
    agent: Agent, machine: Machine, node: Node
) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    queue = machine.unplug(DEDICATED_QUEUE)
    until_health(pod, {QUEUE: "Unhealthy"})
    agent.until_offered({DEDICATED: frozenset()})
    # kubelet would call a device that has left the list Healthy.
    held = LINGER_SECONDS + 2
    always(lambda: pod.status.container.health == {QUEUE: "Unhealthy"}, "unhealthy", during=held)

    machine.plug(queue)
    until_health(pod, {QUEUE: "Healthy"})
    agent.until_offered()


@pytest.mark.usefixtures("agent")
def test_row_31_the_health_of_a_device_shows_in_a_pod_whose_container_never_started(
    machine: Machine, node: Node
) -> None:
    pod = node.run({DEDICATED: 1}, image="localhost/absent:1")
    # kubelet says nothing of a pod's containers until it has noted what they were given.
    given = "device of the waiting pod"
    eventually(lambda: QUEUE in pod.devices and pod.status.container_statuses, given, within=NOTICED_SECONDS)
    queue = machine.unplug(DEDICATED_QUEUE)
    until_health(pod, {QUEUE: "Unhealthy"})

    machine.plug(queue)
    until_health(pod, {QUEUE: "Healthy"})


@pytest.mark.usefixtures("agent")
def test_row_32_a_pod_runs_on_when_its_device_becomes_unhealthy(machine: Machine, node: Node) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    container = pod.status.container.container_id
    machine.unplug(DEDICATED_QUEUE)
    until_health(pod, {QUEUE: "Unhealthy"})

    def undisturbed() -> bool:
        now = pod.status.container
        return now.ready and now.container_id == container

    always(undisturbed, "undisturbed", during=3)


@pytest.mark.usefixtures("agent")
def test_a_new_pod_is_refused_while_the_only_device_is_gone(machine: Machine, node: Node) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    machine.unplug(DEDICATED_QUEUE)
    until_health(pod, {QUEUE: "Unhealthy"})

    assert node.run({DEDICATED: 1}).until_refused() == unhealthy(DEDICATED)


def test_rows_27_37_and_43_an_allocation_during_an_unplug_is_refused_by_name_and_kubelet_lives(
    node: Node, machine: Machine, agent: Agent
) -> None:
    for _ in range(3):
        # The agent stands still, so that both are waiting for it: the unplug and kubelet's question.
        agent.process.pause()
        queue = machine.unplug(DEDICATED_QUEUE)
        pod = node.run({DEDICATED: 1}).until_asked_for()
        agent.process.resume()
        refusal = pod.until_refused()

        assert refusal.startswith("rpc error: ")
        assert "wq0.0" in refusal
        assert node.kubelet.alive
        agent.until_offered({DEDICATED: frozenset()}, within=NOTICED_SECONDS)
        machine.plug(queue)
        agent.until_offered(within=NOTICED_SECONDS)
    node.run({DEDICATED: 1}).until_running()


def test_a_smaller_number_of_shares_reaches_kubelet_without_a_restart(agent: Agent, node: Node) -> None:
    agent.configure(gpu={"sharedDevNum": 1, "enableMonitoring": True})
    agent.until_offered({I915: frozenset({"card0-0", "card1-0"}), "gpu.intel.com/xe": frozenset({"card2-0"})})
    node.run({I915: 2}).until_running()
