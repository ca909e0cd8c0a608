"""Kubelet's bookkeeping of devices: which there are, which are healthy, who has which. No waiting, no files.

It follows pkg/kubelet/cm/devicemanager/manager.go of Kubernetes 1.36, with its quirks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from intel_agent._proto.v1beta1 import ContainerAllocateResponse, Device, DevicePluginOptions
from intel_agent.simulation.kubelet.checkpoint import NO_NODE, Assignment, Key, Memory
from intel_agent.simulation.kubelet.plugin import Plugin
from intel_agent.simulation.kubelet.state import HEALTHY, AdmissionError, Listed, Resource


@dataclass(slots=True)
class Endpoint:
    """Where a resource's calls go. Without a plugin it is one that an earlier kubelet knew."""

    plugin: Plugin | None
    options: DevicePluginOptions
    stopped_at: float | None = None


class Devices:
    """What kubelet knows of devices. `clock` gives seconds; a stopped resource keeps its capacity for `grace`."""

    def __init__(self, memory: Memory, *, clock: Callable[[], float], grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._listed: dict[str, dict[str, Device]] = {}
        self._healthy: dict[str, set[str]] = {name: set() for name in memory.registered}
        self._unhealthy: dict[str, set[str]] = {name: set() for name in memory.registered}
        self._names = set(memory.registered)
        self.endpoints = {name: Endpoint(None, DevicePluginOptions(), clock()) for name in memory.registered}
        self.assignments: dict[Key, Assignment] = dict(memory.assignments)
        self._allocated: dict[str, set[str]] = {}
        self.recount()

    @property
    def memory(self) -> Memory:
        return Memory(dict(self.assignments), {name: tuple(ids) for name, ids in self._healthy.items()})

    def connected(self, resource: str, plugin: Plugin, options: DevicePluginOptions) -> None:
        self.endpoints[resource] = Endpoint(plugin, options)

    def disconnected(self, resource: str) -> None:
        """Take all devices of the resource for unhealthy; nobody calls its endpoint again."""
        if (endpoint := self.endpoints.get(resource)) is not None:
            self._unhealthy.setdefault(resource, set()).update(self._healthy.get(resource, ()))
            self._healthy[resource] = set()
            endpoint.stopped_at = self._clock()

    def replace(self, resource: str, devices: Iterable[Device]) -> None:
        """Forget the last list of the resource and take this one."""
        listed = {device.id: device for device in devices}
        self._names.add(resource)
        self._listed[resource] = listed
        self._healthy[resource] = {each for each, device in listed.items() if device.health == HEALTHY}
        self._unhealthy[resource] = listed.keys() - self._healthy[resource]

    def resources(self) -> dict[str, Resource]:
        """Return what the node's status says, and the last lists. A name that was there once stays."""
        self._forget()
        return {name: self._resource(name) for name in sorted(self._names)}

    def amounts(self, resource: str) -> tuple[int, int]:
        """Return how many devices the resource has, and how many of them are healthy."""
        healthy = len(self._healthy.get(resource, ()))
        return healthy + len(self._unhealthy.get(resource, ())), healthy

    def allocatable(self) -> list[tuple[str, Device]]:
        """Return the healthy devices, taken or not, with their resource."""
        return [
            (resource, device)
            for resource, listed in sorted(self._listed.items())
            for identifier, device in listed.items()
            if identifier in self._healthy.get(resource, ())
        ]

    def is_known(self, resource: str) -> bool:
        """Return whether kubelet takes the resource for one of a device plugin; others are not its business."""
        return resource in self._healthy or resource in self._allocated

    def available(self, resource: str) -> frozenset[str]:
        return frozenset(self._healthy.get(resource, set()) - self._allocated.get(resource, set()))

    def needed(self, key: Key, amount: int) -> int:
        """Return how many devices have to be found for a container: all or none.

        Raises:
            AdmissionError: nothing can be given, in kubelet's words.
        """
        pod, container, resource = key
        assignment = self.assignments.get(key)
        held = assignment.ids if assignment is not None else frozenset[str]()
        if assignment is not None and amount != len(held):
            raise AdmissionError(
                f'pod "{pod}" container "{container}" changed request for resource "{resource}"'
                f" from {len(held)} to {amount}"
            )
        healthy = self._healthy.get(resource)
        if healthy is None:
            raise AdmissionError(f"cannot allocate unregistered device {resource}")
        if not healthy:
            raise AdmissionError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if not held <= healthy:
            raise AdmissionError(
                f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
            )
        needed = amount - len(held)
        if needed > len(available := self.available(resource)):
            raise AdmissionError(
                f"requested number of devices unavailable for {resource}."
                f" Requested: {needed}, Available: {len(available)}"
            )
        return needed

    def take(self, resource: str, ids: Iterable[str]) -> None:
        """Count the ids as used, even before their plugin has agreed."""
        self._allocated.setdefault(resource, set()).update(ids)

    def assign(self, key: Key, ids: Iterable[str], answer: ContainerAllocateResponse) -> None:
        by_node: dict[int, tuple[str, ...]] = {}
        for identifier in sorted(ids):
            device = self._listed.get(key[2], {}).get(identifier)
            for node in _nodes(device) or (NO_NODE,):
                by_node[node] = (*by_node.get(node, ()), identifier)
        self.assignments[key] = Assignment(by_node, answer)

    def collect(self, active: Iterable[str]) -> None:
        """Take back what pods have that are not active any more. Leaked ids come back only when there is such a pod."""
        pods = set(active)
        gone = [key for key in self.assignments if key[0] not in pods]
        for key in gone:
            del self.assignments[key]
        if gone:
            self.recount()

    def recount(self) -> None:
        """Count as used what is assigned, and nothing else."""
        self._allocated = {}
        for (_, _, resource), assignment in self.assignments.items():
            self.take(resource, assignment.ids)

    def _forget(self) -> None:
        for name, endpoint in list(self.endpoints.items()):
            if endpoint.stopped_at is not None and self._clock() - endpoint.stopped_at > self._grace:
                del self.endpoints[name]
                self._healthy.pop(name, None)
                self._unhealthy.pop(name, None)

    def _resource(self, name: str) -> Resource:
        healthy, unhealthy = self._healthy.get(name, set[str]()), self._unhealthy.get(name, set[str]())
        return Resource(
            name,
            tuple(_seen(device) for device in self._listed.get(name, {}).values()),
            frozenset(healthy),
            len(healthy) + len(unhealthy),
            len(healthy),
        )


def _nodes(device: Device | None) -> tuple[int, ...]:
    if device is None or device.topology is None:
        return ()
    return tuple(node.id for node in device.topology.nodes)


def _seen(device: Device) -> Listed:
    return Listed(device.id, device.health, None if device.topology is None else _nodes(device))


def merged_ids(assignments: Mapping[Key, Assignment], pod: str, container: str) -> dict[str, tuple[str, ...]]:
    """Return the ids that a container has, by resource."""
    return {
        resource: tuple(sorted(assignment.ids))
        for (its_pod, its_container, resource), assignment in assignments.items()
        if (its_pod, its_container) == (pod, container)
    }
