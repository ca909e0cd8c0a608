"""A small HTTP server for a few pages: GET and HEAD, bounded in size, time and number. h11 knows the protocol.

Source: RFC 9110, RFC 9112.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import h11
import structlog
from anyio.abc import SocketAttribute, SocketStream

from intel_agent.accepting import accept
from intel_agent.web.page import Page, Pages, plain

log = structlog.get_logger()

LARGEST_HEAD = 8192
"""Most bytes of a request's first line and headers."""
MOST_CONNECTIONS = 32
"""Connections at a time; one more is closed at once."""
REQUEST_DEADLINE = 30.0
"""How long a connection may be silent, or need for a request, in seconds."""
ANSWER_DEADLINE = 10.0
"""How long a page may be made and be sent, in seconds."""
_CHUNK = LARGEST_HEAD
"""Most bytes read at a time: a head that comes whole at once is measured, too, then."""


class Server:
    """Serves pages on one address."""

    def __init__(self, pages: Pages, failed: Callable[[OSError], object]) -> None:
        """Serve `pages`; `failed` is told when connections cannot be accepted for a while."""
        self._pages = pages
        self._failed = failed
        self._connections = 0

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncGenerator[int]:
        """Serve until the block ends; give the port.

        Raises:
            OSError: the address cannot be used.
        """
        async with (
            await anyio.create_tcp_listener(local_host=host, local_port=port, reuse_port=False) as listener,
            anyio.create_task_group() as group,
        ):
            group.start_soon(accept, listener, self._accept, self._failed)
            try:
                yield int(listener.extra(SocketAttribute.local_port))  # noqa: S610 - anyio's, not Django's
            finally:
                group.cancel_scope.cancel()

    async def _accept(self, stream: SocketStream) -> None:
        """Answer one connection; whatever goes wrong stays there."""
        async with stream:
            if self._connections >= MOST_CONNECTIONS:
                return
            self._connections += 1
            try:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, TimeoutError):
                    await _Connection(stream, self._pages).run()
            except Exception as error:  # the border of one connection
                log.exception("request.failed", problem=repr(error))
            finally:
                self._connections -= 1


class _Connection:
    """One connection: requests and answers, one after the other."""

    def __init__(self, stream: SocketStream, pages: Pages) -> None:
        self._stream = stream
        self._pages = pages
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)

    async def run(self) -> None:
        """Answer until either side closes.

        Raises:
            TimeoutError: the other side is too slow.
        """
        while True:
            try:
                with anyio.fail_after(REQUEST_DEADLINE):
                    request = await self._request()
            except h11.RemoteProtocolError as error:
                if self._protocol.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    with anyio.fail_after(ANSWER_DEADLINE):
                        await self._send(plain(error.error_status_hint, str(error)), body=True, close=True)
                return
            if request is None:
                return
            page = await self._page(request)
            with anyio.fail_after(ANSWER_DEADLINE):
                await self._send(page, body=request.method != b"HEAD")
            if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
                return
            self._protocol.start_next_cycle()

    async def _request(self) -> h11.Request | None:
        """Return the next request, or `None` when no more will come.

        Raises:
            h11.RemoteProtocolError: what comes is no request that is understood.
        """
        request: h11.Request | None = None
        while True:
            match self._protocol.next_event():
                case h11.NEED_DATA:
                    try:
                        data = await self._stream.receive(_CHUNK)
                    except anyio.EndOfStream:
                        data = b""
                    self._protocol.receive_data(data)
                case h11.Request() as event:
                    request = event
                case h11.Data():
                    raise h11.RemoteProtocolError("a request here has no body", error_status_hint=413)
                case h11.EndOfMessage():
                    return request
                case _:
                    return None

    async def _page(self, request: h11.Request) -> Page:
        path, _, query = request.target.decode("ascii").partition("?")
        if request.method not in {b"GET", b"HEAD"}:
            return plain(405, "only GET and HEAD are answered")
        if (make := self._pages.get(path)) is None:
            return plain(404, f"there is nothing here but {', '.join(self._pages)}")
        names = frozenset(each.partition("=")[0] for each in query.split("&") if each)
        try:
            with anyio.fail_after(ANSWER_DEADLINE):
                return await make(names)
        except TimeoutError:
            return plain(503, f"the page could not be made within {ANSWER_DEADLINE:.0f} s")
        except Exception as error:  # the border of one request
            log.exception("request.failed", path=path, problem=repr(error))
            return plain(500, "the page could not be made; the agent's log says why")

    async def _send(self, page: Page, *, body: bool, close: bool = False) -> None:
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ]
        if page.status == 405:  # noqa: PLR2004 - RFC 9110, section 15.5.6
            headers.append(("Allow", "GET, HEAD"))
        if close:
            headers.append(("Connection", "close"))
        parts: list[h11.Event] = [h11.Response(status_code=page.status, headers=headers)]
        if body:
            parts.append(h11.Data(data=page.body))
        parts.append(h11.EndOfMessage())
        pieces = [piece for part in parts if (piece := self._protocol.send(part))]
        if len(page.body) < _CHUNK:
            pieces = [b"".join(pieces)]
        for piece in pieces:  # a large page is not copied
            await self._stream.send(piece)
