"""What was handed out, and what is being handed out: the only state that Allocate writes."""

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import anyio

from intel_agent.publish.holdings import Key

SETTLE = 10.0
"""Seconds after an answer in which kubelet may not tell of it yet: it lists pods only once they are admitted."""


class Grants:
    """The ids that containers may have."""

    def __init__(self) -> None:
        self.ever: set[Key] = set()
        """All that were handed out since kubelet was asked last, and those that containers had then."""
        self.revision = 0
        """Grows with every grant that begins."""
        self._open: Counter[Key] = Counter()
        self._answered: dict[Key, float] = {}

    @contextmanager
    def granting(self, resource: str, ids: Iterable[str]) -> Generator[None]:
        """Note that these ids are being handed out until the block ends; with an error they were not."""
        keys = frozenset((resource, each) for each in ids)
        new = keys - self.ever
        self.ever |= new
        self._open.update(keys)
        self.revision += 1
        try:
            yield
        except BaseException:
            self.ever -= {key for key in new if self._open[key] == 1 and key not in self._answered}
            raise
        else:
            self._answered.update(dict.fromkeys(keys, anyio.current_time()))
        finally:
            self._open -= Counter(keys)

    def known(self, held: Iterable[Key]) -> None:
        """Begin anew with what kubelet tells."""
        self.ever = set(held) | self.recent

    @property
    def recent(self) -> frozenset[Key]:
        """Ids that a container is getting, or got so recently that kubelet may not tell of it yet."""
        over = anyio.current_time() - SETTLE
        self._answered = {key: at for key, at in self._answered.items() if at > over}
        return frozenset(self._open) | self._answered.keys()
