"""xpumd's word counts, whatever becomes of xpumd."""

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent import statefile
from intel_agent.health import xpumd as client
from intel_agent.simulation.kubelet import SimulatedKubelet

from .judge import about, xpumd
from .log import Log
from .node import XE_CARD, Node
from .running import Running, running
from .test_health import happen, until_health
from .waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.anyio

ADDRESS = XE_CARD.rpartition("/")[2]
WELL = about(ADDRESS, {"memory": 1, "bus": 1})
ILL = about(ADDRESS, {"memory": 3, "bus": 1})


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent ask again soon, however often it was in vain."""
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.2)


@pytest.fixture
def path(node: Node) -> Path:
    node.configure(health={"xpumd": {"socket": str(node.base / "x" / "xpumd.sock")}})
    (node.base / "x").mkdir()
    return node.base / "x" / "xpumd.sock"


@pytest.fixture
async def judged(path: Path, node: Node, kubelet: SimulatedKubelet, log: Log) -> AsyncIterator[Running]:
    """Give an agent that asks xpumd."""
    del path, kubelet, log
    async with running(node) as it:
        yield await it.until_registered()


async def until_heard(agent: Running, *, heard: bool = True) -> None:
    await until(lambda: agent.agent.judge.heard is heard, f"xpumd heard: {heard}")


async def until_event(log: Log, event: str, problem: str = "", file: str = "") -> None:
    """Wait for a line of the event that says this, among other things."""

    async def said() -> bool:
        return any(problem in each.problem and file in each.file for each in await log.lines(event))

    await until_async(said, event)


def words(agent: Running) -> set[str]:
    """Return what is wrong with the card, in the words of the judge."""
    (card,) = (each for each in agent.agent.inventory.value.devices if each.sysfs_path == XE_CARD)
    return {f"{each.reason}: {each.detail}" for each in card.faults | card.warnings if each.source == "xpumd"}


async def test_what_xpumd_says_counts_at_once(path: Path, judged: Running) -> None:
    with xpumd(path, WELL) as judge:
        await until_heard(judged)
        await until_health(judged, "Healthy")
        judge.say(ILL)
        await until_health(judged, "Unhealthy")
        assert words(judged) == {"judged-critical: memory: word: a sentence"}
        judge.say(WELL)
        await until_health(judged, "Healthy")
        judge.say(about(ADDRESS, {"memory": 2}))
        await until(lambda: words(judged) == {"judged-warning: memory: word: a sentence"}, "a warning")
        await until_health(judged, "Healthy")


async def test_what_nobody_knows_changes_nothing(path: Path, judged: Running, log: Log) -> None:
    with xpumd(path, ILL) as judge:
        await until_health(judged, "Unhealthy")
        judge.say(about("0000:ff:1f.7", {"memory": 4}))
        judge.say(about("no address", {"memory": 4}))
        judge.say(about(ADDRESS, {"memory": 77}))
        await until_event(log, "judge.ignored")
        judge.say(about("0000:ff:1f.7", {"memory": 1}))
        judge.say(about(ADDRESS, {"memory": 77}))
        judge.say(about("0000:ff:1f.7", {"memory": 78}))
        await until_event(log, "judge.ignored", problem="78")
        ignored = [each.device for each in await log.lines("judge.ignored")]
        assert ignored == ["no address", ADDRESS, "0000:ff:1f.7"]
        assert words(judged) == {"judged-critical: memory: word: a sentence"}
        assert judged.agent.judge.heard


async def test_while_xpumd_is_away_its_last_word_counts_and_it_is_heard_again(
    path: Path, judged: Running, log: Log
) -> None:
    with xpumd(path, ILL):
        await until_health(judged, "Unhealthy")
    await until_heard(judged, heard=False)
    judged.hint()
    assert words(judged)
    await until_event(log, "judge.unavailable")
    with xpumd(path, WELL):
        await until_heard(judged)
        await until_health(judged, "Healthy")


async def test_the_next_agent_knows_what_was_said_although_xpumd_is_away(
    path: Path, node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    del kubelet, log
    async with running(node) as agent:
        await agent.until_registered()
        with xpumd(path, ILL):
            await until_health(agent, "Unhealthy")
            await until((node.runtime / client.FILE).exists, "the word to be kept")
    async with running(node) as agent:
        await agent.until_registered()
        await until_health(agent, "Unhealthy")
        agent.hint()
        assert words(agent)


async def test_what_was_said_is_forgotten_by_an_agent_that_asks_nobody(
    path: Path, node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    del kubelet, log
    async with running(node) as agent:
        await agent.until_registered()
        with xpumd(path, ILL):
            await until_health(agent, "Unhealthy")
            await until((node.runtime / client.FILE).exists, "the word to be kept")
    node.configure()
    async with running(node) as agent:
        await agent.until_registered()
        await until(lambda: ADDRESS not in (node.runtime / client.FILE).read_text(), "a file without words")
    node.configure(health={"xpumd": {"socket": str(path)}})
    async with running(node) as agent:
        await agent.until_registered()
        await until_health(agent, "Healthy")


async def test_a_call_that_ends_is_made_again(path: Path, judged: Running) -> None:
    with xpumd(path, WELL) as judge:
        await until_heard(judged)
        judge.hang_up()
        await until(lambda: judge.calls > 1, "another call")
        judge.say(ILL)
        await until_health(judged, "Unhealthy")


async def test_who_is_not_asked_any_more_does_not_count(node: Node, path: Path, judged: Running) -> None:
    with xpumd(path, ILL):
        await until_health(judged, "Unhealthy")
        node.configure()
        await until_health(judged, "Healthy")
        assert judged.agent.judge.heard is None
        node.configure(health={"xpumd": {"socket": str(path)}})
        await until_health(judged, "Unhealthy")


async def test_when_a_card_leaves_what_was_said_of_it_is_forgotten(path: Path, judged: Running) -> None:
    with xpumd(path, ILL):
        await until_health(judged, "Unhealthy")
    await until_heard(judged, heard=False)
    happen(judged, "remove", XE_CARD.removeprefix("/sys"), "pci", SYNTH_UUID="0")
    assert words(judged)
    happen(judged, "remove", XE_CARD.removeprefix("/sys"), "pci")
    judged.hint()
    await until(lambda: not words(judged), "no word of it")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="damaged"),
        pytest.param('{"version": 99, "boot": "BOOT"}', id="another version"),
        pytest.param(
            '{"version": 1, "boot": "BOOT", "words": {"ADDRESS": {"memory": '
            '{"severity": 5, "cause": "", "sentence": ""}}}}',
            id="a severity that nobody knows",
        ),
    ],
)
async def test_a_file_of_words_that_is_no_good_is_ignored(
    node: Node, path: Path, kubelet: SimulatedKubelet, log: Log, content: str
) -> None:
    del path, kubelet
    node.runtime.mkdir()
    boot = await to_thread.run_sync(statefile.boot)
    text = content.replace("BOOT", boot).replace("ADDRESS", ADDRESS)
    (node.runtime / client.FILE).write_text(text)
    async with running(node) as agent:
        await agent.until_registered()
        await until_health(agent, "Healthy")
    assert "state.refused" in await log.events()


async def test_without_a_place_for_words_they_count(
    node: Node, path: Path, kubelet: SimulatedKubelet, log: Log
) -> None:
    del kubelet
    node.runtime.write_text("no directory")
    async with running(node) as agent:
        await agent.until_registered()
        with xpumd(path, ILL):
            await until_health(agent, "Unhealthy")
            await until_event(log, "state.failed", file=str(node.runtime / client.FILE))


async def test_words_that_could_not_be_kept_are_kept_as_soon_as_they_can_be(
    node: Node, path: Path, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kubelet
    monkeypatch.setattr(client, "AGAIN", 0.1)
    node.runtime.write_text("no directory")
    async with running(node) as agent:
        await agent.until_registered()
        with xpumd(path, ILL):
            await until_event(log, "state.failed", file=str(node.runtime / client.FILE))
            node.runtime.unlink()
            await until((node.runtime / client.FILE).exists, "the word to be kept")
    failed = [each for each in await log.lines("state.failed") if each.file.endswith(client.FILE)]
    assert len(failed) == 1


async def test_a_directory_that_was_made_anew_is_told_of(node: Node, path: Path, judged: Running, log: Log) -> None:
    directory = os.open(path.parent, os.O_PATH)
    try:
        path.parent.rmdir()
        node.configure(health={"xpumd": {"socket": f"/proc/self/fd/{directory}/xpumd.sock"}})
        await until_event(log, "judge.unavailable", problem="restart the pod")
    finally:
        os.close(directory)
    assert not judged.agent.judge.heard


PREFACE = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def nonsense(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(PREFACE + b"\xff" * 100)


def http1(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def hang(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@contextmanager
def impostor(path: Path, serve: Callable[[socket.socket], None]) -> Generator[list[socket.socket]]:
    """Listen in xpumd's place until the block ends; give who came."""
    came: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                came.append(connection)
                with connection:
                    connection.settimeout(60)
                    try:
                        serve(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            path.unlink()
            with suppress(OSError):  # closed already
                came[-1].shutdown(socket.SHUT_RDWR)
    thread.join(60)


@pytest.mark.parametrize("serve", [nonsense, http1, hang, reset], ids=lambda each: each.__name__)
async def test_whatever_is_in_its_place_xpumd_is_asked_again_and_again(
    path: Path, judged: Running, log: Log, serve: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with xpumd(path, ILL):
        await until_health(judged, "Unhealthy")
    await until_heard(judged, heard=False)
    monkeypatch.setattr(client, "ASKING", 0.3)
    monkeypatch.setattr(client, "FIRST_WORD", 0.3)
    with impostor(path, serve) as came:
        await until(lambda: len(came) > 1, "a second try")
        assert words(judged)
    monkeypatch.setattr(client, "ASKING", PATIENCE)
    monkeypatch.setattr(client, "FIRST_WORD", PATIENCE)
    with xpumd(path, WELL):
        await until_health(judged, "Healthy")
    assert "judge.unavailable" in await log.events()


async def test_answers_that_cannot_be_read_are_no_words(path: Path, judged: Running) -> None:
    with xpumd(path, ILL) as judge:
        await until_health(judged, "Unhealthy")
        judge.say(b"\x0a\xff")
        await until_heard(judged, heard=False)
        assert words(judged)
        judge.first = [WELL]
        await until_health(judged, "Healthy")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the agent be quicker to trust."""
    monkeypatch.setattr(client, "STEADY", 2.0)


@pytest.mark.usefixtures("hasty")
async def test_who_fails_after_each_word_is_logged_once_until_it_is_heard_for_a_while(
    path: Path, judged: Running, log: Log
) -> None:
    await until_event(log, "judge.unavailable")
    with xpumd(path, WELL, b"\x0a\xff") as judge:
        await until(lambda: judge.calls > 3, "more calls")
        problems = [each.problem for each in await log.lines("judge.unavailable")]
        assert sorted(problems) == sorted(set(problems))
        assert "judge.available" not in await log.events()
        judge.first = [WELL]
        await until_heard(judged)
        await until_event(log, "judge.available")


async def test_who_says_nothing_for_too_long_is_asked_anew(
    path: Path, judged: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SILENCE", 0.3)
    with xpumd(path, WELL) as judge:
        await until(lambda: judge.calls > 1, "another call")
        assert judged.agent.judge.heard


async def test_who_ends_calls_without_a_word_is_not_heard(path: Path, judged: Running, log: Log) -> None:
    with xpumd(path) as judge:
        while judge.calls < 2:
            judge.hang_up()
            await anyio.sleep(0.05)
        assert judged.agent.judge.heard is False
        await until_event(log, "judge.unavailable", problem="without a word")
