"""A client that only takes times: registration served and lists received with grpcio, nothing decoded on the way."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from intel_agent._proto import v1
from intel_agent._proto.v1beta1 import (
    AllocateRequest,
    ContainerAllocateRequest,
    ListAndWatchResponse,
    RegisterRequest,
)

SERVICE = "/v1beta1.DevicePlugin/"


@dataclass
class Plugin:
    """One resource: its channel, and when which list came."""

    resource: str
    channel: grpc.Channel
    lists: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])

    def allocate(self, ids: list[str]) -> bytes:
        request = AllocateRequest(container_requests=[ContainerAllocateRequest(devices_ids=ids)])
        return self.channel.unary_unary(SERVICE + "Allocate", bytes, bytes)(bytes(request), timeout=5)


class Kubelet:
    """Takes registrations in `directory` and follows every list, until it stops."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed = threading.Condition()
        self.plugins: dict[str, Plugin] = {}

    def start(self) -> float:
        """Empty the directory of sockets and listen, as kubelet does; return when the socket was there."""
        for each in self._directory.iterdir():
            if each.is_socket():
                each.unlink()
        self._server = grpc.server(ThreadPoolExecutor(16))
        handler = grpc.unary_unary_rpc_method_handler(self._register, bytes, bytes)
        service = grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler})
        self._server.add_generic_rpc_handlers((service,))
        hidden = self._directory.parent / "kubelet.sock"
        self._server.add_insecure_port(f"unix:{hidden}")
        self._server.start()
        began = time.monotonic()
        os.rename(hidden, self._directory / "kubelet.sock")
        return began

    def stop(self) -> None:
        """End as on SIGTERM: every stream ends at once."""
        for each in self.plugins.values():
            each.channel.close()
        self.plugins.clear()
        self._server.stop(None).wait()

    def _register(self, message: bytes, _context: grpc.ServicerContext) -> bytes:
        request = RegisterRequest.parse(message)
        channel = grpc.insecure_channel(f"unix:{self._directory / request.endpoint}")
        channel.unary_unary(SERVICE + "GetDevicePluginOptions", bytes, bytes)(b"", timeout=5)
        plugin = Plugin(request.resource_name, channel)
        threading.Thread(target=self._follow, args=(plugin,), daemon=True).start()
        return b""

    def _follow(self, plugin: Plugin) -> None:
        with contextlib.suppress(grpc.RpcError):
            for message in plugin.channel.unary_stream(SERVICE + "ListAndWatch", bytes, bytes)(b""):
                came = time.monotonic()
                with self._changed:
                    plugin.lists.append((came, message))
                    self.plugins[plugin.resource] = plugin
                    self._changed.notify_all()

    def wait_for(self, happened: Callable[[], bool], seconds: float = 20.0) -> None:
        with self._changed:
            if not self._changed.wait_for(happened, seconds):
                raise TimeoutError(f"not within {seconds} s; registered: {sorted(self.plugins)}")

    def wait_for_list(self, resource: str, after: int, seconds: float = 20.0) -> float:
        """Return when the first list after the `after` ones of a resource came."""
        self.wait_for(lambda: len(self.plugins[resource].lists) > after, seconds)
        return self.plugins[resource].lists[after][0]


@contextlib.contextmanager
def serving(directory: Path) -> Generator[tuple[Kubelet, float]]:
    kubelet = Kubelet(directory)
    began = kubelet.start()
    try:
        yield kubelet, began
    finally:
        kubelet.stop()


PODS = 110
"""As many as kubelet has at most unless told otherwise."""


@contextlib.contextmanager
def holding(kubelet: Kubelet, path: Path) -> Generator[None]:
    """Answer on the socket of pod-resources: each of 110 pods has a device, of one resource after the other."""
    devices = {
        resource: [each.id for each in ListAndWatchResponse.parse(plugin.lists[-1][1]).devices]
        for resource, plugin in kubelet.plugins.items()
    }
    resources = sorted(devices)
    pods: list[v1.PodResources] = []
    for number in range(PODS):
        ids = devices[resource := resources[number % len(resources)]]
        has = v1.ContainerDevices(resource_name=resource, device_ids=[ids[number // len(resources) % len(ids)]])
        container = v1.ContainerResources(name="main", devices=[has])
        pods.append(v1.PodResources(name=f"pod-{number}", namespace="default", containers=[container]))
    free = [v1.ContainerDevices(resource_name=resource, device_ids=ids) for resource, ids in devices.items()]
    answers = {
        "List": bytes(v1.ListPodResourcesResponse(pod_resources=pods)),
        "GetAllocatableResources": bytes(v1.AllocatableResourcesResponse(devices=free)),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(_always(each), bytes, bytes) for name, each in answers.items()
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
        path.unlink(missing_ok=True)


def _always(answer: bytes) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    return lambda _message, _context: answer
