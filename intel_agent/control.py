"""The agent's own socket: one line of JSON asks, one line answers. For root on this node only.

The socket's mode keeps others out, and the kernel says who called (SO_PEERCRED, unix(7)).
"""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
import msgspec
import structlog
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from intel_agent import ownfile
from intel_agent.accepting import accept, peer
from intel_agent.errors import AgentError
from intel_agent.plain import encoded, spelled

log = structlog.get_logger()

NAME = "agent.sock"
DEADLINE = 5.0
"""Seconds that a call may take, on either side."""
LONGEST = 64 << 10
"""The longest line that asks, in bytes."""
LONGEST_ANSWER = 64 << 20
"""The longest line that answers, in bytes: 10,000 devices take some 6 MB."""
AGAIN = 30.0
"""Seconds until the socket is tried again when it cannot be made."""
MOST = 8
"""Calls at a time."""
PATIENCE = 2.0
"""Seconds that a call may wait for others to end; less than the deadline, so that there is time to say so."""
BUSY = f"{MOST} others are asking, and none of them is done: ask again"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: the name of a call, and its arguments."""

    call: str
    arguments: dict[str, str] = {}


NOTHING = msgspec.Raw(b"null")


class Answer(msgspec.Struct, frozen=True):
    """What came of it: lines for people, a report for programs, or what is wrong."""

    lines: tuple[str, ...] = ()
    problem: str | None = None
    report: msgspec.Raw = NOTHING


T = TypeVar("T")

Identity = tuple[int, int] | None
Call = Callable[[Mapping[str, str]], Awaitable[Answer]]

_requests = msgspec.json.Decoder(Request)


async def serve(directory: str, calls: Mapping[str, Call]) -> None:
    """Answer calls, for ever. Without the socket the agent serves its devices all the same."""
    path, known = os.path.join(directory, NAME), ""

    def failed(error: OSError) -> None:
        nonlocal known
        if str(error) != known:
            log.warning("control.unavailable", socket=path, problem=str(error))
        known = str(error)

    while True:
        try:
            await _serve(path, calls, failed)
        except OSError as error:
            failed(error)
        await anyio.sleep(AGAIN)


async def _serve(path: str, calls: Mapping[str, Call], failed: Callable[[OSError], object]) -> None:
    bound, identity = await anyio.to_thread.run_sync(_bound, path)
    listener = await SocketListener.from_socket(bound)
    places = anyio.CapacityLimiter(MOST)

    async def handle(stream: SocketStream) -> None:
        async with stream:
            gone = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
            with anyio.move_on_after(DEADLINE), contextlib.suppress(*gone):
                await _serve_one(stream, calls, places)

    try:
        await accept(listener, handle, failed)
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            await anyio.to_thread.run_sync(_unlinked, path, identity)


async def _serve_one(stream: SocketStream, calls: Mapping[str, Call], places: anyio.CapacityLimiter) -> None:
    with anyio.move_on_after(PATIENCE) as waiting:
        await places.acquire()
    if waiting.cancelled_caught:
        await stream.send(_line(Answer(problem=BUSY)))
        return
    try:
        await stream.send(_line(await _answer(stream, calls)))
    finally:
        places.release()


def _line(answer: Answer) -> bytes:
    """Return the answer as it is sent. Its report is JSON already, and what it says was perhaps never UTF-8."""
    problem = None if answer.problem is None else spelled(answer.problem)
    return msgspec.json.encode(Answer(tuple(map(spelled, answer.lines)), problem, answer.report)) + b"\n"


def _bound(path: str) -> tuple[socket.socket, Identity]:
    """Return a socket at `path` that only its owner can open, and which file that is.

    It is there as soon as it listens: who waits for it need not try twice. What an agent left behind there is
    replaced: who comes here serves the node, and nobody else does.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    draft = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(draft)
        os.chmod(draft, 0o600)  # nobody can connect before it listens
        listener.listen(MOST)
        listener.setblocking(False)
        os.rename(draft, path)
    except BaseException:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    return listener, ownfile.identity(path)


def _unlinked(path: str, identity: Identity) -> None:
    """Remove the socket unless the next agent has put its own there."""
    with contextlib.suppress(OSError):
        if ownfile.identity(path) == identity:
            os.unlink(path)


async def _answer(stream: SocketStream, calls: Mapping[str, Call]) -> Answer:
    caller = peer(stream.extra(SocketAttribute.raw_socket))  # noqa: S610  # anyio's name, not Django's
    if caller.user not in {0, os.geteuid()}:
        return Answer(problem="only root may ask")
    try:
        request = _requests.decode(await BufferedByteReceiveStream(stream).receive_until(b"\n", LONGEST))
        call = calls[request.call]
    except (msgspec.MsgspecError, anyio.IncompleteRead, anyio.DelimiterNotFound) as error:
        return Answer(problem=f"not understood: {error}")
    except KeyError:
        return Answer(problem="this agent knows no such call: it may be of another version")
    try:
        return await call(request.arguments)
    except AgentError as error:
        return Answer(problem=str(error))
    except Exception as error:  # the border of one call
        log.exception("call.failed", method="control")
        return Answer(problem=f"unexpected: {error!r}")


def report(directory: str, call: str, arguments: Mapping[str, str], decoder: "msgspec.json.Decoder[T]") -> T:
    """Return what the agent of this node reports.

    Raises:
        AgentError: as `ask` does, or the agent is of another version.
    """
    answer = ask(directory, call, arguments)
    try:
        return decoder.decode(answer.report)
    except msgspec.ValidationError as error:
        raise AgentError(f"the agent that runs is of another version: {error}") from error


def ask(directory: str, call: str, arguments: Mapping[str, str]) -> Answer:
    """Return what the agent of this node answers.

    Raises:
        AgentError: it does not run, may not be asked, or says what is wrong.
    """
    path = os.path.join(directory, NAME)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(DEADLINE)
            client.connect(path)
            client.sendall(encoded(Request(call, dict(arguments))) + b"\n")
            with client.makefile("rb") as file:
                answer = msgspec.json.decode(file.readline(LONGEST_ANSWER), type=Answer)
    except (OSError, msgspec.MsgspecError) as error:
        raise AgentError(f"{path}: the agent does not answer ({error}): does it run, and are you root?") from error
    if answer.problem is not None:
        raise AgentError(answer.problem)
    return answer
