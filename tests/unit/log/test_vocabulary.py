"""What the agent says is a closed list: docs/log-events.md and the source name the same events, levels and keys."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import intel_agent
from intel_agent import log

PACKAGE = Path(intel_agent.__file__).parent
TABLE = Path(__file__).parents[3] / "docs" / "log-events.md"

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "error",
}
WITHOUT_ED = frozenset({"available", "found", "lost", "overrun", "stopping", "unavailable", "waiting", "written"})


@dataclass(frozen=True)
class Said:
    """One event at one place of the source."""

    place: str
    event: str
    levels: frozenset[str]
    keys: frozenset[str]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    levels: frozenset[str]
    keys: frozenset[str]


def said() -> Iterator[Said]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = dict(_aliases(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (levels := _levels(node.func, aliases)):
                for event in _events(node.args[0]):
                    keys = frozenset(_key(each.arg) for each in node.keywords if each.arg)
                    yield Said(f"{path.relative_to(PACKAGE)}:{node.lineno}", event, levels, keys)


def _key(name: str) -> str:
    return "exception" if name == "exc_info" else name


def _aliases(tree: ast.AST) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield names that stand for methods of the log: `say = log.warning if bad else log.info`."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.IfExp(body=one, orelse=other)):
                if levels := _levels(one, {}) | _levels(other, {}):
                    yield name, levels
            case _:
                pass


def _levels(function: ast.expr, aliases: dict[str, frozenset[str]]) -> frozenset[str]:
    """Return the levels at which a call of `function` writes, or none when it is no call of the log."""
    match function:
        case ast.Attribute(value=ast.Name(id="log") | ast.Attribute(attr="log" | "_log"), attr=method):
            return frozenset({LEVELS[method]}) if method in LEVELS else frozenset()
        case ast.Name(id=name):
            return aliases.get(name, frozenset())
        case _:
            return frozenset()


def _events(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(event)):
            yield event
        case ast.IfExp(body=one, orelse=other):
            yield from _events(one)
            yield from _events(other)
        case _:
            pytest.fail(f"an event is a literal, not {ast.unparse(argument)}")


def rows() -> Iterator[tuple[str, Row]]:
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        match [cell.strip() for cell in line.strip("|").split("|")]:
            case [event, levels, keys, _, _] if event.startswith("`"):
                yield event.strip("`"), Row(frozenset(levels.split(", ")), frozenset(re.findall("`(.*?)`", keys)))
            case _:
                pass


def documented() -> dict[str, Row]:
    return dict(rows())


OURS = [
    Said("log.py", log.DROPPED, frozenset({"warning"}), frozenset({"count"})),
    Said("log.py", log.FOREIGN, frozenset(LEVELS.values()), frozenset({"logger", "message", "exception"})),
]
SAID = [*said(), *OURS]


def test_source_and_documentation_name_the_same_events() -> None:
    assert {each.event for each in SAID} == set(documented())


def test_the_table_is_sorted_and_has_one_row_for_each_event() -> None:
    events = [event for event, _ in rows()]
    assert events == sorted(set(events))


@pytest.mark.parametrize("each", SAID, ids=lambda each: f"{each.place} {each.event}")
def test_an_event_has_the_levels_and_keys_of_its_row(each: Said) -> None:
    row = documented().get(each.event)
    if row is not None:
        assert each.levels <= row.levels
        assert each.keys <= row.keys


@pytest.mark.parametrize("each", SAID, ids=lambda each: f"{each.place} {each.event}")
def test_an_event_is_a_noun_and_a_participle(each: Said) -> None:
    match = re.fullmatch(r"[a-z]+\.([a-z]+)", each.event)
    assert match is not None
    assert match[1].endswith("ed") or match[1] in WITHOUT_ED
    assert not each.keys & {"time", "level", "event"}


def test_every_level_in_the_table_is_used() -> None:
    used: dict[str, frozenset[str]] = {}
    for each in SAID:
        used[each.event] = used.get(each.event, frozenset()) | each.levels
    assert {event: row.levels for event, row in documented().items() if event in used} == {
        event: levels for event, levels in used.items() if event in documented()
    }


def test_every_key_is_explained() -> None:
    section = TABLE.read_text(encoding="utf-8").partition("## Keys")[2]
    explained = {key for line in section.splitlines() for key in re.findall("`(.*?)`", "".join(line.split("|")[1:2]))}
    assert explained == {key for row in documented().values() for key in row.keys}
