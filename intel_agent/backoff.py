"""Pauses between tries."""

import random


class BackOff:
    """Growing pauses with jitter, so that those who failed together do not all knock at once again."""

    def __init__(self, first: float = 0.1, most: float = 8.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def pause(self) -> float:
        """Return the seconds to wait now; twice as many the next time."""
        pause = jittered(self._next)
        self._next = min(self._next * 2, self._most)
        return pause


def jittered(seconds: float) -> float:
    """Return about so many seconds: a quarter more or less."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
