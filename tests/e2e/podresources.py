"""What kubelet's pod-resources socket says: which devices there are, and who holds which."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from grpclib.client import Channel

from intel_agent._proto.v1 import PodResourcesListerStub

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds that one call may take."""


class Holding(NamedTuple):
    """One device in the hands of one container."""

    pod: str
    container: str
    resource: str
    device: str


class PodResources:
    """A client of one kubelet; each call is a connection of its own, so that it survives kubelet's restarts."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def allocatable(self) -> dict[str, frozenset[str]]:
        """Return the healthy devices of every resource, allocated or not."""
        answer = self._call(lambda stub: stub.get_allocatable_resources(timeout=DEADLINE))
        devices: dict[str, set[str]] = defaultdict(set)
        for entry in answer.devices:
            devices[entry.resource_name].update(entry.device_ids)
        return {resource: frozenset(ids) for resource, ids in devices.items()}

    def holdings(self) -> frozenset[Holding]:
        """Return which container of which pod holds which device."""
        answer = self._call(lambda stub: stub.list(timeout=DEADLINE))
        return frozenset(
            Holding(pod.name, container.name, entry.resource_name, device)
            for pod in answer.pod_resources
            for container in pod.containers
            for entry in container.devices
            for device in entry.device_ids
        )

    def _call(self, method: Callable[[PodResourcesListerStub], Awaitable[T]]) -> T:
        async def call() -> T:
            async with Channel(path=str(self.socket)) as channel:
                return await method(PodResourcesListerStub(channel))

        return asyncio.run(call())
