"""Hears xpumd, which judges graphics cards, for as long as the configuration names its socket.

Source: its published health service (protos/deviceinfo.proto). A stream begins with how all cards are, and goes on with
how they are now.
"""

import os
from collections.abc import Callable, Iterable

import anyio
import msgspec
import structlog
from anyio import to_thread
from grpclib.client import UnaryStreamMethod

from intel_agent import statefile
from intel_agent._proto import deviceinfo
from intel_agent.backoff import BackOff
from intel_agent.client import calling
from intel_agent.config import Config
from intel_agent.errors import JudgeError
from intel_agent.health import judges, messages
from intel_agent.health.judges import XPUMD, Said, Statement, Unclear, Words
from intel_agent.latest import Latest
from intel_agent.model import Event

METHOD = "/deviceinfo.DeviceInfo/WatchDeviceHealth"
ASKING = 5.0
"""Seconds that connecting and asking may take."""
FIRST_WORD = 30.0
"""Seconds until a judge that is connected has to say something."""
SILENCE = 300.0
"""Seconds without a word after which it is connected to anew: it may hang."""
STEADY = 30.0
"""Seconds that a connection has to last for the next try to be made at once, and that a judge has to be heard for its
problem to be over."""
LONGEST_PAUSE = 10.0
"""Seconds between two tries, at most."""

FILE = "judges.json"
VERSION = 1
LIMIT = 16 << 20
AGAIN = 10.0
"""Seconds after which it is tried again to keep what could not be kept."""

log = structlog.get_logger()


class _File(msgspec.Struct, frozen=True):
    """What is in the file."""

    version: int
    boot: str
    words: dict[str, dict[str, judges.Word]]


