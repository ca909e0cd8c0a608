"""The answers of kubelet's pod-resources service: who holds what, and what could be held."""

from collections.abc import Iterable, Mapping

from intel_agent._proto.v1 import (
    AllocatableResourcesResponse,
    ContainerDevices,
    ContainerResources,
    ListPodResourcesResponse,
    NumaNode,
    PodResources,
    TopologyInfo,
)
from intel_agent._proto.v1beta1 import Device
from intel_agent.simulation.kubelet.checkpoint import NO_NODE, Assignment, Key

NAMESPACE = "default"


def assigned(assignments: Mapping[Key, Assignment], pods: Mapping[str, Iterable[str]]) -> ListPodResourcesResponse:
    """Return what the containers of `pods` hold: one entry for each id."""
    return ListPodResourcesResponse(
        pod_resources=[
            PodResources(
                name=pod,
                namespace=NAMESPACE,
                containers=[
                    ContainerResources(name=container, devices=_held(assignments, pod, container))
                    for container in containers
                ],
            )
            for pod, containers in pods.items()
        ]
    )


def _held(assignments: Mapping[Key, Assignment], pod: str, container: str) -> list[ContainerDevices]:
    held: list[ContainerDevices] = []
    for (its_pod, its_container, resource), assignment in assignments.items():
        if (its_pod, its_container) != (pod, container):
            continue
        for identifier in sorted(assignment.ids):
            nodes = [node for node, ids in assignment.ids_by_node.items() if identifier in ids and node != NO_NODE]
            held.extend(_entry(resource, identifier, node) for node in nodes or (None,))
    return held


def allocatable(devices: Iterable[tuple[str, Device]]) -> AllocatableResourcesResponse:
    """Return the healthy devices. One with a topology that names no node is not shown: so does the real kubelet."""
    return AllocatableResourcesResponse(
        devices=[
            _entry(resource, device.id, node)
            for resource, device in devices
            for node in ((None,) if device.topology is None else [each.id for each in device.topology.nodes])
        ]
    )


def _entry(resource: str, identifier: str, node: int | None) -> ContainerDevices:
    topology = None if node is None else TopologyInfo(nodes=[NumaNode(id=node)])
    return ContainerDevices(resource_name=resource, device_ids=[identifier], topology=topology)
