"""A device plugin's client made with another gRPC library (grpcio), and bytes instead of its own messages."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from anyio import to_thread

from intel_agent._proto import v1beta1

from .waiting import PATIENCE

DEADLINE = PATIENCE


class Stream(Protocol):
    """A call with many answers."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def cancel(self) -> bool: ...


class _Call(Protocol):
    def __call__(self, request: bytes, *, timeout: float | None = None) -> bytes: ...


class _StreamCall(Protocol):
    def __call__(self, request: bytes, *, timeout: float | None = None) -> Stream: ...


class _Channel(Protocol):
    def unary_unary(self, method: str) -> _Call: ...
    def unary_stream(self, method: str) -> _StreamCall: ...
    def close(self) -> None: ...


class _Code(Protocol):
    name: str


class _Error(Protocol):
    def code(self) -> _Code: ...
    def details(self) -> str: ...


class _Open(Protocol):
    def __call__(self, target: str, options: Sequence[tuple[str, int | str]]) -> _Channel: ...


GRPC = importlib.import_module("grpc")
_open: _Open = GRPC.insecure_channel
_failure: type[Exception] = GRPC.RpcError


class RefusedError(Exception):
    """The plugin answered with an error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Client:
    """A connection to one plugin's socket. Calls wait in a thread of their own."""

    def __init__(self, socket: Path) -> None:
        self._channel = _open(
            f"unix:{socket}",
            options=[("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    async def call(self, method: str, request: bytes = b"") -> bytes:
        """Call a method of the DevicePlugin service.

        Raises:
            RefusedError: the answer is an error.
        """
        return await self.call_path(f"/v1beta1.DevicePlugin/{method}", request)

    async def call_path(self, path: str, request: bytes) -> bytes:
        return await to_thread.run_sync(self.answer, path, request)

    def answer(self, path: str, request: bytes) -> bytes:
        try:
            return self._channel.unary_unary(path)(request, timeout=DEADLINE)
        except _failure as error:
            raise _refused(error) from error

    async def options(self) -> v1beta1.DevicePluginOptions:
        return v1beta1.DevicePluginOptions.parse(await self.call("GetDevicePluginOptions"))

    async def allocate(self, *containers: Sequence[str]) -> list[v1beta1.ContainerAllocateResponse]:
        """Allocate for containers that get these ids."""
        requests = [v1beta1.ContainerAllocateRequest(devices_ids=list(ids)) for ids in containers]
        answer = await self.call("Allocate", bytes(v1beta1.AllocateRequest(container_requests=requests)))
        return v1beta1.AllocateResponse.parse(answer).container_responses

    async def preferred(self, available: Sequence[str], included: Sequence[str], size: int) -> list[str]:
        request = v1beta1.ContainerPreferredAllocationRequest(
            available_deviceIDs=list(available), must_include_deviceIDs=list(included), allocation_size=size
        )
        answer = await self.call(
            "GetPreferredAllocation", bytes(v1beta1.PreferredAllocationRequest(container_requests=[request]))
        )
        return v1beta1.PreferredAllocationResponse.parse(answer).container_responses[0].device_i_ds

    def watch(self, *, within: float = DEADLINE) -> "Watch":
        """Open ListAndWatch; it ends after so many seconds."""
        return Watch(self._channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch")(b"", timeout=within))


@dataclass
class Watch:
    """An open ListAndWatch."""

    stream: Stream

    async def message(self) -> list[v1beta1.Device]:
        """Wait for the next message.

        Raises:
            RefusedError: the stream failed, or there was none in time.
            EOFError: the plugin ended it.
        """
        return v1beta1.ListAndWatchResponse.parse(await to_thread.run_sync(self._next)).devices

    async def health(self) -> dict[str, str]:
        return {each.id: each.health for each in await self.message()}

    async def until(self, health: Mapping[str, str]) -> None:
        """Wait for a message that says this; a look in the middle of an unplug may make another one before."""
        while await self.health() != health:
            pass

    def _next(self) -> bytes:
        try:
            message = next(self.stream, None)
        except _failure as error:
            raise _refused(error) from error
        if message is None:
            raise EOFError
        return message

    def close(self) -> None:
        self.stream.cancel()


def _refused(error: Exception) -> RefusedError:
    failure: _Error = error  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return RefusedError(failure.code().name, failure.details())