class Judge:
    """xpumd, as it is heard from here. Nothing is asked before the agent serves the node."""

    def __init__(self, config: Latest[Config], words: Latest[Words], *, directory: str) -> None:
        """Have `words` be what counts; in `directory` it is kept for the agent that comes after this one."""
        self._config = config
        self._words = words
        self._path = os.path.join(directory, FILE)
        self._boot = ""
        self._recalled = anyio.Event()
        self._kept: Words | None = None
        """What the file says, once that is known: while nobody is asked it says nothing."""
        self._unclear: Unclear = {}
        self._problem: str | None = None
        """Why it is not heard, as it was said last; nothing, once it was heard for `STEADY` seconds."""
        self._heard: Latest[bool | None] = Latest(None)

    @property
    def heard(self) -> bool | None:
        """Whether it was heard when it was asked last; `None` while nobody asks."""
        return self._heard.value

    @property
    def _socket(self) -> str:
        return self._config.value.health.xpumd.socket

    async def recall(self) -> None:
        """Take over from the agent that served the node until now: what was said last counts if it is asked still."""
        try:
            self._boot = await to_thread.run_sync(statefile.boot)
            content = await to_thread.run_sync(statefile.read, self._path, VERSION, self._boot)
            self._kept = msgspec.json.decode(content, type=_File).words if content else {}
        except (OSError, ValueError) as error:
            log.warning("state.refused", file=self._path, problem=str(error))
        if self._kept and self._socket:
            self._words.set(self._kept)
        self._recalled.set()

    def happened(self, event: Event) -> None:
        """Take in a message of the kernel: nothing that was said of a card means the one that comes after it."""
        if event.subsystem == "pci" and event.action == "remove" and not messages.synthetic(event):
            self._count(judges.without(self._words.value, event.path.rpartition("/")[2]))

    async def run(self) -> None:
        """Hear what there is to be heard, for ever."""
        await self._recalled.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep)
            group.start_soon(self._vouch)
            while True:
                socket = self._socket
                if socket:
                    async with anyio.create_task_group() as hearing:
                        hearing.start_soon(self._hear, socket)
                        await self._until_other_than(socket)
                        hearing.cancel_scope.cancel()
                else:
                    self._became(heard=None)
                    self._count({})
                    await self._until_other_than(socket)

    async def _until_other_than(self, socket: str) -> None:
        revision = self._config.revision
        while self._socket == socket:
            _, revision = await self._config.newer(revision)

    async def _hear(self, socket: str) -> None:
        """Connect to the judge, again and again."""
        self._became(heard=False)
        self._problem = None
        pauses = BackOff(most=LONGEST_PAUSE)
        while True:
            began = anyio.current_time()
            try:
                await listen(socket, self._say)
            except JudgeError as error:
                self._became(heard=False)
                problem = str(error) + await to_thread.run_sync(_explained, socket)
                if problem != self._problem:
                    log.warning("judge.unavailable", judge=XPUMD, problem=problem)
                self._problem = problem
            if anyio.current_time() - began >= STEADY:
                pauses.reset()
            await anyio.sleep(pauses.pause())

    def _say(self, said: Said) -> None:
        """Take in what it says of cards."""
        if not self.heard and self._problem is None:
            log.info("judge.available", judge=XPUMD)
        self._became(heard=True)
        words = judges.heard(self._words.value, said)
        before, self._unclear = self._unclear, judges.unclear(self._unclear, said, words)
        for address, problems in self._unclear.items():
            for problem in sorted(problems - before.get(address, frozenset())):
                log.warning("judge.ignored", judge=XPUMD, device=address, problem=problem)
        self._count(words)

    def _count(self, words: Words) -> None:
        if words != self._words.value:
            self._words.set(words)

    def _became(self, *, heard: bool | None) -> None:
        if heard is not self.heard:
            self._heard.set(heard)

    async def _vouch(self) -> None:
        """Say that a problem is over once it was so for a while, for ever: not at every try of many."""
        revision = self._heard.revision
        while True:
            heard, revision = await self._heard.newer(revision)
            with anyio.move_on_after(STEADY if heard else float("inf")) as steady:
                await self._heard.newer(revision)
            if steady.cancelled_caught and self._problem is not None:
                log.info("judge.available", judge=XPUMD)
                self._problem = None

    async def _keep(self) -> None:
        """Keep what counts for the agent after this one, for ever."""
        unkept = ""
        while True:
            words, revision = self._words.value, self._words.revision
            if words != self._kept:
                unkept = await self._written(words, unkept)
            with anyio.move_on_after(AGAIN if unkept else float("inf")):
                await self._words.newer(revision)

    async def _written(self, words: Words, unkept: str) -> str:
        """Write what counts; return why it cannot be written, which is said if it is not `unkept`, why it was not."""
        try:
            await to_thread.run_sync(self._write, words)
        except OSError as error:
            if str(error) != unkept:
                log.warning("state.failed", file=self._path, problem=str(error))
            return str(error)
        self._kept = words
        return ""

    def _write(self, words: Words) -> None:
        self._boot = self._boot or statefile.boot()
        whole = _File(VERSION, self._boot, {address: {**parts} for address, parts in words.items()})
        statefile.write(self._path, msgspec.json.encode(whole))


async def listen(socket: str, say: Callable[[Said], None]) -> None:
    """Hand over what is said, until the judge ends it or says nothing for too long.

    Raises:
        JudgeError: it cannot be heard, or not be understood.
    """
    request, answer = deviceinfo.WatchDeviceHealthRequest, deviceinfo.DeviceHealthResponse
    async with calling(socket, JudgeError) as channel:
        # A scope around the stream: however it ends, its end waits for nobody.
        with anyio.CancelScope() as patience:
            async with UnaryStreamMethod(channel, METHOD, request, answer).open() as stream:
                with anyio.fail_after(ASKING):
                    await stream.send_message(request(), end=True)
                with anyio.fail_after(FIRST_WORD):
                    message = await stream.recv_message()
                if message is None:
                    raise JudgeError("it ended the call without a word")
                while message is not None:
                    say(_said(message.devices))
                    patience.deadline = anyio.current_time() + SILENCE
                    message = await stream.recv_message()


def _said(cards: Iterable[deviceinfo.DeviceHealth]) -> Said:
    return [
        (_name(each), [Statement(part.name, part.severity, part.reason, part.message) for part in each.health])
        for each in cards
    ]


def _name(card: deviceinfo.DeviceHealth) -> str:
    return "" if card.info is None or card.info.pci is None else card.info.pci.bdf


def _explained(socket: str) -> str:
    """Return what a person has to know besides."""
    try:
        gone = os.stat(os.path.dirname(socket)).st_nlink == 0
    except OSError:
        return ""
    return "; its directory was made anew on the node: restart the pod, so that it sees the new one" if gone else ""
