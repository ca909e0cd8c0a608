"""One line for each event, in one form whoever speaks, and nobody ever waits for whoever reads it."""

import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
import structlog

from intel_agent import log as logs

log = structlog.get_logger()

LEVELS = ["debug", "info", "warning", "error"]


class Output:
    """Where events are written to in a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def text(self) -> str:
        assert logs.flush(60)
        return self.path.read_text(encoding="utf-8")

    def events(self) -> list[dict[str, object]]:
        events = [json.loads(line) for line in self.text().splitlines()]
        for event in events:
            event.pop("time")
        return events


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    to = Output(tmp_path / "log")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure("info", "json", to.descriptor)
    yield to
    with open(os.devnull, "wb") as nowhere:
        logs.configure("info", "json", nowhere.fileno())
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    os.close(to.descriptor)


def test_an_event_is_one_line_of_json(output: Output) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # what the log has of time
    log.info("device.added", device="card0", numa=(0, 1))
    (line,) = output.text().splitlines()
    event = json.loads(line)
    assert list(event) == ["time", "level", "event", "device", "numa"]
    assert before <= datetime.fromisoformat(event["time"]) <= datetime.now(UTC)
    assert event["time"][-5] == "."
    assert event["time"].endswith("Z")
    assert {**event, "time": ""} == {
        "time": "",
        "level": "info",
        "event": "device.added",
        "device": "card0",
        "numa": [0, 1],
    }


def test_keys_cannot_replace_what_every_line_has(output: Output) -> None:
    log.info("device.added", level="x")
    assert output.events() == [{"level": "info", "event": "device.added"}]


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_obeyed_at_once(output: Output, level: logs.Level) -> None:
    bound = log.bind(backend="gpu")
    logs.configure("error", "json", output.descriptor)
    bound.warning("a.unheard")
    logging.getLogger("asyncio").warning("unheard")
    logs.configure(level, "json", output.descriptor)
    for method in (bound.debug, bound.info, bound.warning, bound.error):
        method("a.said")
    logging.getLogger("asyncio").debug("said")
    heard = [event["level"] for event in output.events() if event["event"] == "a.said"]
    assert heard == LEVELS[LEVELS.index(level) :]
    assert len(output.events()) == len(heard) + (level == "debug")


def test_libraries_speak_in_the_same_form(output: Output) -> None:
    logging.getLogger("pyroute2").info("Request was cancelled: %s", "lost")
    # Not through the logger, because pytest's own handler refuses what a careless library might say.
    (ours,) = (each for each in logging.getLogger().handlers if type(each).__module__ == logs.__name__)
    ours.handle(logging.LogRecord("asyncio", logging.CRITICAL, "", 1, "broken %d", ("format",), None))
    logging.getLogger("watchfiles.main").info("1 change detected")
    first, second = output.events()
    assert first == {
        "level": "info",
        "event": "library.logged",
        "logger": "pyroute2",
        "message": "Request was cancelled: lost",
    }
    assert second == {
        "level": "error",
        "event": "library.logged",
        "logger": "asyncio",
        "message": "broken %d ('format',)",
    }


def in_a_new_process(script: str) -> str:
    command = [sys.executable, "-W", "always", "-c", f"from intel_agent import log; {script}"]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout


def test_warnings_are_events() -> None:
    event = json.loads(in_a_new_process("import warnings; log.configure(); warnings.warn('old'); log.flush(60)"))
    assert (event["level"], event["event"], event["logger"]) == ("warning", "library.logged", "py.warnings")
    assert "UserWarning: old" in event["message"]


def fail(word: str) -> None:
    raise ValueError("no") from KeyError(len(word))


def test_exceptions_come_with_their_cause_and_without_locals(output: Output) -> None:
    try:
        fail("drowssap"[::-1])
    except ValueError as error:
        log.exception("a.failed")
        logging.getLogger("grpclib").exception("Application error")
        log.error("a.failed", exc_info=error)
    log.error("a.failed", exc_info=None)
    *told, last = output.events()
    assert [event["exception"] for event in told] == [told[0]["exception"]] * 3
    assert str(told[0]["exception"]).startswith("KeyError: 8\n\nThe above exception was the direct cause")
    assert str(told[0]["exception"]).endswith("ValueError: no")
    assert "password" not in output.text()
    assert "exception" not in last


def test_values_that_json_cannot_say_are_said_in_words(output: Output) -> None:
    log.info("a.said", path=Path("/x"), names=frozenset({"b"}))
    log.info("a.said", file="\udcff", number=10**30)
    assert output.events() == [
        {"level": "info", "event": "a.said", "path": "PosixPath('/x')", "names": ["b"]},
        {"level": "info", "event": "a.said", "file": "\\udcff", "number": "1" + "0" * 30},
    ]


def test_people_get_text(output: Output) -> None:
    logs.configure("info", "console", output.descriptor)
    try:
        fail("drowssap"[::-1])
    except ValueError:
        log.exception("a.failed", device="\udcff")
    text = output.text()
    assert "[error    ] a.failed" in text
    assert "device=\\udcff\n" in text
    assert text.endswith("ValueError: no\n")
    assert "\x1b" not in text


def test_a_terminal_gets_colours_and_a_pipe_json(output: Output) -> None:
    ours, theirs = os.openpty()
    logs.configure("info", "auto", theirs)
    log.info("a.said")
    assert logs.flush(60)
    assert b"\x1b" in os.read(ours, 1000)
    logs.configure("info", "auto", output.descriptor)
    log.info("a.said")
    assert len(output.events()) == 1
    os.close(ours)
    os.close(theirs)


def test_context_of_the_task_is_added(output: Output) -> None:
    with structlog.contextvars.bound_contextvars(resource="gpu.intel.com/i915"):
        log.info("a.said")
    assert output.events() == [{"level": "info", "event": "a.said", "resource": "gpu.intel.com/i915"}]


def test_captured_events_need_no_output() -> None:
    with structlog.testing.capture_logs() as captured:
        log.info("a.said", device="x")
    assert captured == [{"event": "a.said", "log_level": "info", "device": "x"}]


@pytest.fixture
def pipe(output: Output) -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe that nobody reads, into which events are written."""
    del output  # it puts everything back afterwards
    reader, writer = os.pipe()
    logs.configure("info", "json", writer)
    yield reader, writer
    os.close(writer)


