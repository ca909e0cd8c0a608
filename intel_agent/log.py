"""What the agent says: one line for each event, written by a thread of its own, so that saying it never blocks.

Events are listed in docs/log-events.md. Own events come through structlog, records of libraries (grpclib, asyncio,
pyroute2, watchfiles, warnings) through the standard library's logging; both leave in the same form.
"""

import logging
import os
import queue
import select
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from intel_agent.history import History

_RICH = sys.modules.get("rich")
if _RICH is None:
    # structlog.dev imports all of rich only to print tracebacks, which we do not let it do: 4.4 MB for nothing.
    sys.modules["rich"] = None  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
import structlog  # noqa: E402
from structlog.typing import EventDict  # noqa: E402

if _RICH is None:
    del sys.modules["rich"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console", "auto"]

LIMIT = 1 << 20
"""The most that waits to be written, in bytes; what does not fit is dropped and counted."""

DROPPED = "log.dropped"
"""The event that says how many events before it were lost."""

FOREIGN = "library.logged"
"""The event of a record that a library wrote."""

_RANK = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_QUIET = ("watchfiles", "grpclib", "hpack", "h2", "httpx2", "httpcore2")
"""Libraries that tell of every file, call, request, header and frame: only their warnings are of use."""


class Writer:
    """A thread that writes lines to a file, in order. The file may be slow, stuck or gone: callers never notice."""

    def __init__(self, descriptor: int, report: Callable[[int], bytes]) -> None:
        """Write to `descriptor`; `report` makes the line that tells how many events were lost."""
        self._descriptor = os.dup(descriptor)
        self._report = report
        self._lines: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._dropped = 0
        self.lost = 0
        """How many events were lost, ever."""
        self._idle = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many events were lost and not yet reported."""
        return self._dropped

    def writes_to(self, descriptor: int) -> bool:
        # What os.path.sameopenfile does, without the stat by name that it might be taken for.
        ours, theirs = os.fstat(self._descriptor), os.fstat(descriptor)
        return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)

    def write(self, line: bytes) -> None:
        """Have `line` written, or count it as dropped when too much is waiting already."""
        with self._idle:
            if self._waiting + len(line) > LIMIT:
                self._dropped += 1
                self.lost += 1
                return
            self._queue(line, 1)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long; return whether it is."""
        with self._idle:
            return self._idle.wait_for(lambda: self._waiting == 0, seconds)

    def close(self) -> None:
        """Have the thread end after what is waiting."""
        self._lines.put(None)

    def _queue(self, line: bytes, events: int) -> None:
        self._waiting += len(line)
        self._lines.put((line, events))

    def _run(self) -> None:
        while (item := self._lines.get()) is not None:
            line, events = item
            lost = 0 if _written(self._descriptor, line) else events
            with self._idle:
                self._waiting -= len(line)
                self._dropped += lost
                self.lost += lost
                if self._waiting == 0:
                    self._drained(lost)
        os.close(self._descriptor)

    def _drained(self, lost: int) -> None:
        # After a failed write the report would fail, too: it waits for the next line that can be written.
        if self._dropped and not lost:
            dropped, self._dropped = self._dropped, 0
            self._queue(self._report(dropped), dropped)
        else:
            self._idle.notify_all()


def _written(descriptor: int, line: bytes) -> bool:
    """Write all of `line`, however long that takes; return whether it could be done."""
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True


@dataclass(slots=True)
class _Output:
    """Where events go and how they look, now. Loggers are made once and look here every time."""

    rank: int
    console: Callable[[EventDict], str] | None
    writer: Writer | None


_output = _Output(_RANK["info"], None, None)
_count: Counter[tuple[str, str]] = Counter()
_last: deque[Mapping[str, object]] = deque(maxlen=50)
_history = History()
_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure(level: Level = "info", form: Format = "auto", descriptor: int = 1) -> None:
    """Write events from `level` on to `descriptor` from now on; may be called at any time.

    `auto` is for people when the descriptor is a terminal, and JSON otherwise.
    """
    _output.rank = _RANK[level]
    terminal = os.isatty(descriptor)
    _output.console = _console(colors=terminal) if form == "console" or (form == "auto" and terminal) else None
    if _output.writer is None or not _output.writer.writes_to(descriptor):
        if _output.writer is not None:
            _output.writer.close()
        _output.writer = Writer(descriptor, _report)
    structlog.configure(
        processors=[_gate, structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=_Sink,
        cache_logger_on_first_use=False,  # tests replace the processors
    )
    _configure_libraries(_output.rank)


def flush(seconds: float) -> bool:
    """Wait until every event is written, at most so long; return whether it is."""
    return _output.writer is None or _output.writer.flush(seconds)


def counted() -> Mapping[tuple[str, str], int]:
    """Return how many lines there were, by event and level."""
    return dict(_count)


def last() -> tuple[Mapping[str, object], ...]:
    """Return the last lines, oldest first: time, level, event, and the keys of the event."""
    return tuple(_last)


def history() -> History:
    """Return what was said last of each thing, also what was not written out."""
    return _history


def lost() -> int:
    """Return how many lines could not be written since the output was configured."""
    return 0 if _output.writer is None else _output.writer.lost


def dropped() -> int:
    """Return how many events were lost and not yet reported."""
    return 0 if _output.writer is None else _output.writer.dropped


class _Sink:
    """What structlog calls a logger: takes finished lines."""

    def __init__(self, *names: object) -> None:
        """Take the names given to `structlog.get_logger`, and do without them."""

    def write(self, line: bytes) -> None:
        _write(line)

    debug = info = warning = warn = error = critical = fatal = exception = write


class _Records(logging.Handler):
    """The way of libraries' records into our log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = f"{record.msg} {record.args}"
        keys = {"logger": record.name, "message": message, "exc_info": record.exc_info and record.exc_info[1]}
        _write(_line(_level(record.levelno), FOREIGN, keys))


_records = _Records()


def _configure_libraries(rank: int) -> None:
    root = logging.getLogger()
    root.setLevel(rank)
    if _records not in root.handlers:
        root.addHandler(_records)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(rank, logging.WARNING))
    logging.captureWarnings(capture=True)


def _level(number: int) -> Level:
    return next((name for name in reversed(get_args(Level)) if number >= _RANK[name]), "debug")


def _write(line: bytes) -> None:
    if _output.writer is not None:
        _output.writer.write(line)


def _gate(_logger: object, method: str, event: EventDict) -> EventDict:
    if _RANK[method] >= _RANK["info"]:
        _history.note(method, str(event.get("event", "")), event)
    if _RANK[method] < _output.rank:
        raise structlog.DropEvent
    return event


def _render(_logger: object, method: str, event: EventDict) -> bytes:
    return _line(method, str(event.pop("event", "")), event)


def _report(count: int) -> bytes:
    return _line("warning", DROPPED, {"count": count})


def _line(level: str, event: str, keys: Mapping[str, object]) -> bytes:
    _count[event, level] += 1
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record: dict[str, object] = {"time": time, "level": level, "event": event}
    for key, value in keys.items():
        if key != "exc_info":
            record.setdefault(key, value)
        elif (error := _exception(value)) is not None:
            record["exception"] = "".join(traceback.format_exception(error)).rstrip()
    _last.append(record)
    if _output.console is None:
        return _json(record)
    return _output.console(record).encode(errors="backslashreplace") + b"\n"


def _json(record: dict[str, object]) -> bytes:
    try:
        return _encoder.encode(record) + b"\n"
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError):
        # A value that JSON cannot say (a file name that is no text, a number of 100 digits) is said in Python's words.
        return _encoder.encode({key: _spelled(value) for key, value in record.items()}) + b"\n"


def _spelled(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text.encode("ascii", "backslashreplace").decode()


def _exception(value: object) -> BaseException | None:
    match value:
        case BaseException() as error:
            return error
        case True:
            return sys.exception()
        case _:
            return None


def _console(*, colors: bool) -> Callable[[EventDict], str]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
    )

    def console(record: EventDict) -> str:
        return renderer(None, "", record)

    return console
