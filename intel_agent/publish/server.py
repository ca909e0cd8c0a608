"""A gRPC server on a unix socket that can be drained, with fences around what grpclib 0.4.9 leaves open.

1. `Server.close()` cancels handlers without trailers or GOAWAY and keeps the connections, and `wait_closed()` then
   waits for them for ever from Python 3.12 on: `drain` ends streams, lets running calls answer, says GOAWAY, closes.
2. The generator behind a stream is not closed when the peer goes: `Service` closes it (`aclosing`).
3. Any exception reaches the peer as UNKNOWN "Internal Server Error": `Codec` and `Service` give it a status.
4. h2 remembers 65,536 closed streams for each connection (13 MB after 100,000 calls): 256 are plenty for late frames.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import structlog
from betterproto2 import Message
from grpclib.const import Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.connection import H2Connection

from intel_agent import ownfile
from intel_agent._proto.v1beta1 import DevicePluginBase
from intel_agent.errors import AgentError

log = structlog.get_logger()

H2Connection.MAX_CLOSED_STREAMS = 256  # pyright: ignore[reportAttributeAccessIssue]  # h2 means it as a constant

GRACE = 0.5
"""How long running calls may take to answer when the server drains, in seconds."""

_serial = itertools.count()


class Codec(ProtoCodec):
    """Protobuf, and INVALID_ARGUMENT for bytes that are none."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        try:
            message = super().decode(data, message_type)
        except Exception as error:
            raise GRPCError(Status.INVALID_ARGUMENT, f"not a {message_type.__name__}: {error}") from error
        if _malformed(message):
            raise GRPCError(Status.INVALID_ARGUMENT, f"not a {message_type.__name__}: a field has the wrong type")
        return message


def _malformed(message: object) -> bool:
    """Whether a list in a message holds anything but text and messages: betterproto2 reads wrong types so."""
    for value in vars(message).values():
        match value:
            case [*items]:
                if any(_malformed(each) if isinstance(each, Message) else not isinstance(each, str) for each in items):
                    return True
            case _:
                pass
    return False


class Service(DevicePluginBase):
    """A device plugin's methods, each with a border: an error becomes an answer with a status.

    Kubelet puts the text into the pod's status, so it says what is wrong and with which device.
    """

    def __mapping__(self) -> dict[str, Handler]:
        methods = super().__mapping__().items()
        return {
            path: method._replace(func=_answering(method.func))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # grpclib
            for path, method in methods
        }

    async def _call_rpc_handler_server_stream(
        self, handler: Callable[..., Any], stream: "Stream[Any, Any]", request: Any
    ) -> None:
        messages: AsyncGenerator[Any] = handler(request)
        async with contextlib.aclosing(messages):
            async for message in messages:
                await stream.send_message(message)


def _answering(
    call: Callable[["Stream[Any, Any]"], Awaitable[None]],
) -> Callable[["Stream[Any, Any]"], Awaitable[None]]:
    @wraps(call)
    async def answer(stream: "Stream[Any, Any]") -> None:
        try:
            await call(stream)
        except (GRPCError, ProtocolError, StreamTerminatedError):
            raise
        except AgentError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error
        except TimeoutError as error:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "a device did not answer in time") from error
        except Exception as error:
            log.exception("call.failed", method=call.__name__)
            raise GRPCError(Status.INTERNAL, f"intel-agent failed: {error!r}") from error

    return answer


class SocketServer(Server):
    """One service on one socket file that is nobody else's."""

    def __init__(self, service: Service, path: str) -> None:
        codec: CodecBase = Codec()
        super().__init__([service], codec=codec)
        self.path = path
        self._protocols: set[H2Protocol] = set()
        self._identity: tuple[int, int] | None = None
        self._drained = False

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        made, lost = protocol.connection_made, protocol.connection_lost

        def connection_made(transport: asyncio.BaseTransport) -> None:
            made(transport)
            if self._drained:  # accepted before the drain, made after it
                protocol.processor.close("server shutdown")

        def connection_lost(error: BaseException | None) -> None:
            self._protocols.discard(protocol)
            lost(error)

        protocol.connection_made = connection_made  # type: ignore[method-assign]
        protocol.connection_lost = connection_lost  # type: ignore[assignment]
        self._protocols.add(protocol)
        return protocol

    async def listen(self) -> None:
        """Bind the socket and answer on it; what had that name before is replaced.

        Raises:
            OSError: the directory is not there or not writable.
        """
        listener = await anyio.to_thread.run_sync(self._bound)
        try:
            await self.start(sock=listener)
        except BaseException:  # cancelled, most likely: nobody would know of the file
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._unlink)
            listener.close()
            raise

    def _bound(self) -> socket.socket:
        """Bind under another name, with the right mode, listen, then rename: nobody ever finds a deaf socket."""
        hidden = os.path.join(os.path.dirname(self.path), f".{os.getpid()}-{next(_serial)}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.bind(hidden)
            os.chmod(hidden, 0o600)
            listener.listen(100)
            os.rename(hidden, self.path)
            self._identity = ownfile.identity(self.path)
        except OSError:
            listener.close()
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            raise
        return listener

    async def is_ours(self) -> bool:
        """Return whether the socket file is still the one we bound: kubelet empties the directory when it starts."""
        return await anyio.to_thread.run_sync(self._is_ours)

    def _is_ours(self) -> bool:
        return self._identity is not None and ownfile.identity(self.path) == self._identity

    async def drain(self) -> None:
        """Stop serving: unlink the socket, let running calls answer, say goodbye. Takes `GRACE` and little more.

        The service must have been told to end its streams.
        """
        try:
            await anyio.to_thread.run_sync(self._unlink)
            if self._server is not None:
                await self._accept_no_more()
                self._server.close()
                if running := self._running():
                    await asyncio.wait(running, timeout=GRACE)
        finally:  # whoever has no time for the rest has it for this
            self._hang_up()

    def _hang_up(self) -> None:
        """Say goodbye to everybody who is connected and close."""
        if self._server is None:
            return
        self._drained = True
        connected = [each for each in self._protocols if hasattr(each, "processor")]
        for protocol in connected:
            _say_goodbye(protocol)
        self.close()
        for protocol in connected:
            protocol.processor.close("server shutdown")

    async def _accept_no_more(self) -> None:
        """Let connections that are just coming arrive: asyncio loses those that it has accepted when it closes."""
        assert isinstance(self._server, asyncio.Server)  # noqa: S101 - by create_server
        for each in self._server.sockets:
            self._loop.remove_reader(each.fileno())
        for _ in range(2):  # the first turn makes their transports, the second one tells their protocols
            await anyio.lowlevel.checkpoint()

    def _unlink(self) -> None:
        if self._is_ours():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _running(self) -> "list[asyncio.Task[None]]":
        # grpclib tells nobody of its tasks
        tasks = (handler._tasks for handler in self._handlers)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return [task for each in tasks for task in each.values() if not task.done()]


def _say_goodbye(protocol: H2Protocol) -> None:
    if protocol.connection.is_closing():
        return
    with contextlib.suppress(Exception):  # the peer may be gone already: then nobody needs the GOAWAY
        protocol.connection._connection.close_connection()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        protocol.connection.flush()
