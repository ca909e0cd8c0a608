"""DSA by VFIO: a container gets a whole accelerator, in place of a queue."""

from collections.abc import Callable

import pytest

from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import Function, at, vfio

from .agent import Agent
from .kinds import user_space, variables
from .machine import Machine
from .node import Node
from .waiting import eventually


@pytest.mark.parametrize("use", ["none", "names"])
def test_a_container_finds_a_whole_accelerator_by_vfio(
    node: Node, machine: Machine, start_agent: Callable[..., Agent], use: str
) -> None:
    address = "0000:e7:01.0"
    function = Function(at(address), "8086:11fb", "vfio-pci", "088000", 1, 51)
    materialise("\n".join([*vfio(), *function.lines(), *function.user_space(7)]), machine.root)
    start_agent(dsa={"driver": "vfio-pci", "cdi": use})
    resource = "dsa.intel.com/vfio"
    eventually(lambda: node.pod_resources.allocatable().get(resource) == frozenset({address}), resource, within=10)

    report = node.run({resource: 1}).until_running().report()

    assert report.devices == user_space(51, 7)
    assert [path for path in report.devices if not report.permitted(path)] == []
    assert variables(report.environment) == {"VFIO_BDF0": address}
