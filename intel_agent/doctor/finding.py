"""What doctor has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters, the worst first."""

    ERROR = "error"
    """Something keeps devices from pods."""
    WARNING = "warning"
    """Something may do so, or keeps part of a device from them."""
    NOTE = "note"
    """Somebody chose it, or it cannot be otherwise: no finding, but an answer to the question."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or chosen: about what, what is wrong, which file says so, and what to do about it."""

    severity: Severity
    subject: str
    problem: str
    evidence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, and the name of the check that tells it."""

    check: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What all checks found, the worst first, and which could not look and why."""

    told: tuple[Told, ...]
    blind: tuple[tuple[str, str], ...] = ()

    @property
    def sound(self) -> bool:
        """Whether there is nothing but notes."""
        return all(each.finding.severity is Severity.NOTE for each in self.told)
