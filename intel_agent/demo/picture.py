"""What a person at a terminal sees: resources as kubelet knows them, and below the last lines of the chronicle."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleDimensions, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from intel_agent.demo.chronicle import Line, Tone
from intel_agent.simulation.kubelet import Listed, Resource

WIDE = 100
"""Columns from which on headings are written out."""
CROWDS = (6, 0)
"""How many ids of a resource may be shown each, where there is room, and where there is not. Of more than that only
those that a pod holds are, and the others are counted."""
UNKNOWN = ConsoleDimensions(80, 24)
"""The size of a terminal that does not know it (it says 0)."""
PROMPT = 3
"""Lines that the shell gets below the last picture."""
ENOUGH = 10
"""Lines below the table that should be seen."""
FRAME = 7
"""Lines that are no resource and no line of the chronicle: title, headings, what is left out, signs, and between."""
LONGEST = 34
"""Columns that the name of a resource may take."""
GAP = 2
"""Columns between two columns, and between two ids."""

_STYLES = {
    Tone.NOTE: "dim",
    Tone.ACT: "bold",
    Tone.GOOD: "green",
    Tone.BAD: "yellow",
}


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is in one picture."""

    node: str
    remark: str
    """Why `resources` are not what they should be; empty when all is well."""
    resources: tuple[Resource, ...]
    holders: Mapping[tuple[str, str], str]
    """Which pod holds which id of which resource."""
    lines: tuple[Line, ...]
    seconds: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Signs:
    """How health looks without colour."""

    healthy: str = "●"
    unhealthy: str = "✗"
    held: str = "←"

    @classmethod
    def of(cls, options: ConsoleOptions) -> "Signs":
        return cls("+", "x", "<-") if options.ascii_only else cls()


class Screen:
    """The terminal while the demo has it. The last picture stays when the demo gives it back."""

    def __init__(self, output: TextIO) -> None:
        self._descriptor = output.fileno()
        self._console = Console(file=output)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self.last: View | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self.last is not None:
            self._measure(PROMPT)
            self._console.print(Picture(self.last))

    def draw(self, view: View) -> None:
        self._measure(0)
        self._live.update(Picture(view), refresh=True)

    def _measure(self, reserved: int) -> None:
        # Standard output is not the terminal meanwhile, so the size is asked where the terminal is.
        width, height = os.get_terminal_size(self._descriptor)
        self._console.size = ConsoleDimensions(width or UNKNOWN.width, (height or UNKNOWN.height) - reserved)


class Picture:
    """A view as rich draws it: as many of the last lines as there is room for."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        free = options.update(height=None)
        rows = max(options.size.height - FRAME - ENOUGH // 2, 1)
        view = self._view if len(self._view.resources) <= rows else _in_use(self._view, rows)
        more = len(self._view.resources) - len(view.resources)
        roomy, dense = (console.render_lines(_head(view, more, options, few), free, pad=False) for few in CROWDS)
        above = roomy if len(roomy) + ENOUGH < options.size.height else dense
        room = max(options.size.height - len(above) - 2, 1)
        lines = [each for each in self._view.lines if each.tone in _STYLES]
        below = console.render_lines(_log(lines[-room:]), free, pad=False)
        for line in (*above, [], *below[-room:]):
            yield from line
            yield Segment.line()


def _in_use(view: View, rows: int) -> View:
    """Return the view with so many resources: first those that a pod holds or that are not well, in the old order."""
    held = {resource for resource, _ in view.holders}
    calm = sorted(view.resources, key=lambda each: each.name not in held and each.allocatable == each.capacity)
    return replace(view, resources=tuple(each for each in view.resources if each in calm[:rows]))


def _head(view: View, more: int, options: ConsoleOptions, few: int) -> RenderableType:
    """Return what is above the lines; `more` resources have no room in it."""
    signs = Signs.of(options)
    rest = [Text(f"and {more} more resources", "dim")] if more else []
    return Group(_title(view, options), "", _table(view, signs, options, few), *rest, "", _legend(view, signs))


def _title(view: View, options: ConsoleOptions) -> RenderableType:
    left = Text.assemble(("intel-agent demo", "bold"), f"  node {view.node}")
    clock = f"{view.seconds // 60}:{view.seconds % 60:02}"
    left.pad_right(max(options.max_width - left.cell_len - len(clock), 1))
    return left.append(clock, "dim")


def _table(view: View, signs: Signs, options: ConsoleOptions, few: int) -> RenderableType:
    heads = ("CAPACITY", "ALLOCATABLE") if options.max_width >= WIDE else ("CAP", "ALLOC")
    names = max((min(len(each.name), LONGEST) for each in view.resources), default=0)
    left = options.max_width - max(names, len("RESOURCE")) - sum(map(len, heads)) - 3 * GAP
    table = Table(
        box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0), style="dim" if view.remark else ""
    )
    table.add_column("RESOURCE", no_wrap=True, max_width=LONGEST)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("DEVICES", no_wrap=True)
    for each in view.resources:
        devices = _packed(_entries(each, view.holders, signs, few), left)
        table.add_row(each.name, str(each.capacity), _allocatable(each), devices)
    return table if view.resources else Text("kubelet knows of no resource", "dim")


def _allocatable(resource: Resource) -> Text:
    return Text(str(resource.allocatable), "" if resource.allocatable == resource.capacity else "red")


def _entries(resource: Resource, holders: Mapping[tuple[str, str], str], signs: Signs, few: int) -> Iterable[Text]:
    """Yield what is to be said of each device; of a crowd those that nobody holds are counted."""
    crowd = len(resource.devices) > few
    rest: Counter[bool] = Counter()
    for device in resource.devices:
        healthy = device.id in resource.healthy
        holder = holders.get((resource.name, device.id))
        if crowd and holder is None:
            rest[healthy] += 1
        else:
            yield _entry(device, holder, signs, healthy=healthy)
    if rest[False]:
        yield Text.assemble((signs.unhealthy, "bold red"), (f" {rest[False]} unhealthy", "red"))
    if rest[True]:
        yield Text.assemble((signs.healthy, "green"), f" {rest[True]} free")


def _entry(device: Listed, holder: str | None, signs: Signs, *, healthy: bool) -> Text:
    text = Text.assemble((signs.healthy, "green") if healthy else (signs.unhealthy, "bold red"))
    text.append(f" {device.id}", "" if healthy else "red")
    if holder is not None:
        text.append(f" {signs.held} {holder}", "bold cyan")
    return text


def _packed(entries: Iterable[Text], width: int) -> Text:
    """Return the entries in as few lines as they fit into."""
    packed, used = Text(), 0
    for entry in entries:
        if used and used + GAP + entry.cell_len > width:
            packed.append("\n")
            used = 0
        elif used:
            packed.append(" " * GAP)
            used += GAP
        packed.append_text(entry)
        used += entry.cell_len
    return packed


def _legend(view: View, signs: Signs) -> RenderableType:
    if view.remark:
        return Text(view.remark, "bold yellow")
    return Text.assemble(
        *((signs.healthy, "green"), (" Healthy   ", "dim"), (signs.unhealthy, "bold red"), (" Unhealthy   ", "dim")),
        *((signs.held, "bold cyan"), (" held by this pod", "dim")),
    )


def _log(lines: Sequence[Line]) -> RenderableType:
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(justify="right", no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for each in lines:
        indent = GAP if each.tone in {Tone.GOOD, Tone.BAD} else 0
        grid.add_row(f"{each.seconds:.1f} s", Padding(Text(each.text, _STYLES[each.tone]), (0, 0, 0, indent)))
    return grid
