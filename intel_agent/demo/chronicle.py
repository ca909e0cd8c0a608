"""What has happened so far, in plain words: written by the story, read by whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from intel_agent.latest import Latest


class Tone(StrEnum):
    """What a line is about."""

    NOTE = "note"
    """Something to know."""
    ACT = "act"
    """Something is done to the node, to kubelet or to the agent."""
    GOOD = "good"
    """What came of it, and all is well."""
    BAD = "bad"
    """What came of it, and somebody has to do without a device."""
    STATE = "state"
    """What the table shows, too: for readers who see no table."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence or two, and when they became true: in seconds since the start."""

    seconds: float
    text: str
    tone: Tone


class Chronicle:
    """Lines in the order of time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self.lines: Latest[tuple[Line, ...]] = Latest(())

    @property
    def seconds(self) -> float:
        """How long it has been so far."""
        return self._clock() - self._start

    def say(self, text: str, tone: Tone = Tone.NOTE) -> None:
        self.lines.set((*self.lines.value, Line(self.seconds, text, tone)))


def duration(seconds: float) -> str:
    """Return a measured time as people read it: three digits at most."""
    milliseconds = seconds * 1000
    if milliseconds < 10:  # noqa: PLR2004  # below it one digit after the point says something
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
