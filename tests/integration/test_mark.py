"""`intel-agent mark`, by way of the agent's own socket."""

import errno
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

import anyio
import pytest
from anyio import to_thread

from intel_agent import control
from intel_agent.cli import main
from intel_agent.errors import AgentError
from intel_agent.health import marks
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import XE, XE_CARD, Node
from .running import Running, running
from .test_health import until_health
from .waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served(node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent whose socket is there."""
    del kubelet, log
    async with running(node) as it:
        await it.until_registered()
        await until((node.runtime / control.NAME).exists, "the socket")
        yield it


async def mark(node: Node, *words: str) -> int:
    """Run the command as a person would."""
    return await to_thread.run_sync(main, ["mark", *words, "--runtime-directory", str(node.runtime)])


def said(node: Node, line: bytes) -> bytes:
    """Send a line to the socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(control.DEADLINE + 2)
        client.connect(str(node.runtime / control.NAME))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


async def test_a_mark_counts_until_it_is_taken_back(node: Node, served: Running) -> None:
    assert await mark(node, "card0", "unhealthy", "--reason", "loud fan") == 0
    await until_health(served, "Unhealthy")
    (line,) = served.published[XE].listing.value.lines
    assert [each.detail for each in line.faults] == ["loud fan"]
    assert await mark(node, "0000:3b:00.0", "auto") == 0
    await until_health(served, "Healthy")
    assert (node.state / marks.FILE).exists()


async def test_a_mark_outlives_the_agent_and_the_boot(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    del kubelet, log
    node.state.mkdir()
    await to_thread.run_sync(marks.write, str(node.state), {("gpu", XE_CARD): marks.Mark("unhealthy")})
    async with running(node) as agent:
        await agent.until_registered([XE])
        await until_health(agent, "Unhealthy")


async def test_what_cannot_be_done_is_said(node: Node, served: Running, capsys: pytest.CaptureFixture[str]) -> None:
    del served
    assert await mark(node, "card9", "unhealthy") == 1
    assert "'card9' is no device here" in capsys.readouterr().err


async def test_a_name_that_is_no_utf_8_is_spelled(
    node: Node, served: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    del served
    assert await mark(node, "card\udcff", "unhealthy") == 1
    assert r"card\\udcff" in capsys.readouterr().err
    assert await mark(node, "card9", "unhealthy") == 1


async def test_without_an_agent_the_command_says_so(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert await mark(node, "card0", "auto") == 1
    assert "the agent does not answer" in capsys.readouterr().err


async def test_a_mark_that_cannot_be_remembered_does_not_count(node: Node, served: Running) -> None:
    node.state.write_text("no directory")
    assert await mark(node, "card0", "unhealthy") == 1
    await until_health(served, "Healthy")


async def test_the_socket_is_for_root_alone(node: Node, served: Running) -> None:
    del served
    assert (node.runtime / control.NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
async def test_another_user_is_refused_even_if_the_mode_lets_him_in(node: Node, served: Running) -> None:
    del served

    path = node.runtime / control.NAME
    node.base.chmod(0o755)
    path.chmod(0o666)
    script = "import socket, sys; c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); print(c.recv(999))"
    command = ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/env", "python3", "-c", script, str(path)]
    found = await to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, check=False, timeout=60))
    assert b"only root may ask" in found.stdout


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half a line"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(b'{"call": "mark", "more": 1}\n', id="another key"),
        pytest.param(b'{"call": "reboot"}\n', id="another call"),
        pytest.param(b'{"call": "mark", "arguments": {"device": "card0", "word": "dead"}}\n', id="another word"),
        pytest.param(b'{"call": "mark"}\n', id="no arguments"),
    ],
)
async def test_what_is_not_understood_harms_nobody(node: Node, served: Running, line: bytes) -> None:
    assert b'"problem":"' in await to_thread.run_sync(said, node, line)
    assert await mark(node, "card0", "unhealthy") == 0
    await until_health(served, "Unhealthy")


async def test_a_line_without_an_end_is_not_read_for_ever(node: Node, served: Running) -> None:
    def send() -> None:
        with suppress(ConnectionResetError, BrokenPipeError):
            said(node, b"x" * (control.LONGEST * 4))

    await to_thread.run_sync(send)
    assert await mark(node, "card0", "unhealthy") == 0
    await until_health(served, "Unhealthy")


async def test_who_finds_all_places_taken_is_told_so_in_time(
    node: Node, served: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    with ExitStack() as silent:
        for _ in range(control.MOST):
            silent.enter_context(socket.socket(socket.AF_UNIX)).connect(str(node.runtime / control.NAME))
        assert await mark(node, "card0", "unhealthy") == 1
    assert "others are asking" in capsys.readouterr().err
    monkeypatch.setattr(control, "PATIENCE", PATIENCE)
    assert await mark(node, "card0", "unhealthy") == 0
    await until_health(served, "Unhealthy")


async def test_what_an_agent_left_behind_is_replaced(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    del kubelet, log
    node.runtime.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(node.runtime / control.NAME))
    left = made(node)
    async with running(node) as agent:
        await agent.until_registered()
        await until_made_after(node, left)
        assert await mark(node, "card0", "unhealthy") == 0
    assert not (node.runtime / control.NAME).exists()


async def test_a_socket_that_is_there_answers(node: Node) -> None:
    """Who asks while an agent starts meets the socket of this one or of the one before."""
    refused, end = 0, Event()

    def ask() -> None:
        nonlocal refused
        while not end.is_set():
            with socket.socket(socket.AF_UNIX) as client:
                refused += client.connect_ex(str(node.runtime / control.NAME)) == errno.ECONNREFUSED

    async with anyio.create_task_group() as agents:
        async with anyio.create_task_group() as caller:
            caller.start_soon(to_thread.run_sync, ask)
            try:
                for _ in range(50):
                    before = made(node)
                    agents.start_soon(control.serve, str(node.runtime), dict[str, control.Call]())
                    await until_made_after(node, before)
            finally:
                end.set()
        agents.cancel_scope.cancel()
    assert refused == 0


async def test_an_agent_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "DEADLINE", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / control.NAME))
        silent.listen()
        with pytest.raises(AgentError, match="does not answer"):
            await to_thread.run_sync(control.ask, str(tmp_path), "mark", dict[str, str]())


