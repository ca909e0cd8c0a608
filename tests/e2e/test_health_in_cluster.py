"""What a cluster makes of a device that falls ill and gets well again."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .agent import Agent
from .cluster import Cluster
from .machine import XE, Machine
from .pods import container, manifest
from .waiting import eventually

CARD = "0000:4d:00.0"
"""The card that xe drives."""
STATUS_SECONDS = 10.0
"""How long a change may take to the node object and the pod's status."""


@pytest.fixture
def agent(cluster: Cluster) -> Iterator[Agent]:
    machine = Machine(cluster.node.base / "machine-health")
    agent = Agent(cluster.node.place, machine, "agent-health")
    with ExitStack() as end:
        end.callback(machine.scrap)
        end.callback(agent.process.kill)
        yield agent.start().until_offered()


def test_a_sick_card_shows_in_pod_and_node_and_the_scheduler_waits_until_it_is_well(
    cluster: Cluster, agent: Agent
) -> None:
    def until(health: str, allocatable: int) -> None:
        def known() -> bool:
            told = cluster.pod("holder").status.container.health
            return set(told.values()) == {health} and cluster.node_status.amounts(XE) == (2, allocatable)

        eventually(known, f"{health} and {allocatable} allocatable", within=STATUS_SECONDS)

    cluster.run("holder", container({XE: 1}))
    until("Healthy", 2)
    agent.mark(CARD, "unhealthy")
    until("Unhealthy", 0)
    cluster.create(manifest("next", [container({XE: 1})]))
    insufficient = f"Insufficient {XE}"
    eventually(lambda: insufficient in cluster.scheduling("next"), "waiting pod", within=STATUS_SECONDS)
    assert cluster.pod("holder").status.phase == "Running"
    agent.mark(CARD, "auto")
    until("Healthy", 2)
    cluster.until_phase("next", "Running")
    cluster.delete("next")
    cluster.delete("holder")
