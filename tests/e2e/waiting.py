"""Waiting for conditions, always with a deadline."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.05
"""Seconds between two looks at a condition."""
PATIENCE = 60.0
"""Seconds that anything is waited for at least: they cost nothing when all is well, and a loaded machine may stall."""


def eventually(condition: Callable[[], T | None], what: str, *, within: float) -> T:
    """
    Return the first true value of the condition.

    `within` is how long it takes at most where there is nothing else to do: `PATIENCE` is granted anyway.

    Raises:
        TimeoutError: the condition did not become true in time; `what` says which.
    """
    within = max(within, PATIENCE)
    deadline = monotonic() + within
    while not (value := condition()):
        if monotonic() > deadline:
            raise TimeoutError(f"no {what} within {within:g} s, last seen: {value!r}")
        sleep(INTERVAL)
    return value


def always(condition: Callable[[], bool], what: str, *, during: float) -> None:
    """
    Look at the condition for so many seconds.

    Raises:
        AssertionError: the condition was false once.
    """
    deadline = monotonic() + during
    while monotonic() < deadline:
        assert condition(), f"not always {what}"
        sleep(INTERVAL)
