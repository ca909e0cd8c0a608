"""The configuration of the SR-IOV network device plugin as pools of `devices.nic`, read as that plugin reads it."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from intel_agent.backends.nic import existing
from intel_agent.backends.nic.pools import Pool, clashes
from intel_agent.backends.nic.selectors import Selector
from intel_agent.config.document import Entries, Items, Node, Scalar
from intel_agent.config.schema import Json
from intel_agent.migrate.model import Branch, Leaf, Note, Plugin
from intel_agent.migrate.objects import Object
from intel_agent.migrate.written import commented

SUBJECT = "SR-IOV network device plugin"
PREFIX = "intel.com"
"""The plugin's own default; whoever gave it another one sets `devices.nic.resourcePrefix`."""

_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")


def is_configuration(given: Object) -> bool:
    """Return whether an object is the plugin's configuration: it does not regard the case of keys."""
    return any(key.casefold() == "resourcelist" for key in given.fields)


def plugin(given: Object, selector: Mapping[str, str]) -> tuple[Plugin, tuple[Note, ...]]:
    """Return what a configuration asks for, on nodes with these labels, and what of it means nothing."""
    data: dict[str, Json] = {key: each.value for key, each in given.fields.items()}
    reading = existing.meaning(data, PREFIX)
    notes = [_note(given, path, text) for path, text in reading.warnings]
    if reading.problems:
        notes += [_note(given, path, f"{text}; the plugin ends with it") for path, text in reading.problems]
        return _kept(given, data), tuple(notes)
    twice = {path.partition(".")[0] for path, _ in clashes(reading.pools, PREFIX)}
    pools: list[Json] = [
        _spelled(pool, Pool) for place, pool in enumerate(reading.pools) if f"pools[{place}]" not in twice
    ]
    if not pools:
        return _kept(given, data), tuple(notes)
    origin = f"{_place(given, 'resourceList')}: resourceList"
    return Plugin(SUBJECT, given.place, "nic", {"pools": Leaf(pools, origin)}, selector), tuple(notes)


def _kept(given: Object, data: Mapping[str, Json]) -> Plugin:
    """Return a plugin whose configuration is only kept in comments."""
    what = f"{given.place}: {SUBJECT}: not carried over. It says:"
    text = commented(Branch({key: Leaf(value) for key, value in data.items()}))
    return Plugin(SUBJECT, given.place, "nic", {}, comments=(what, *text), offered=False)


def _spelled(part: Pool | Selector, kind: type[Pool | Selector]) -> Json:
    """Return a pool, or a selector, with the keys that say something."""
    keys: dict[str, Json] = {}
    for each in msgspec.structs.fields(kind):
        value = getattr(part, each.name)
        if each.name == "selectors":
            keys[each.encode_name] = [_spelled(selector, Selector) for selector in value]
        elif value not in (each.default, ()) and value != {}:
            keys[each.encode_name] = msgspec.to_builtins(value)
    return {key: [*value] if isinstance(value, tuple) else value for key, value in keys.items()}


def _note(given: Object, path: str, text: str) -> Note:
    return Note(_place(given, path), SUBJECT, path, text)


def _place(given: Object, path: str) -> str:
    """Return the file and line of a key path, or of the nearest one above it."""
    node: Node = given.node
    line = given.line
    for step in _STEP.finditer(path):
        found = _item(node, int(step[1])) if step[1] else _entry(node, step[2])
        if found is None:
            break
        line, node = found
    return f"{given.source}:{line}"


def _item(node: Node, index: int) -> tuple[int, Node] | None:
    if not isinstance(node, Items) or index >= len(node.nodes):
        return None
    return node.nodes[index].line, node.nodes[index]


def _entry(node: Node, name: str) -> tuple[int, Node] | None:
    """Return the last entry of a name, whatever its case, as the plugin does."""
    return next(reversed([*_entries(node, name)]), None)


def _entries(node: Node, name: str) -> Iterator[tuple[int, Node]]:
    for key, value in node.pairs if isinstance(node, Entries) else ():
        if isinstance(key, Scalar) and key.text.casefold() == name.casefold():
            yield key.line, value
