"""How commands print what they found: tables for people and pipes, JSON and YAML for programs."""

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

Row = tuple[str, ...]
Table = tuple[Row, Sequence[Row]]
"""The head and the rows."""
Form = Literal["table", "json", "yaml"]

_RED = ("Unhealthy", "error")
"""How cells begin that people should see first."""


def write(form: Form, tables: Iterable[Table], report: Mapping[str, object], folded: Collection[str]) -> None:
    """Print `tables`, or the same as `report` for programs.

    `folded` are the heads of columns that may take several lines on a terminal; the others are for copying.
    """
    if form == "table":
        show([*tables], folded)
    else:
        dump(form, report)


def dump(form: Literal["json", "yaml"], report: Mapping[str, object], *, again: bool = False) -> None:
    """Print a report for programs; `again`: one of several, as a line of JSON or a document of YAML each."""
    if form == "json":
        sys.stdout.write(json.dumps(report, indent=None if again else 2, ensure_ascii=False) + "\n")
        return
    import yaml

    sys.stdout.write("---\n" if again else "")
    yaml.safe_dump(report, sys.stdout, sort_keys=False, allow_unicode=True)


def show(tables: Sequence[Table], folded: Collection[str]) -> None:
    """Print tables: in stable columns, or as they fit a terminal."""
    if sys.stdout.isatty():
        _for_people(tables, folded)
    else:
        sys.stdout.write("\n\n".join("\n".join(aligned([head, *rows])) for head, rows in tables) + "\n")


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line a row, columns two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _for_people(tables: Sequence[Table], folded: Collection[str]) -> None:
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    console = Console()
    for head, rows in tables:
        table = Rich(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for title in head:
            table.add_column(title, overflow="fold", no_wrap=title not in folded)
        for row in rows:
            table.add_row(*(Text(cell, style="red" if cell.startswith(_RED) else "") for cell in row))
        console.print(table)
        console.print()
