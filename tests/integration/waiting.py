"""Waiting for conditions, always with a deadline."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

INTERVAL = 0.01
"""Seconds between two looks at a condition."""
PATIENCE = 30.0
"""Seconds to wait for what must come: they cost nothing when all is well, and a loaded machine may stall."""


async def until(condition: Callable[[], T | None], what: str, *, within: float = PATIENCE) -> T:
    """Return the first true value of the condition.

    Raises:
        TimeoutError: there was none within so many seconds; `what` says of what.
    """
    value: T | None = None
    with anyio.move_on_after(within):
        while not (value := condition()):
            await anyio.sleep(INTERVAL)
        return value
    raise TimeoutError(f"no {what} within {within:g} s, last seen: {value!r}")


async def until_async(condition: Callable[[], Awaitable[T | None]], what: str, *, within: float = PATIENCE) -> T:
    """Return the first true value that the coroutine gives.

    Raises:
        TimeoutError: there was none within so many seconds; `what` says of what.
    """
    value: T | None = None
    with anyio.move_on_after(within):
        while not (value := await condition()):
            await anyio.sleep(INTERVAL)
        return value
    raise TimeoutError(f"no {what} within {within:g} s, last seen: {value!r}")
