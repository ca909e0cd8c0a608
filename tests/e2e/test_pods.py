"""What containers get, and what they do not get."""

import os
import signal
from collections.abc import Callable

import pytest

from .agent import Agent
from .machine import (
    ANALYTICS,
    CARD1,
    DEDICATED,
    ENCLAVE,
    I915,
    MONITORING,
    OFFER,
    PROVISION,
    SHARED,
    XE,
    Machine,
    device_nodes,
)
from .node import Node, unavailable
from .pods import container
from .waiting import eventually


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({I915: 1}, id="a card of i915"),
        pytest.param({I915: 2}, id="two cards"),
        pytest.param({XE: 1}, id="a card of xe"),
        pytest.param({MONITORING: 1}, id="all cards to look at"),
        pytest.param({ENCLAVE: 1}, id="an enclave"),
        pytest.param({ENCLAVE: 1, PROVISION: 1}, id="an enclave that attests"),
        pytest.param({DEDICATED: 1}, id="a DSA queue of its own"),
        pytest.param({SHARED: 1, ANALYTICS: 1}, id="a shared DSA queue and an IAA queue"),
        pytest.param(dict.fromkeys(OFFER, 1), id="one of everything"),
    ],
)
@pytest.mark.usefixtures("agent")
def test_row_44_a_container_has_its_device_nodes_and_no_others(node: Node, limits: dict[str, int]) -> None:
    bare = node.run({}).until_running().report()
    pod = node.run(limits).until_running()
    report = pod.report()
    expected = device_nodes(pod.devices)

    assert len(pod.devices) == sum(limits.values())
    assert report.devices == expected
    assert all(report.permitted(path) for path in expected)
    assert not report.permitted("/tmp/other")
    if bare.cgroup:  # only version 1 of cgroups shows the rules
        assert report.cgroup - bare.cgroup == {f"c {major}:{minor} rw" for major, minor in expected.values()}


@pytest.mark.usefixtures("agent")
def test_two_shares_of_one_request_are_of_two_cards_when_the_policy_says_balanced(node: Node) -> None:
    pod = node.run({I915: 2}).until_running()

    assert {each.partition("-")[0] for each in pod.devices} == {"card0", "card1"}


@pytest.mark.usefixtures("agent")
def test_an_exclusive_device_is_refused_to_a_second_pod_until_the_first_one_ends(node: Node) -> None:
    first = node.run({DEDICATED: 1}).until_running()
    refusal = node.run({DEDICATED: 1}).until_refused()
    first.remove()

    assert refusal == unavailable(DEDICATED)
    node.run({DEDICATED: 1}).until_running()


@pytest.mark.usefixtures("agent")
def test_a_shared_device_is_given_to_as_many_pods_as_it_has_shares(node: Node) -> None:
    pods = [node.run({SHARED: 1}).until_running() for _ in range(4)]

    assert {each for pod in pods for each in pod.devices} == OFFER[SHARED]
    assert node.run({SHARED: 1}).until_refused() == unavailable(SHARED)


def test_row_22_the_same_machine_has_the_same_ids_after_a_restart_of_the_agent(agent: Agent) -> None:
    before = agent.offered()
    agent.process.stop()
    agent.start().until_offered()

    assert agent.offered() == before


def test_row_24_a_device_of_an_unknown_numa_node_suits_a_single_numa_node(node: Node, agent: Agent) -> None:
    node.kubelet.restart({"topologyManagerPolicy": "single-numa-node"})
    try:
        agent.until_offered()
        node.run({XE: 1}).until_running()
        node.run({I915: 1, DEDICATED: 1}).until_running()
    finally:
        node.remove_pods()
        node.kubelet.restart()


def test_row_25_hints_are_given_for_all_devices_of_a_resource_or_for_none(
    node: Node, machine: Machine, agent: Agent
) -> None:
    # With a hint for one of two cards kubelet would never give both to one container.
    machine.change(f"{CARD1}/numa_node", "-1")
    agent.process.stop()
    agent.start()
    node.kubelet.restart({"topologyManagerPolicy": "single-numa-node"})
    try:
        agent.until_offered()
        node.run({I915: 4}).until_running()
    finally:
        node.remove_pods()
        node.kubelet.restart()


def test_row_29_ten_thousand_devices_are_offered_and_allocated(node: Node, start_agent: Callable[..., Agent]) -> None:
    ids = frozenset(f"sgx-enclave-{number}" for number in range(10_000))
    start_agent(sgx={"enclaveLimit": 10_000, "provisionLimit": 10}).until_offered({ENCLAVE: ids}, within=5)
    pod = node.run({ENCLAVE: 1}).until_running()

    assert pod.devices <= ids
    assert pod.report().devices == device_nodes(["sgx-enclave-0"])


@pytest.mark.usefixtures("agent")
def test_row_45_a_container_that_restarts_keeps_its_device(node: Node) -> None:
    pod = node.run({I915: 1}).until_running()
    devices, report = pod.devices, pod.report()
    os.kill(pod.pid, signal.SIGKILL)
    eventually(lambda: pod.status.container.restart_count == 1, "restart of the container", within=20)
    pod.until_running()
    other = node.run({I915: 1}).until_running()

    assert pod.devices == devices
    assert pod.report().devices == report.devices
    assert other.devices.isdisjoint(devices)


@pytest.mark.usefixtures("agent")
def test_row_52_a_sidecar_keeps_the_device_of_the_init_container_and_the_main_container_has_its_own(
    node: Node,
) -> None:
    init = [
        container({I915: 1}, name="init", then="exit 0"),
        container({I915: 1}, name="sidecar", restart="Always"),
    ]
    pod = node.apply([container({I915: 1})], init).until_running()
    by_container = {holding.container: holding.device for holding in pod.holdings}

    assert by_container.keys() == {"sidecar", "main"}
    assert by_container["sidecar"] != by_container["main"]
    assert pod.report("init").devices == pod.report("sidecar").devices == device_nodes([by_container["sidecar"]])
    assert pod.report("main").devices == device_nodes([by_container["main"]])
