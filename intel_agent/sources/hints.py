"""What every source of hints has in common: the agent does without it while it fails, says so once, and tries again."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

log = structlog.get_logger()

AGAIN = 30.0
"""Seconds until the kernel's messages are asked for again when they could not be had."""

Works = Callable[[], None]


async def listened(listen: Callable[[Works], Awaitable[None]]) -> None:
    """Run `listen` for ever; it calls what it is given as soon as it hears, so that the next failure is a new one."""
    problem = ""

    def works() -> None:
        nonlocal problem
        problem = ""

    while True:
        try:
            await listen(works)
        except Exception as error:  # the border of one source
            expected = isinstance(error, OSError)
            failure = str(error) if expected else f"unexpected: {error!r}"
            if failure != problem:
                log.error("events.unavailable", problem=failure, exc_info=not expected)
            problem = failure
        await anyio.sleep(AGAIN)