async def test_an_agent_that_waits_leaves_the_socket_to_the_one_that_serves(node: Node, served: Running) -> None:
    """Else a mark would go to an agent that serves nobody, and the one that ends would take the other's socket."""
    async with running(node) as second:
        await until(lambda: second.looked, "looks of the second agent")
        assert await mark(node, "card0", "unhealthy") == 0
        await until_health(served, "Unhealthy")
        before = made(node)
        served.stop()
        await second.until_registered()
        await until_made_after(node, before)
        assert await mark(node, "card0", "auto") == 0


def made(node: Node) -> int | None:
    """Return when the socket was made, in ns: its inode's number may be the one of the socket before it."""
    with suppress(FileNotFoundError):
        return (node.runtime / control.NAME).stat().st_ctime_ns
    return None


async def until_made_after(node: Node, before: int | None) -> None:
    """Wait for a socket that is not the one that was made `before`."""
    await until(lambda: made(node) not in {None, before}, "the next agent's socket")


async def test_a_socket_that_cannot_be_made_is_said_and_made_later(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(control, "AGAIN", 0.05)
    place = node.runtime / control.NAME
    place.mkdir(parents=True)
    async with running(node) as agent:
        await agent.until_registered()

        async def said_so() -> bool:
            return bool(await log.lines("control.unavailable"))

        await until_async(said_so, "complaint")
        place.rmdir()
        await until(place.is_socket, "the socket")
        assert len(await log.lines("control.unavailable")) == 1
