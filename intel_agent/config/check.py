"""A document compared with the schema: plain data, the line of every key, and everything that is wrong with it."""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from intel_agent.config.document import Entries, Items, Node, Refused, Scalar, Shape
from intel_agent.config.schema import Json, Schema, choices, entries, items, root, words

_KINDS = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
_SWITCHES = {**dict.fromkeys(("yes", "on", "y"), "true"), **dict.fromkeys(("no", "off", "n"), "false")}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, and where."""

    line: int
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """The comparison; `problems` and `lines` (key path to line) grow with every call of `value`."""

    problems: list[Problem] = field(default_factory=list[Problem])
    lines: dict[str, int] = field(default_factory=dict[str, int])

    def value(self, node: Node, schema: Schema, path: str) -> Json:
        """Return the plain data of `node`; what the schema does not allow is noted, and left out or as it was."""
        if isinstance(node, Refused):
            self._note(node.line, path, f"found {node.what}; allowed {words(schema)}: {node.remedy}")
            return None
        fitting = next((each for each in _branches(schema) if _fits(node, each)), None)
        if fitting is None:
            self._note(node.line, path, _mismatch(node, schema))
            return None
        match node:
            case Scalar():
                if (outside := _outside(node, fitting)) is not None:
                    self._note(node.line, path, f"found {found(node)}; allowed {words(schema)}{outside}")
                return node.value
            case Items():
                return self._list(node, fitting, path)
            case Entries():
                return self._section(node, fitting, path)
            case _:
                assert_never(node)

    def _note(self, line: int, path: str, text: str) -> None:
        self.problems.append(Problem(line, path, text))

    def _list(self, node: Items, schema: Schema, path: str) -> Json:
        inner = entries(schema.get("items"))
        count, low, high = len(node.nodes), schema.get("minItems", 0), schema.get("maxItems", len(node.nodes))
        if isinstance(low, int) and isinstance(high, int) and not low <= count <= high:
            allowed = f"{low} to {high}" if "maxItems" in schema else f"at least {low}"
            self._note(node.line, path, f"found {count} items; allowed {allowed}")
        self.lines.update({f"{path}[{index}]": each.line for index, each in enumerate(node.nodes)})
        return [self.value(each, inner, f"{path}[{index}]") for index, each in enumerate(node.nodes)]

    def _section(self, node: Entries, schema: Schema, path: str) -> Json:
        known = entries(schema.get("properties"))
        others = schema.get("additionalProperties")
        data: dict[str, Json] = {}
        first: dict[str, int] = {}
        for key, value in node.pairs:
            name = self._key(key, path)
            if name is None:
                continue
            shown = name if name.isprintable() else json.dumps(name)
            inner = f"{path}.{shown}" if path else shown
            if name in first:
                self._note(key.line, inner, f"found twice, first in line {first[name]}; allowed once")
            elif name in known or isinstance(others, dict):
                if name not in known:
                    self._name(key, name, entries(schema.get("propertyNames")), inner)
                self.lines[inner] = key.line
                data[name] = self.value(value, entries(known.get(name, others)), inner)
            else:
                self._note(key.line, inner, f"found an unknown key; allowed {', '.join(known)}{_meant(name, known)}")
            first.setdefault(name, key.line)
        for missing in items(schema.get("required")):
            if missing not in first:
                self._note(node.line, path, f"found no {missing}; allowed {words(entries(known.get(str(missing))))}")
        return data

    def _name(self, key: Node, name: str, schema: Schema, path: str) -> None:
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and not _matches(pattern, name):
            meant = _meant(name, choices(schema))
            self._note(key.line, path, f"found {json.dumps(_short(name))} as a key; allowed {words(schema)}{meant}")

    def _key(self, key: Node, path: str) -> str | None:
        if isinstance(key, Scalar) and isinstance(key.value, str):
            return key.value
        remedy = f'; write it in quotes: "{key.text}"' if isinstance(key, Scalar) else ""
        self._note(key.line, path, f"found {found(key)} as a key; allowed a text{remedy}")
        return None


def found(node: Node) -> str:
    """Return in a few words what stands in the document."""
    match node:
        case Scalar(value=str()):
            return json.dumps(_short(node.text), ensure_ascii=False)
        case Scalar(text=""):
            return "nothing"
        case Scalar():
            return _short(node.text)
        case Items():
            return "a list"
        case Entries():
            return "a section"
        case Refused():
            return node.what
        case _:
            assert_never(node)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  # what fits into a line with the rest


def _branches(schema: Schema) -> Iterator[Schema]:
    if "anyOf" in schema:
        for each in items(schema["anyOf"]):
            yield from _branches(entries(each))
    else:
        yield schema


def _fits(node: Shape, schema: Schema) -> bool:
    """Return whether the schema is about what the node is; a value may still be outside its range."""
    kind = _kind(node)
    if "enum" in schema:
        return isinstance(node, Scalar) and any(type(node.value) is type(each) for each in items(schema["enum"]))
    return schema.get("type", kind) == kind or (schema["type"], kind) == ("number", "integer")


def _kind(node: Shape) -> str:
    """Return JSON Schema's word for what the node is."""
    match node:
        case Scalar():
            return _KINDS[type(node.value)]
        case Items():
            return "array"
        case Entries():
            return "object"
        case _:
            assert_never(node)


def _outside(node: Scalar, schema: Schema) -> str | None:
    """Return what to add to the complaint when the value is not one of the allowed ones, or `None` when it is."""
    value = node.value
    if "enum" in schema:
        allowed = items(schema["enum"])
        return None if value in allowed else _meant(node.text, [str(each) for each in allowed])
    match value:
        case bool() | None:
            return None
        case str():
            pattern, least = schema.get("pattern"), schema.get("minLength", 0)
            fits = not isinstance(pattern, str) or _matches(pattern, value)
            return None if fits and isinstance(least, int) and len(value) >= least else ""
        case _:
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            inside = isinstance(low, int | float) and isinstance(high, int | float) and low <= value <= high
            return None if inside else ""


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern of the schema matches; its `$` is the very end, as in JSON Schema."""
    return re.search(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern, text) is not None


def _mismatch(node: Shape, schema: Schema) -> str:
    complaint = f"found {found(node)}; allowed {words(schema)}"
    kinds = {str(each.get("type", "string")) for each in _branches(schema)}
    if not isinstance(node, Scalar):
        return complaint
    if node.text in _SWITCHES and "boolean" in kinds:
        return f"{complaint}; did you mean {_SWITCHES[node.text]}?"
    if node.value is not None and not isinstance(node.value, str) and "string" in kinds:
        return f'{complaint}; write it in quotes: "{_short(node.text)}"'
    if node.value is None and "object" in kinds:
        return f"{complaint}; write {{}} or leave the key out"
    return complaint


def _meant(word: str, known: "dict[str, Json] | list[str]") -> str:
    """Return a suggestion: the most similar of the known words, or the place where the word would be known."""
    plain = {_plain(each): each for each in known}
    if near := difflib.get_close_matches(_plain(word), plain, 1):
        return f"; did you mean {plain[near[0]]}?"
    if isinstance(known, dict):
        inside, anywhere = _places(word, {"properties": known}, ""), _places(word, root(), "")
        if places := list(inside) or list(anywhere):
            return f"; did you mean {' or '.join(places)}?"
    return ""


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _places(word: str, schema: Schema, path: str) -> Iterator[str]:
    for key, each in entries(schema.get("properties")).items():
        if _plain(key) == _plain(word):
            yield f"{path}{key}"
        yield from _places(word, entries(each), f"{path}{key}.")
