"""xpumd, played with another gRPC library: it says what it is told to say, well or badly."""

import queue
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from intel_agent._proto.deviceinfo import (
    DeviceHealth,
    DeviceHealthResponse,
    DeviceInformation,
    HealthSeverity,
    HealthStatus,
    PciInfo,
)

from .served import served, stream

Parts = Mapping[str, int]
"""Severities by the name of a part."""


def about(address: str, parts: Parts) -> bytes:
    """Return a message about one card."""
    return bytes(DeviceHealthResponse(devices=[_card(address, parts)]))


def _card(address: str, parts: Parts) -> DeviceHealth:
    statuses = [HealthStatus(name, HealthSeverity(severity), "word", "a sentence") for name, severity in parts.items()]
    return DeviceHealth(DeviceInformation(PciInfo(address)), statuses)


class Xpumd:
    """Serves at `path`. Whoever connects hears `first`, and then all that is said meanwhile."""

    def __init__(self, path: Path, first: Sequence[bytes] = ()) -> None:
        self.path = path
        self.first = list(first)
        self.calls = 0
        self._streams: list[queue.SimpleQueue[bytes | None]] = []

    def say(self, message: bytes) -> None:
        """Say it to all who listen, and first to all who come."""
        self.first = [message]
        for each in self._streams:
            each.put(message)

    def hang_up(self) -> None:
        """End all calls, as they should end."""
        streams, self._streams = self._streams, []
        for each in streams:
            each.put(None)

    def watch(self, request: bytes, context: object) -> Iterator[bytes]:
        assert request == b""
        del context
        mine: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._streams.append(mine)
        self.calls += 1
        yield from self.first
        while (message := mine.get()) is not None:
            yield message


@contextmanager
def xpumd(path: Path, *first: bytes) -> Generator[Xpumd]:
    """Run xpumd until the block ends; then it is gone at once."""
    judge = Xpumd(path, first)
    try:
        with served(path, "deviceinfo.DeviceInfo", WatchDeviceHealth=stream(judge.watch)):
            try:
                yield judge
            finally:
                judge.hang_up()
    finally:
        path.unlink(missing_ok=True)
