"""The configuration described: as JSON Schema, in words, and as tables for people."""

import functools
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from intel_agent.backends.nic.pools import PREFIX
from intel_agent.config.sections import HOST, NAMESPACE, Config
from intel_agent.config.selector import LABEL_KEY, LABEL_VALUE
from intel_agent.rules import ADDRESS_PATTERN, RESOURCE_NAME

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Schema: TypeAlias = Mapping[str, Json]

_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a section",
    "string": "a text",
}
_PATTERNS = {
    "^/": "an absolute path",
    "^(/.*)?$": "an absolute path, or nothing",
    HOST: "an address",
    LABEL_KEY: "the key of a label",
    LABEL_VALUE: "the value of a label",
    RESOURCE_NAME: "the name of a resource without its domain",
    ADDRESS_PATTERN: "a PCI address like 0000:3b:00.0, or a pattern of one",
    PREFIX: "a domain",
    NAMESPACE: "the name of a namespace",
}
_RULES = re.compile(r"^devices\.\w+\.rules")
_CHOICE = re.compile(r"\^\(([a-z-]+(?:\|[a-z-]+)*)\)\$")
"""A pattern that is a list of words."""


def schema() -> dict[str, Json]:
    """Return a JSON Schema of the file: draft-07, closed, without references."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "intel-agent", **root()}


@functools.cache
def root() -> dict[str, Json]:
    """Return the schema of the whole document, without its preamble. It is the only judge of a document's shape."""
    document = described(Config)
    override = entries(entries(entries(document["properties"])["nodeOverrides"])["items"])
    _specify(entries(entries(override["properties"])["devices"]), entries(entries(document["properties"])["devices"]))
    return document


def described(section: type[msgspec.Struct]) -> dict[str, Json]:
    """Return the schema of a section and of all that is in it, without references."""
    whole: dict[str, Json] = json.loads(json.dumps(msgspec.json.schema(section, schema_hook=_anything)))
    return entries(_inlined(whole, entries(whole["$defs"])))


def _anything(kind: type) -> dict[str, object]:
    """Return the schema of `object`."""
    if kind is object:
        return {"description": "anything"}  # an empty one would count as none
    raise NotImplementedError  # how msgspec is told that this is nothing for a hook


def _specify(overrides: dict[str, Json], devices: Schema) -> None:
    """Let `overrides` allow what `devices` allows: the same keys, none of which has a default."""
    overrides.update(_without_defaults({"properties": devices["properties"], "additionalProperties": False}))


def _without_defaults(part: Schema) -> dict[str, Json]:
    rest: dict[str, Json] = {key: each for key, each in part.items() if key != "default"}
    if "properties" in part:
        rest["properties"] = {
            key: _without_defaults(entries(each)) for key, each in entries(part["properties"]).items()
        }
    if "items" in part:
        rest["items"] = _without_defaults(entries(part["items"]))
    if "anyOf" in part:
        rest["anyOf"] = [_without_defaults(entries(each)) for each in items(part["anyOf"])]
    return rest


def entries(value: Json) -> dict[str, Json]:
    """Return `value` if it is an object, and else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Json) -> list[Json]:
    """Return `value` if it is an array, and else an empty one."""
    return value if isinstance(value, list) else []


def spelled(value: Json) -> str:
    """Return the value as JSON, whole numbers without a fraction."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def words(part: Schema) -> str:
    """Return in a few words what a part of the schema allows."""
    if "enum" in part:
        return "one of " + ", ".join(str(each) or '""' for each in items(part["enum"]))
    if "anyOf" in part:
        return "; or ".join(words(entries(each)) for each in items(part["anyOf"]))
    kind = str(part.get("type"))
    if kind == "array" and "items" in part:
        return f"a list, each item {words(entries(part['items']))}"
    if choice := choices(part):
        return "one of " + ", ".join(choice)
    if "pattern" in part:
        return _PATTERNS.get(str(part["pattern"]), f"a text that matches {part['pattern']}")
    return _KINDS.get(kind, "anything") + (", not empty" if "minLength" in part else _range(part))


def choices(part: Schema) -> list[str]:
    """Return the words that a pattern allows, if it is a list of words."""
    found = _CHOICE.fullmatch(str(part.get("pattern")))
    return [] if found is None else found[1].split("|")


def reference() -> str:
    """Return the tables of docs/configuration.md: every key with its default, range and meaning."""
    # Rules are the same for every kind of device.
    sections = {_RULES.sub("devices.<kind>.rules", path): part for path, part in _sections("", root())}
    return "\n".join(line for path, part in sections.items() for line in _table(path, part))


def _sections(path: str, part: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every section that has keys of its own, outermost first, items of lists as `list[]`."""
    inner = {key: entries(each) for key, each in entries(part.get("properties")).items()}
    if path.endswith("[]") or any(not _sections_in(each) for each in inner.values()):
        yield path, part
    for key, each in inner.items():
        if f"{path}.{key}" != "nodeOverrides[].devices":  # described where `devices` is
            for suffix, section in _sections_in(each).items():
                described = {**section, "description": each.get("description")}
                yield from _sections(f"{path}.{key}{suffix}".lstrip("."), described)


def _sections_in(part: Schema) -> dict[str, Schema]:
    """Return the section that a key has as its value, or the one that is the item of its list; nothing else has any."""
    candidates = {"": part, "[]": entries(part.get("items"))}
    if found := {suffix: each for suffix, each in candidates.items() if "properties" in each}:
        return found
    # Where one section may stand for a list of one, the list is described.
    branches = [_sections_in(entries(each)) for each in items(part.get("anyOf"))]
    return next(filter(None, branches), found)


def _table(path: str, part: Schema) -> Iterator[str]:
    yield from (f"### `{path}`", "", str(part.get("description", "")), "")
    yield from ("| key | default | allowed | meaning |", "| --- | --- | --- | --- |")
    for key, each in entries(part.get("properties")).items():
        leaf = entries(each)
        default = _default(leaf, required=key in items(part.get("required")))
        yield f"| `{key}` | {default} | {words(leaf)} | {leaf.get('description', '')} |"
    yield ""


def _default(part: Schema, *, required: bool) -> str:
    if "default" not in part:
        return "none, it must be given" if required else "none"
    default = spelled(part["default"])
    return f"`{default.strip(chr(34)) or default}`"


def _range(part: Schema) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f" from {low}"
        case None, _:
            return f" up to {high}"
        case _:
            return f" from {low} to {high}"


def _inlined(value: Json, definitions: Schema) -> Json:
    """Return `value` with every reference replaced by what it refers to."""
    if isinstance(value, list):
        return [_inlined(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(reference_ := value.get("$ref"), str):
        return _inlined(definitions[reference_.removeprefix("#/$defs/")], definitions)
    dropped = {"$defs", "title"} if "type" in value else {"$defs"}
    return {
        # Python 3.13 takes a docstring's indentation away, older ones do not.
        key: inspect.cleandoc(each) if key == "description" and isinstance(each, str) else _inlined(each, definitions)
        for key, each in value.items()
        if key not in dropped and not (key == "required" and each == [])
    }
