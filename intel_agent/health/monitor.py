"""The only writer of the inventory: what was seen, with what messages told of it, and what the record remembers."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, get_args

import anyio
import structlog
from anyio import to_thread

from intel_agent import statefile
from intel_agent.backends import Backend
from intel_agent.config import Config
from intel_agent.errors import AgentError
from intel_agent.health import announce, fate, judges, marks, messages, state
from intel_agent.health.bodies import Bodies
from intel_agent.health.judges import Words
from intel_agent.health.lives import lives
from intel_agent.health.marks import Mark, Marks
from intel_agent.health.record import Acting, Record
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.model import Event, Verdict
from intel_agent.sysfs import Host

log = structlog.get_logger()

LAST_WRITE = 1.0
"""Seconds that an agent which ends takes to keep what it was told last: no file of a wedged card says it again."""


class Monitor:
    """Follows what was seen and what happens; its record is touched on the event loop only."""

    def __init__(
        self,
        config: Latest[Config],
        host: Host,
        seen: Latest[Inventory],
        inventory: Latest[Inventory],
        *,
        words: Latest[Words],
        doubt: Callable[[Iterable[str]], None],
        directory: str,
        marks_directory: str,
    ) -> None:
        """Make of `seen`, what looks found, and `words`, what judges say, the `inventory` that everybody follows.

        `doubt` is told the kinds that should be looked at again before it is sure what is wrong with them.
        In `directory` the record is kept for the agent that comes after this one, in `marks_directory` what an
        administrator said.
        """
        self._config = config
        self._host = host
        self._seen = seen
        self._inventory = inventory
        self._words = words
        self._doubt = doubt
        self._directory = directory
        self._marks_directory = marks_directory
        self._marks: Marks = {}
        self._marking = anyio.Lock()
        self._judging = anyio.Lock()
        self._recalled = False
        """Whether it is known what the agent before this one knew: until then its files are left alone."""
        self._boot = ""
        self._record = self._kept = Record()
        self._unkept = ""
        self._bodies = Bodies()
        self._revisions = (0, 0)
        self._woken = anyio.Event()
        self._settled = anyio.Event()
        self._problems: dict[str, str] = {}

    @property
    def _recovery(self) -> float:
        return self._config.value.health.recovery_seconds

    def happened(self, event: Event, backends: Iterable[Backend]) -> None:
        """Take in a message of the kernel; `backends` are those to whose devices it may matter."""
        if messages.synthetic(event):
            return
        now, recovery, bodies = anyio.current_time(), self._recovery, self._bodies
        record = messages.understood(self._record, event, now, recovery, bodies)
        for backend in backends:
            for verdict in self._diagnosed(backend, event):
                record = record.told(backend.name, verdict, now, recovery, bodies)
        if record is not self._record:
            self._remember(record)
            self._woken.set()

    def _remember(self, record: Record) -> None:
        """Go on with another record."""
        before, self._record = self._record, record
        announce.damped(before, record, self._recovery)

    def _diagnosed(self, backend: Backend, event: Event) -> tuple[Verdict, ...]:
        """Return what a kind makes of a message; nothing, and a word in the log, when it cannot."""
        try:
            verdicts = tuple(backend.diagnose(event))
        except Exception as error:  # the border of one kind
            problem = f"unexpected: {error!r}"
            if self._problems.get(backend.name) != problem:
                log.error("diagnosis.failed", backend=backend.name, problem=problem, exc_info=error)
            self._problems[backend.name] = problem
            return ()
        return verdicts

    def look(self) -> None:
        """Compare with what is there, soon: messages may have been lost."""
        self._woken.set()

    async def run(self) -> None:
        """Keep the inventory true, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._wake, self._seen)
            group.start_soon(self._wake, self._words)
            group.start_soon(self._wake, self._config)
            group.start_soon(self._keep)
            while True:
                await self._due()
                await self._settle()

    async def recall(self) -> None:
        """Take over from the agent that served the node until now: what it knew counts before a device is offered."""
        await self._read()
        self._recalled = True
        await self._settle()

    async def _settle(self) -> None:
        async with self._judging:
            await self._judge()
        self._settled.set()

    async def _read(self) -> None:
        """Read what the agent before this one kept."""
        try:
            self._marks = await to_thread.run_sync(marks.read, self._marks_directory)
        except (OSError, ValueError) as error:
            log.warning("state.refused", file=f"{self._marks_directory}/{marks.FILE}", problem=str(error))
        try:
            self._boot = await to_thread.run_sync(statefile.boot)
            recalled = await to_thread.run_sync(state.read, self._directory, self._boot)
        except (OSError, ValueError) as error:
            log.warning("state.refused", file=f"{self._directory}/{state.FILE}", problem=str(error))
            return
        # What was told meanwhile is newer.
        conditions = {**recalled.conditions, **self._record.conditions}
        self._record, self._kept = Record(conditions, recalled.counts), recalled
        self._revisions = (0, 0)  # what was seen meanwhile was compared with nothing

    async def _keep(self) -> None:
        """Keep the record for the agent after this one, for ever; nobody waits for that but who ends this one."""
        try:
            while True:
                await self._settled.wait()
                self._settled = anyio.Event()
                await self._write()
        finally:
            with anyio.move_on_after(LAST_WRITE, shield=True):
                await self._write(abandon=True)

    async def _write(self, *, abandon: bool = False) -> None:
        """Keep what is new; with `abandon` a disk that does not answer holds nobody up."""
        record, problem = self._record, ""
        if not (self._recalled and self._boot) or record == self._kept:
            return
        write = partial(state.write, self._directory, self._boot, record)
        try:
            await to_thread.run_sync(write, abandon_on_cancel=abandon)
            self._kept = record
        except OSError as error:
            problem = str(error)
        if problem not in {"", self._unkept}:
            log.warning("state.failed", file=f"{self._directory}/{state.FILE}", problem=problem)
        self._unkept = problem

    async def mark(self, name: str, word: str, reason: str) -> tuple[str, ...]:
        """Take an administrator's word about a device; return what was done, in words.

        Raises:
            AgentError: there is no such device or word, or it cannot be remembered.
        """
        if word not in get_args(marks.Word):
            raise AgentError(f"{word!r} is none of: {', '.join(get_args(marks.Word))}")
        async with self._marking:
            places = marks.places(self._inventory.value, name)
            kept = {place: each for place, each in self._marks.items() if place not in places}
            if word != "auto":
                mark = Mark("healthy" if word == "healthy" else "unhealthy", reason)
                kept |= dict.fromkeys(places, mark)
            try:
                await to_thread.run_sync(marks.write, self._marks_directory, kept)
            except OSError as error:
                raise AgentError(f"it cannot be remembered, so it does not count: {error}") from error
            self._marks = kept
        for kind, path in places:
            if word == "healthy":
                self._remember(self._record.forgiven(path))
            log.warning("device.marked", backend=kind, device=path, word=word, reason=reason)
        self._woken.set()
        return tuple(f"{kind} {path}: {word}" for kind, path in places)

    async def _wake(self, latest: Latest[Any]) -> None:
        """Have devices judged whenever there is a newer value."""
        revision = 0
        while True:
            _, revision = await latest.newer(revision)
            self._woken.set()

    async def _due(self) -> None:
        """Wait until there is something new, or time makes a difference."""
        now = anyio.current_time()
        pauses = [self._record.moment(now, self._recovery) - now]
        if self._record.telling:  # a message of the end may be lost, too
            pauses.append(self._config.value.health.rescan_seconds)
        with anyio.move_on_after(min(pauses)):
            await self._woken.wait()
        self._woken = anyio.Event()

    async def _judge(self) -> None:
        """Put together what was seen and what was told, and say what is new."""
        seen, revisions = self._seen.value, (self._seen.revision, self._words.revision)
        if self._revisions != revisions:
            again, self._revisions = self._revisions[0] == revisions[0], revisions
            self._bodies, witnessed = await to_thread.run_sync(_witnessed, seen, self._words.value)
            now = anyio.current_time()
            self._remember(self._record.seen(witnessed, now, self._recovery, self._bodies, again=again))
            if doubtful := {key.kind for key, each in self._record.conditions.items() if now < each.acts}:
                self._doubt(doubtful)
        if paths := {key.path for key in self._record.telling}:
            found = await to_thread.run_sync(lives, self._host, paths)
            self._remember(self._record.living(found, anyio.current_time(), self._bodies))
        now = anyio.current_time()
        self._remember(self._record.elapsed(now, self._recovery))
        acting = self._record.acting(now, self._recovery)
        treatments = fate.treatments(self._config.value)
        judge = partial(_judged, seen, acting, treatments, self._marks)
        before = self._inventory.value
        if (inventory := await to_thread.run_sync(judge, before)) is not None:
            self._inventory.set(inventory)  # first: who offers devices waits for nothing else
            await to_thread.run_sync(announce.changed, before, inventory)


def _witnessed(seen: Inventory, words: Words) -> tuple[Bodies, Inventory]:
    return Bodies.of(seen), judges.witnessed(seen, words)


def _judged(
    seen: Inventory, acting: Iterable[Acting], treatment: fate.Treatments, words: Marks, before: Inventory
) -> Inventory | None:
    """Return the new inventory; `None` when nothing changed since `before`."""
    inventory = fate.judged(seen, acting, treatment, words).keeping(before)
    return None if inventory == before else inventory
