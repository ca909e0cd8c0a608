"""One device plugin as kubelet talks to it: a connection to its socket, and errors in kubelet's words."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline
from h2.exceptions import H2Error

from intel_agent._proto.v1beta1 import (
    AllocateRequest,
    AllocateResponse,
    ContainerAllocateRequest,
    ContainerPreferredAllocationRequest,
    DevicePluginOptions,
    DevicePluginStub,
    Empty,
    ListAndWatchResponse,
    PreferredAllocationRequest,
    PreStartContainerRequest,
)
from intel_agent.errors import AgentError
from intel_agent.simulation.kubelet.rules import MESSAGE_LIMIT

_GO_NAMES = {Status.CANCELLED: "Canceled"}
"""Statuses that Go spells otherwise than by putting the words together."""


class PluginError(AgentError):
    """A call of the plugin failed; the text is what Go's gRPC makes of it."""


class TooLongError(PluginError):
    """The plugin sent a message that kubelet does not take."""


class _Codec(ProtoCodec):
    """Protobuf, and no message over kubelet's limit."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        if len(data) > MESSAGE_LIMIT:
            raise TooLongError(
                "rpc error: code = ResourceExhausted desc = "
                f"grpc: received message larger than max ({len(data)} vs. {MESSAGE_LIMIT})"
            )
        return super().decode(data, message_type)


class Plugin:
    """A connection to a plugin. Calls raise `PluginError`."""

    def __init__(self, path: str, *, call_seconds: float) -> None:
        self._channel = Channel(path=path, codec=_Codec())
        self._stub = DevicePluginStub(self._channel)
        self._call_seconds = call_seconds

    async def dial(self, seconds: float) -> None:
        """Connect, trying again until `seconds` are over."""
        with anyio.move_on_after(seconds):
            while True:
                try:
                    await self._channel.__connect__()
                except OSError:
                    await anyio.sleep(0.1)
                else:
                    return
        raise PluginError("failed to dial device plugin: context deadline exceeded")

    async def options(self, deadline: Deadline | None) -> DevicePluginOptions:
        """Ask for the options, within the deadline that the caller of Register gave."""
        async with _in_words():
            if deadline is None:
                return await self._stub.get_device_plugin_options(Empty(), timeout=self._call_seconds)
            return await self._stub.get_device_plugin_options(Empty(), deadline=deadline)

    async def follow(self, listed: Callable[[ListAndWatchResponse], None]) -> None:
        """Call `listed` with every message of ListAndWatch until the stream ends."""
        route = "/v1beta1.DevicePlugin/ListAndWatch"
        async with (
            _in_words(),
            self._channel.request(route, Cardinality.UNARY_STREAM, Empty, ListAndWatchResponse) as stream,
        ):
            await stream.send_message(Empty(), end=True)
            while (message := await stream.recv_message()) is not None:
                listed(message)

    async def preferred(self, available: Iterable[str], included: Iterable[str], size: int) -> frozenset[str]:
        """Return the ids that the plugin would like to be taken."""
        request = ContainerPreferredAllocationRequest(
            available_deviceIDs=list(available), must_include_deviceIDs=list(included), allocation_size=size
        )
        async with _in_words():
            response = await self._stub.get_preferred_allocation(
                PreferredAllocationRequest(container_requests=[request]), timeout=self._call_seconds
            )
        return frozenset(response.container_responses[0].device_i_ds if response.container_responses else ())

    async def allocate(self, ids: Iterable[str]) -> AllocateResponse:
        request = AllocateRequest(container_requests=[ContainerAllocateRequest(devices_ids=list(ids))])
        async with _in_words():
            return await self._stub.allocate(request, timeout=self._call_seconds)

    async def start(self, ids: Iterable[str]) -> None:
        """Call PreStartContainer."""
        async with _in_words():
            await self._stub.pre_start_container(PreStartContainerRequest(devices_ids=list(ids)), timeout=30)

    def close(self) -> None:
        """Cut the connection: the plugin sees its stream cancelled."""
        self._channel.close()


@asynccontextmanager
async def _in_words() -> AsyncGenerator[None]:
    try:
        yield
    except GRPCError as error:
        raise PluginError(_words(error.status, error.message or "")) from error
    except TimeoutError as error:
        raise PluginError(_words(Status.DEADLINE_EXCEEDED, "context deadline exceeded")) from error
    except (StreamTerminatedError, ProtocolError, H2Error, OSError) as error:
        raise PluginError(_words(Status.UNAVAILABLE, "error reading from server: EOF")) from error


def _words(status: Status, message: str) -> str:
    name = _GO_NAMES.get(status) or "".join(word.capitalize() for word in status.name.split("_"))
    return f"rpc error: code = {name} desc = {message}"
