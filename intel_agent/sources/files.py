"""Directories whose entries matter, by inotify. The only user of watchfiles: one watch over all of them.

Slow by choice (a second or so): watchfiles polls its own thread, 20 times a second by default. Nothing that must be
fast waits for it. `watch` in a worker thread and not `awatch`, which takes up to a step to end when it is cancelled.
"""

import os
import threading
from collections.abc import Callable, Iterable

import anyio
import structlog
from anyio import to_thread
from watchfiles import watch  # pyright: ignore[reportUnknownVariableType]  # its stubs name trio, which is not here

log = structlog.get_logger()

STEP = 1000
"""How often watchfiles collects changes, in milliseconds."""
TICK = 30.0
"""How often the directories themselves are looked at, in seconds: one that was made anew is not seen otherwise."""

_Identity = tuple[int, int]


async def follow(directories: Callable[[], Iterable[str]], on_change: Callable[[frozenset[str]], None]) -> None:
    """Call `on_change` with the directories in which something changed, for ever.

    `directories` is asked again and again; those that are not there are not watched until they are. All of them are
    told of once a `TICK` after a watch was asked for, as nobody tells when it began to see, and every `TICK` while none
    can be watched.
    """
    problem: str | None = None
    while True:
        known = await to_thread.run_sync(_identities, tuple(directories()))
        failure: str | None = None

        async def keep_watch(known: Iterable[str]) -> None:
            nonlocal problem, failure
            try:
                await _watch(tuple(known), on_change)
            except Exception as error:  # noqa: BLE001 - the border of one source: the agent does without it
                # inotify is a resource of the whole node and can be used up; a directory can go before it is watched.
                failure = str(error)
                if failure != problem:
                    log.error("files.unavailable", problem=failure)
                problem = failure

        told = not known  # of what may have changed before the watch began
        async with anyio.create_task_group() as group:
            group.start_soon(keep_watch, known)
            while await to_thread.run_sync(_identities, tuple(directories())) == known:
                await anyio.sleep(TICK)  # the file system tells of nothing here: that is why we look
                if failure is not None:
                    break
                problem = None
                if not told:
                    on_change(frozenset(known))
                told = True
            group.cancel_scope.cancel()
        on_change(frozenset(known))


async def _watch(directories: tuple[str, ...], on_change: Callable[[frozenset[str]], None]) -> None:
    """Tell of changes in these directories, for ever.

    Raises:
        Exception: whatever watchfiles makes of it when they cannot be watched.
    """
    if not directories:
        return
    stop = threading.Event()
    batches = watch(
        *directories,
        watch_filter=None,
        debounce=STEP,
        step=STEP,
        stop_event=stop,
        rust_timeout=60_000,
        recursive=False,
    )
    try:
        while (batch := await to_thread.run_sync(next, batches, None, abandon_on_cancel=True)) is not None:
            on_change(frozenset(os.path.dirname(path) for _, path in batch))
    finally:
        stop.set()  # nobody waits for the thread, which sees this within a step


def _identities(directories: Iterable[str]) -> dict[str, _Identity]:
    found: dict[str, _Identity] = {}
    for each in directories:
        try:
            status = os.stat(each)
        except OSError:
            continue
        found[each] = (status.st_dev, status.st_ino)
    return found
