"""Reasons are a closed list: docs/faults.md and the source name the same ones and treat them alike."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from intel_agent.model import SETTLED, WARNINGS, Reason
from intel_agent.remedies import REMEDIES

TABLE = Path(__file__).parents[3] / "docs" / "faults.md"
OURS = frozenset({Reason.HELD, Reason.UNDEFINED, Reason.UNREADABLE, Reason.RESERVED, Reason.MARKED})
"""Reasons that come from the agent's own work, not from something that the kernel documents."""
JUDGED = frozenset({Reason.JUDGED_WARNING, Reason.JUDGED_CRITICAL, Reason.JUDGED_FAILED})
"""Reasons that outside judges give."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    reason: str
    treatment: str
    meaning: str
    source: str
    remedy: str
    ends: str


def rows() -> Iterator[Row]:
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        match [cell.strip() for cell in line.strip("|").split("|")]:
            case [reason, treatment, meaning, source, remedy, ends] if reason.startswith("`"):
                yield Row(reason.strip("`"), treatment, meaning, source, remedy, ends)
            case _:
                pass


ROWS = list(rows())


def test_source_and_documentation_name_the_same_reasons_in_the_same_order() -> None:
    assert [row.reason for row in ROWS] == [str(each) for each in Reason]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.reason)
def test_a_row_says_how_the_reason_is_treated(row: Row) -> None:
    reason = Reason(row.reason)
    default = "warning" if reason in WARNINGS else "fault"
    assert row.treatment == ("always fault" if reason in SETTLED else default)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.reason)
def test_a_row_says_what_to_do(row: Row) -> None:
    assert all((row.meaning, row.source, row.remedy, row.ends))


@pytest.mark.parametrize("row", [each for each in ROWS if each.reason not in OURS | JUDGED], ids=lambda row: row.reason)
def test_a_signal_of_the_kernel_has_a_document_or_a_source(row: Row) -> None:
    assert re.search(r"(Documentation|drivers|fs|lib)/[\w/.-]+", row.source)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.reason)
def test_the_agent_says_what_the_table_says_to_do(row: Row) -> None:
    assert REMEDIES[Reason(row.reason)] == re.sub(r"\[(.*?)\]\(.*?\)", r"\1", row.remedy)
