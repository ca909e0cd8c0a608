"""What kubelet tells of who holds what, asked by whoever shows it, and not more often than he needs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import anyio

from intel_agent.errors import KubeletError
from intel_agent.publish import holdings
from intel_agent.publish.holdings import Holdings

T = TypeVar("T")


class _Answer(Generic[T]):
    """An answer of kubelet, and when it was asked for it."""

    def __init__(self, ask: Callable[[], Awaitable[T]], nothing: T) -> None:
        self._ask = ask
        self._nothing = nothing
        self._asked = float("-inf")
        self._asking = anyio.Lock()
        self.last = nothing

    async def fresh(self, age: float) -> T:
        async with self._asking:
            now = anyio.current_time()
            if now - self._asked >= age:
                try:
                    self.last = await self._ask()
                except KubeletError:
                    self.last = self._nothing  # said in the log by whoever needs it for more than showing it
                    now = anyio.current_time()  # whoever waited meanwhile does not ask again
                self._asked = now
        return self.last


class Holders:
    """Kubelet's word, a few seconds old at most."""

    def __init__(self, socket: Callable[[], str]) -> None:
        """Ask at the path that `socket` returns."""
        self._holdings = _Answer(lambda: holdings.ask(socket()), Holdings())
        self._allocatable: _Answer[Mapping[str, frozenset[str]] | None] = _Answer(
            lambda: holdings.allocatable(socket()), None
        )

    @property
    def last(self) -> Holdings:
        """What kubelet told when it was asked last; nothing before that, or when it did not answer."""
        return self._holdings.last

    async def holdings(self, age: float) -> Holdings:
        """Return who holds what, as it was so many seconds ago or later; nothing when kubelet does not tell."""
        return await self._holdings.fresh(age)

    async def whole(self, age: float) -> tuple[Holdings, Mapping[str, frozenset[str]] | None]:
        """Return who holds what, and the ids that kubelet takes for healthy, by resource; `None` if it does not tell.

        Both are asked for at once: a kubelet that does not answer is waited for once.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._holdings.fresh, age)
            group.start_soon(self._allocatable.fresh, age)
        return self._holdings.last, self._allocatable.last
