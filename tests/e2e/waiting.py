"""Waiting for conditions, always with a deadline."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.05
"""Seconds between two looks at a condition."""


def eventually(condition: Callable[[], T | None], what: str, *, within: float) -> T:
    """
    Return the first true value of the condition.

    Raises:
        TimeoutError: the condition did not become true within so many seconds; `what` says which.
    """
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
