"""Kubelet's two services on their unix sockets."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import anyio
import anyio.lowlevel
from grpclib.const import Cardinality, Handler
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from intel_agent._proto.v1 import (
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
    ListPodResourcesRequest,
    ListPodResourcesResponse,
    PodResourcesListerBase,
)
from intel_agent._proto.v1beta1 import Empty, RegisterRequest, RegistrationBase

CLOSE_SECONDS = 2.0
"""How long connections may take to close."""


class Registrations(RegistrationBase):
    """The service on kubelet.sock. `register` gets the request and the deadline that the caller set."""

    def __init__(self, answer: Callable[[RegisterRequest, Deadline | None], Awaitable[None]]) -> None:
        self._answer = answer

    async def _register(self, stream: "Stream[RegisterRequest, Empty]") -> None:
        request = await stream.recv_message()
        if request is not None:
            await self._answer(request, stream.deadline)
            await stream.send_message(Empty())

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/v1beta1.Registration/Register": Handler(self._register, Cardinality.UNARY_UNARY, RegisterRequest, Empty)
        }


class PodResources(PodResourcesListerBase):
    """The service on pod-resources/kubelet.sock."""

    def __init__(
        self,
        assigned: Callable[[], ListPodResourcesResponse],
        allocatable: Callable[[], AllocatableResourcesResponse],
    ) -> None:
        self._assigned = assigned
        self._allocatable = allocatable

    async def list(self, message: ListPodResourcesRequest) -> ListPodResourcesResponse:
        return self._assigned()

    async def get_allocatable_resources(self, message: AllocatableResourcesRequest) -> AllocatableResourcesResponse:
        return self._allocatable()


class KubeletServer(Server):
    """A server that can be cut off: grpclib 0.4.9 keeps the connections of a closed server."""

    def __init__(self, service: Registrations | PodResources) -> None:
        super().__init__([service])
        self._protocols: set[H2Protocol] = set()
        self._lost = anyio.Event()
        self._closed = False

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        made, lost = protocol.connection_made, protocol.connection_lost

        def connection_made(transport: asyncio.BaseTransport) -> None:
            made(transport)
            if self._closed:  # accepted before the end, made after it
                protocol.processor.close("kubelet stops")

        def connection_lost(error: BaseException | None) -> None:
            self._protocols.discard(protocol)
            self._lost.set()
            lost(error)

        protocol.connection_made = connection_made  # type: ignore[method-assign]
        protocol.connection_lost = connection_lost  # type: ignore[assignment]
        self._protocols.add(protocol)
        return protocol

    async def cut(self) -> None:
        """Stop listening and close every connection, as the end of the process would. The socket file stays."""
        assert isinstance(self._server, asyncio.Server)  # noqa: S101 - by create_server
        for each in self._server.sockets:
            self._loop.remove_reader(each.fileno())
        for _ in range(2):  # asyncio loses connections that it has accepted and not made when it closes
            await anyio.lowlevel.checkpoint()
        self.close()
        self._closed = True
        for protocol in [each for each in self._protocols if hasattr(each, "processor")]:
            protocol.processor.close("kubelet stops")
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            while self._protocols:
                self._lost = anyio.Event()
                await self._lost.wait()


def bound(path: Path) -> socket.socket:
    """Return a listening socket at `path`; a socket file of an earlier kubelet is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(os.fspath(path))
        listener.listen(100)
    except OSError:
        listener.close()
        raise
    return listener


def sweep(directory: Path) -> None:
    """Remove every socket directly inside the directory, as kubelet does when it starts; files and folders stay."""
    for path in _sockets(directory):
        path.unlink(missing_ok=True)


def _sockets(directory: Path) -> Iterable[Path]:
    return [path for path in directory.iterdir() if path.is_socket()]
