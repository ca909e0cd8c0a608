"""What tests and the demo see and set of a simulated kubelet; it outlives a restart."""

from collections import deque
from dataclasses import dataclass, field

import anyio

from intel_agent.latest import Latest
from intel_agent.simulation.kubelet.state import Happening, RegisterCall


@dataclass(slots=True)
class Moods:
    """How the kubelet behaves where a real one cannot be made to."""

    refusals: deque[str] = field(default_factory=deque[str])
    """The next registrations are refused with these texts."""
    gate: anyio.Event | None = None
    """While it is there and not set, registrations wait."""
    slow_seconds: float = 0.0
    """How long Register takes to answer when all is said and done."""
    never_cancel: bool = False
    """Whether connections of plugins that it has done with are left open."""


@dataclass(slots=True)
class Record:
    """What happened, in order."""

    violations: list[str] = field(default_factory=list[str])
    transcript: list[Happening] = field(default_factory=list[Happening])
    registrations: list[RegisterCall] = field(default_factory=list[RegisterCall])
    moods: Moods = field(default_factory=Moods)
    changed: Latest[None] = field(default_factory=lambda: Latest(None))
    pods: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Active pods and their containers."""

    def note(self, what: str, resource: str, detail: str = "") -> None:
        self.transcript.append(Happening(what, resource, detail))
        self.changed.set(None)

    def broken(self, sentence: str) -> None:
        self.violations.append(sentence)
        self.changed.set(None)
