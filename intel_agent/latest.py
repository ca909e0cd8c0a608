"""A value that others follow: the only way in which state travels between tasks."""

from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value and its revision, a number that only grows.

    A reader that is slow skips values but never misses the last one.
    All methods belong to the event loop's thread.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._revision = 0
        self._changed = anyio.Event()

    @property
    def value(self) -> T:
        return self._value

    @property
    def revision(self) -> int:
        return self._revision

    def set(self, value: T) -> None:
        """Make `value` the newest one and wake every reader, even when it equals the last one."""
        self._value = value
        self._revision += 1
        self._changed.set()
        self._changed = anyio.Event()

    async def newer(self, than: int) -> tuple[T, int]:
        """Wait until the revision is above `than`; return the newest value and its revision."""
        while self._revision <= than:
            await self._changed.wait()
        return self._value, self._revision
