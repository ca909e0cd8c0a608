"""The judge who looks all the time whether a device is in two hands."""

from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from threading import Event, Thread

from .podresources import Holding, PodResources

INTERVAL = 0.1
"""Seconds between two looks."""


def one_id(holding: Holding) -> Hashable:
    """Return what at most one pod may hold: an id of a resource."""
    return holding.resource, holding.device


@contextmanager
def no_device_twice(
    pod_resources: PodResources, thing: Callable[[Holding], Hashable | None] = one_id
) -> Generator[None, None, None]:
    """
    Ask kubelet throughout the block who holds what.

    `thing` says of what there is only one; `None` means that as many as like may hold it.

    Raises:
        AssertionError: two pods held the same thing once, or kubelet was never heard.
    """
    judge = _Judge(pod_resources, thing)
    judge.start()
    try:
        yield
    finally:
        judge.end()
    assert judge.answers, "kubelet was never heard"
    assert judge.offences == {}


class _Judge(Thread):
    def __init__(self, pod_resources: PodResources, thing: Callable[[Holding], Hashable | None]) -> None:
        super().__init__(name="no device twice")
        self._pod_resources = pod_resources
        self._thing = thing
        self._over = Event()
        self.answers = 0
        self.offences: dict[Hashable, frozenset[str]] = {}

    def run(self) -> None:
        while not self._over.wait(INTERVAL):
            try:
                holdings = self._pod_resources.holdings()
            except Exception:  # noqa: BLE001 - kubelet is away, and grpclib has many words for that
                continue
            self.answers += 1
            self.offences |= shared(holdings, self._thing)

    def end(self) -> None:
        self._over.set()
        self.join()


def shared(holdings: Iterable[Holding], thing: Callable[[Holding], Hashable | None]) -> dict[Hashable, frozenset[str]]:
    """Return the things that more than one pod holds, and these pods."""
    pods: dict[Hashable, set[str]] = defaultdict(set)
    for holding in holdings:
        if (key := thing(holding)) is not None:
            pods[key].add(holding.pod)
    return {key: frozenset(holders) for key, holders in pods.items() if len(holders) > 1}
