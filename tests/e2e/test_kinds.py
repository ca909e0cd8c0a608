"""A pod for each kind: what a container finds of its device, on the packaged machine that has them all."""

import json
from collections.abc import Iterator

import pytest

from intel_agent.simulation.tree import node as packaged

from .agent import Agent
from .kinds import FINDINGS, INFORMATION, OFFER, SECTIONS, finding, variables
from .machine import Machine
from .node import Node, StaticPod
from .waiting import eventually

BY_NODES = pytest.mark.parametrize("kinds", ["none"], indirect=True)
DPDK = "intel.com/dpdk"
USER_SPACE = "/sys/devices/pci0000:17/0000:17:00.0/0000:18:01.2"


@pytest.fixture(scope="module")
def everything(session_node: Node) -> Iterator[Machine]:
    """Give the machine with every kind."""
    machine = Machine(session_node.base / "everything", packaged("everything"))
    yield machine
    machine.scrap()


def started(node: Node, machine: Machine, use: str) -> Agent:
    """Start an agent that hands out devices by their nodes (`none`), by CDI names, or both, and wait for kubelet."""
    agent = Agent(node.place, machine, f"kinds-{use}")
    kinds = ("gpu", "npu", "gaudi", "qat", "sgx", "dsa", "iaa", "dlb", "fpga", "nic")
    agent.configure(top={"devices": {kind: {**SECTIONS.get(kind, {}), "cdi": use} for kind in kinds}})
    agent.start()
    known = node.pod_resources.allocatable
    try:
        eventually(
            lambda: OFFER.items() <= known().items() and agent.registered() >= OFFER.keys(), "every kind", within=20
        )
    except TimeoutError as error:
        agent.process.kill()
        wrong = {each: (ids, known().get(each)) for each, ids in OFFER.items() if known().get(each) != ids}
        raise AssertionError(f"{wrong}; the agent's log: {agent.log()[-20:]}") from error
    return agent


@pytest.fixture(scope="module")
def kinds(session_node: Node, everything: Machine, request: pytest.FixtureRequest) -> Iterator[Agent]:
    """Give an agent whose devices kubelet knows, the same one for every kind."""
    agent = started(session_node, everything, request.param)
    yield agent
    agent.process.kill()
    assert [line for line in agent.log() if line.level in {"error", "critical"}] == []


def found(pod: StaticPod) -> None:
    """Check that a pod's container finds what it should, and nothing else."""
    report = pod.report()
    expected = finding((each.resource, each.device) for each in pod.holdings)
    assert report.devices == expected.nodes
    assert [path for path in report.devices if not report.permitted(path)] == []
    assert variables(report.environment) == variables(expected.environment)


@BY_NODES
@pytest.mark.parametrize("resource", FINDINGS)
@pytest.mark.usefixtures("kinds")
def test_a_container_finds_its_device(node: Node, resource: str) -> None:
    pod = node.run({resource: 1}).until_running()
    assert len(pod.devices) == 1
    found(pod)


@pytest.mark.parametrize("kinds", ["none", "names", "both"], indirect=True)
@pytest.mark.usefixtures("kinds")
def test_a_container_finds_one_of_each(node: Node) -> None:
    pod = node.run(dict.fromkeys(FINDINGS, 1)).until_running()
    assert len(pod.devices) == len(FINDINGS)
    found(pod)


def information(node: Node) -> dict[str, object]:
    """Return what is in the device-info files, by their names without the end that all have."""
    end = "-device.json"
    return {path.name.removesuffix(end): json.loads(path.read_bytes()) for path in node.device_info.glob(f"*{end}")}


def told(name: str, **more: object) -> dict[str, object]:
    """Return what a file should say (the specification's version 1.1.0); the name ends with the address."""
    addresses = {"pci-address": name.rpartition("-")[2], "pf-pci-address": "0000:18:00.0"}
    return {"type": "pci", "version": "1.1.0", "pci": {**addresses, **more}}


@BY_NODES
@pytest.mark.usefixtures("kinds")
def test_a_function_has_a_file_until_it_is_gone_and_no_pod_holds_it(node: Node, everything: Machine) -> None:
    expected = {name: told(name, **more) for name, more in INFORMATION.items()}
    assert information(node) == expected
    assert {path.stat().st_mode & 0o777 for path in node.device_info.glob("*.json")} == {0o444}

    pod = node.run({DPDK: 2}).until_running()
    function = everything.unplug(USER_SPACE)
    left = frozenset({"0000:18:01.3"})
    eventually(lambda: node.pod_resources.allocatable()[DPDK] == left, "loss of a function", within=10)
    assert information(node) == expected

    pod.remove()
    file = "intel.com-dpdk-0000:18:01.2"
    eventually(lambda: file not in information(node), "end of its file", within=60)
    everything.plug(function)
    eventually(lambda: node.pod_resources.allocatable()[DPDK] == OFFER[DPDK], "the function", within=10)
    assert information(node) == expected
