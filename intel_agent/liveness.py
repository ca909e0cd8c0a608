"""Whether the agent's own work goes on: what must end in time says when it began.

Waiting for a device, for kubelet or for the API server is no such work: a restart would not help.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count

import anyio


class Liveness:
    """What is being done at the moment, and until when it must be done."""

    def __init__(self) -> None:
        self._serial = count()
        self._due: dict[int, tuple[str, float]] = {}

    @contextmanager
    def within(self, seconds: float, what: str) -> Generator[None]:
        """Say that the block should take so long at most. Nothing is cancelled."""
        key = next(self._serial)
        self._due[key] = what, anyio.current_time() + seconds
        try:
            yield
        finally:
            del self._due[key]

    @property
    def stuck(self) -> tuple[str, ...]:
        """What takes longer than it should."""
        now = anyio.current_time()
        return tuple(
            f"{what}: {now - due:.0f} s longer than it should" for what, due in self._due.values() if now > due
        )