def drained(reader: int) -> list[dict[str, object]]:
    """Return every event that comes out of the pipe until nothing is left to write."""
    chunks: list[bytes] = []
    os.set_blocking(reader, False)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        finished = logs.flush(0.01)
        try:
            while chunk := os.read(reader, 1 << 20):
                chunks.append(chunk)
        except BlockingIOError:
            if finished:
                break
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "not blocking"])
def test_output_that_nobody_reads_blocks_nobody(pipe: tuple[int, int], *, blocking: bool) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    for number in range(20_000):
        log.info("a.said", number=number, text="x" * 100)
    assert not logs.flush(0.01)
    lost = logs.dropped()
    assert lost > 10_000
    events = drained(reader)
    assert logs.dropped() == 0
    assert {**events[-1], "time": ""} == {"time": "", "level": "warning", "event": "log.dropped", "count": lost}
    numbers = [int(str(event["number"])) for event in events[:-1]]
    assert len(numbers) == 20_000 - lost
    assert numbers == sorted(set(numbers))
    log.info("a.heard")
    assert drained(reader)[-1]["event"] == "a.heard"
    os.close(reader)


@pytest.mark.anyio
@pytest.mark.usefixtures("output")
async def test_it_is_configured_on_the_event_loop(tmp_path: Path) -> None:
    with (tmp_path / "other").open("wb") as other:  # the file is the test's own
        logs.configure("info", "json", other.fileno())
        logs.configure("debug", "console", other.fileno())
    log.info("a.said")


@pytest.mark.anyio
async def test_the_event_loop_runs_while_nobody_reads(pipe: tuple[int, int]) -> None:
    for _ in range(200):  # a loop that waited for the output would stay in the first of them for ever
        for _ in range(50):
            log.info("a.said", text="x" * 100)
        await anyio.lowlevel.checkpoint()
    assert logs.dropped() > 0
    os.close(pipe[0])


def test_a_reader_that_went_away_harms_nobody(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    for _ in range(3):
        log.info("a.said")
    assert logs.flush(60)
    assert logs.dropped() == 3


@pytest.mark.usefixtures("output")
def test_what_could_not_be_written_is_reported_when_it_can_be_again(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    logs.configure("info", "json", writer)
    os.close(first)
    log.info("a.lost")
    assert logs.flush(60)
    second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log.info("a.said")
    events = drained(second)
    assert [event["event"] for event in events] == ["a.said", "log.dropped"]
    assert events[-1]["count"] == 1
    os.close(writer)
    os.close(second)


def test_a_report_that_is_lost_too_is_not_forgotten() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    ours = logs.Writer(writer, lambda count: b"%d lost\n" % count)
    ours.write(b"x" * 4095 + b"\n")
    while ours.dropped == 0:
        ours.write(b"y" * 1000)
    lost = ours.dropped
    os.close(reader)
    assert ours.flush(60)
    assert ours.dropped > lost
    ours.close()
    os.close(writer)


def test_the_same_place_keeps_its_writer(output: Output) -> None:
    before = set(threading.enumerate())  # some of an earlier test may be ending
    for _ in range(3):
        logs.configure("debug", "json", output.descriptor)
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("output")
def test_the_writer_sleeps_while_there_is_nothing_to_say() -> None:
    log.info("a.said")
    assert logs.flush(60)
    names = {thread.name: thread.native_id for thread in threading.enumerate()}
    status = Path(f"/proc/self/task/{names['log']}/status")

    def switches() -> list[str]:
        return [line for line in status.read_text().splitlines() if "ctxt_switches" in line]

    deadline = time.monotonic() + 60
    before, now = [""], switches()
    while now != before:  # it may have been on its way to sleep
        assert time.monotonic() < deadline
        time.sleep(0.3)  # long enough for a writer that polls to wake
        before, now = now, switches()


def test_before_it_is_configured_nothing_waits() -> None:
    assert in_a_new_process("print(log.flush(0), log.dropped()); log._write(b'')") == "True 0\n"


def test_rich_is_not_loaded_for_the_sake_of_the_log() -> None:
    assert in_a_new_process("import sys; log.configure(); print('rich' in sys.modules)") == "False\n"
    assert in_a_new_process("import rich.table; print(rich.__name__)") == "rich\n"
