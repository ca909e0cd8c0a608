"""What a whole cluster sees: capacity and allocatable of the node object, and pods that the scheduler placed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic

import pytest

from .agent import RESCAN_SECONDS, Agent
from .cluster import Cluster
from .machine import CARD0, CARD1, DEDICATED, DEDICATED_QUEUE, I915, OFFER, Machine
from .pods import container, manifest
from .waiting import always, eventually

STATUS_SECONDS = 10.0
"""How long a change may take to the node object: the agent's look, kubelet's tick, the API server."""

LINGER_SECONDS = 10
"""How long a vanished device stays in kubelet's list: long enough to be seen, as kubelet tells once a second."""

GRACE_SECONDS = 300.0
"""How long kubelet remembers the capacity of a plugin that went away."""

stopped_at: list[float] = []
"""When the last test that stopped the agent did so."""


@pytest.fixture(scope="module")
def machine(cluster: Cluster) -> Machine:
    return Machine(cluster.node.base / "machine")


@pytest.fixture
def agent(cluster: Cluster, machine: Machine) -> Iterator[Agent]:
    agent = Agent(cluster.node.place, machine)
    agent.configure(top={"health": {"rescanSeconds": RESCAN_SECONDS, "lingerSeconds": LINGER_SECONDS}})
    with ExitStack() as end:
        end.callback(agent.process.kill)
        yield agent.start().until_offered()


@pytest.fixture
def until_amounts(cluster: Cluster) -> Callable[[str, int, int], None]:
    """Wait until the node has so much capacity and allocatable of a resource."""

    def wait(resource: str, capacity: int, allocatable: int) -> None:
        amounts = (capacity, allocatable)
        what = f"{amounts} of {resource}"
        eventually(lambda: cluster.node_status.amounts(resource) == amounts, what, within=STATUS_SECONDS)

    return wait


@pytest.mark.usefixtures("agent")
def test_the_node_has_what_the_machine_has(until_amounts: Callable[[str, int, int], None]) -> None:
    for resource, ids in OFFER.items():
        until_amounts(resource, len(ids), len(ids))


@pytest.mark.usefixtures("agent")
def test_row_30_an_unplug_lowers_allocatable_then_capacity_and_a_plug_brings_both_back(
    machine: Machine, until_amounts: Callable[[str, int, int], None]
) -> None:
    first = machine.unplug(CARD0)
    until_amounts(I915, 4, 2)
    until_amounts(I915, 2, 2)
    second = machine.unplug(CARD1)
    until_amounts(I915, 2, 0)
    until_amounts(I915, 0, 0)
    machine.plug(first)
    machine.plug(second)
    until_amounts(I915, 4, 4)


@pytest.mark.usefixtures("agent")
def test_row_26_capacity_keeps_a_vanished_device_until_its_pod_ends(
    cluster: Cluster, machine: Machine, until_amounts: Callable[[str, int, int], None]
) -> None:
    cluster.run("holder", container({DEDICATED: 1}))
    queue = machine.unplug(DEDICATED_QUEUE)
    until_amounts(DEDICATED, 1, 0)
    held = LINGER_SECONDS + 3
    always(lambda: cluster.node_status.amounts(DEDICATED) == (1, 0), "capacity of the held device", during=held)
    cluster.delete("holder")
    eventually(lambda: cluster.node_status.amounts(DEDICATED) == (0, 0), "end of the device", within=30)
    machine.plug(queue)
    until_amounts(DEDICATED, 1, 1)


@pytest.mark.usefixtures("agent")
def test_the_scheduler_lets_a_pod_wait_for_an_exclusive_device(cluster: Cluster) -> None:
    cluster.run("first", container({DEDICATED: 1}))
    cluster.create(manifest("second", [container({DEDICATED: 1})]))
    reason = "Insufficient dsa.intel.com/wq-user-dedicated"
    eventually(lambda: reason in cluster.scheduling("second"), "waiting pod", within=STATUS_SECONDS)
    cluster.delete("first")
    cluster.until_phase("second", "Running")
    cluster.delete("second")


def test_row_50_a_pod_that_had_succeeded_stays_so_without_the_agent(cluster: Cluster, agent: Agent) -> None:
    cluster.create(manifest("done", [container({I915: 1}, then="exit 0")], restart="Never"))
    cluster.until_phase("done", "Succeeded")
    agent.process.stop()
    cluster.node.kubelet.restart()
    cluster.run("later", container({}))

    assert cluster.pod("done").status.phase == "Succeeded"
    cluster.delete("done")
    cluster.delete("later")


def test_row_58_after_sigterm_allocatable_is_zero_and_capacity_stays_for_a_while(
    agent: Agent, until_amounts: Callable[[str, int, int], None]
) -> None:
    until_amounts(I915, 4, 4)
    assert agent.process.stop(within=5) == 0
    stopped_at.append(monotonic())
    until_amounts(I915, 4, 0)


@pytest.mark.last
@pytest.mark.timeout(GRACE_SECONDS + 300)
def test_row_58_five_minutes_later_capacity_is_zero(cluster: Cluster) -> None:
    if not stopped_at:
        pytest.skip("runs after the test that stops the agent")
    left = stopped_at[-1] + GRACE_SECONDS - monotonic()
    before = cluster.node_status.amounts(I915)
    eventually(lambda: cluster.node_status.amounts(I915) == (0, 0), "end of capacity", within=max(left, 0) + 30)

    assert left < 0 or before == (4, 0)
