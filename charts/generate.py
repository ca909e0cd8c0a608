"""Makes the chart's values.schema.json and docs/chart-values.md from the types, or checks that they are current."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from pathlib import Path

import msgspec
from values import WORDS, Values

from intel_agent.config.schema import Json, Schema, described, entries, items, root, spelled, words

HERE = Path(__file__).resolve().parent
SCHEMA = HERE / "intel-agent" / "values.schema.json"
PAGE = HERE.parent / "docs" / "chart-values.md"

_LARGE = 300
"""Characters from which on it is worth while to have a part once."""
MOUNTS = ("kubelet", "cdi", "deviceInfo")
"""Sections of the agent's file whose paths are mounts, too."""

HEAD = """\
# Values of the Helm chart

This page is generated from the types that make `values.schema.json`: `python charts/generate.py --write`.
Helm checks values against that schema; a value that is not here is refused, with its place.

The keys of the agent's configuration file are values of the same name and shape ([configuration.md](configuration.md)).
What is set here is in the agent's file, and what is not set keeps the agent's default.
"""
OWN = """
## The chart's own values

What a change of these values does to running pods is said in [install.md](install.md#what-restarts-pods).
"""
AGENTS = """
## The agent's configuration

No change of these values restarts a pod, with these exceptions: the paths of `kubelet`, `cdi` and `deviceInfo`, and
`health.xpumd.socket`, which are mounts; `simulation`, which is read once; `startupTaint`, `kubernetesEvents`,
`nodeCondition`, `faultTaint`, `eviction` and the first of `nodeOverrides`, which bring rights in the API; the first of
`devices.nic.pools`, or `configFile`, which brings the host's network.
"""

_PATTERNS = {str(msgspec.json.schema(each)["pattern"]): words_ for each, words_ in WORDS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a committed file differs")
    parser.add_argument("--write", action="store_true", help="replace the committed files")
    arguments = parser.parse_args()
    status = 0
    for path, content in made().items():
        if arguments.write:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            print(f"{path} is not what the types say: run `python charts/generate.py --write`", file=sys.stderr)  # noqa: T201
            status = 1
    return status


def made() -> Mapping[Path, str]:
    """Return what the files have to contain."""
    return {SCHEMA: json.dumps(shared(schema()), indent=2, ensure_ascii=False) + "\n", PAGE: page()}


def schema() -> dict[str, Json]:
    """Return the schema of the values: draft-07, which Helm 3 and Helm 4 read, closed, without references."""
    chart, agent = own(), agents()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart intel-agent",
        "type": "object",
        "properties": {**chart, **agent, "global": {"description": "Values of all charts.", "type": "object"}},
        "required": [key for key, part in {**chart, **agent}.items() if "required" in entries(part)],
        "additionalProperties": False,
    }


def shared(whole: Schema) -> dict[str, Json]:
    """Return the schema with each large part that is there several times in `definitions`, and references to it."""
    seen = Counter[str]()
    _count(whole, seen)
    names: dict[str, str] = {}
    definitions: dict[str, Json] = {}

    def put(name: str, value: Json) -> Json:
        part = entries(value)
        text = json.dumps(part)
        if seen[text] < 2 or len(text) < _LARGE:  # noqa: PLR2004 - more than once
            return _with_parts(part, put, name)
        if text not in names:
            names[text] = own = _free(name, names.values())
            definitions[own] = _with_parts(part, put, name)
        return {"$ref": f"#/definitions/{names[text]}"}

    return {**_with_parts(whole, put), "definitions": definitions}


def _count(part: Schema, seen: Counter[str]) -> None:
    """Count how often each part is there, what is in equal ones once."""
    text = json.dumps(part)
    seen[text] += 1
    if seen[text] == 1:
        _with_parts(part, lambda _, each: _count(entries(each), seen))


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, or with a number the first one that is free."""
    return next(each for number in count(1) if (each := name if number == 1 else f"{name}{number}") not in taken)


def _with_parts(part: Schema, put: Callable[[str, Json], Json], name: str = "") -> dict[str, Json]:
    """Return the schema, which is called `name`, with what `put` makes of each schema in it by its name."""
    made = dict(part)
    for keyword, value in part.items():
        match keyword, value:
            case "properties", dict():
                made[keyword] = {key: put(key, each) for key, each in value.items()}
            case "items" | "additionalProperties", dict():
                made[keyword] = put(f"{name}Item", value)
            case "anyOf", list():
                made[keyword] = [put(name, each) for each in value]
            case _:
                pass
    return made


def own() -> dict[str, Json]:
    return _with_required(_properties(described(Values)), except_=("resources",))


def agents() -> dict[str, Json]:
    agent = _properties(root())
    return agent | _with_required({key: agent[key] for key in MOUNTS})


def _with_required(properties: Schema, except_: Collection[str] = ()) -> dict[str, Json]:
    """Return the properties; in sections that templates look into, no default may be taken away by a `null`."""
    return {
        key: {**entries(part), "required": list(entries(entries(part)["properties"]))}
        if "properties" in entries(part) and key not in except_
        else part
        for key, part in properties.items()
    }


def _properties(part: Schema) -> dict[str, Json]:
    return {key: _narrowed(each) for key, each in entries(part.get("properties")).items()}


def _narrowed(value: Json) -> Json:
    """Return the schema without branches of `anyOf` that its `type` forbids: they only name what is refused."""
    if isinstance(value, list):
        return [_narrowed(each) for each in value]
    if not isinstance(value, dict):
        return value
    part = {key: _narrowed(each) for key, each in value.items()}
    if "type" in part and "anyOf" in part:
        kinds = items(part["type"]) or [part["type"]]
        part["anyOf"] = [each for each in items(part["anyOf"]) if entries(each).get("type") in kinds]
        if part["anyOf"] == [{"type": part["type"]}]:
            del part["anyOf"]
    return part


def page() -> str:
    """Return the page about every value."""
    return "\n".join((HEAD, *_tables(OWN, own()), *_tables(AGENTS, agents()))).rstrip() + "\n"


def _tables(head: str, properties: Schema) -> Iterator[str]:
    yield head.strip()
    yield ""
    plain = {key: part for key, part in properties.items() if "properties" not in entries(part)}
    if plain:
        yield from _table("", plain)
    for key, part in properties.items():
        if "properties" in entries(part):
            yield from (f"### `{key}`", "", str(entries(part).get("description", "")), "")
            yield from _table(f"{key}.", entries(entries(part)["properties"]))


def _table(path: str, properties: Schema) -> Iterator[str]:
    yield from ("| value | default | allowed | meaning |", "| --- | --- | --- | --- |")
    yield from _rows(path, properties)
    yield ""


def _rows(path: str, properties: Schema) -> Iterator[str]:
    for key, value in properties.items():
        part = entries(value)
        if "properties" in part:
            yield from _rows(f"{path}{key}.", entries(part["properties"]))
        else:
            cells = f"`{path}{key}`", _default(part), _allowed(part), str(part.get("description", ""))
            yield "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def _default(part: Schema) -> str:
    default = part.get("default")
    return "" if default in (None, "") else f"`{spelled(default).strip(chr(34))}`"


def _allowed(part: Schema) -> str:
    """Return in a few words what is allowed; what has keys of its own is spelled out."""
    allowed = words(part)
    match part:
        case {"anyOf": [*branches]}:
            allowed = "; or ".join(_allowed(entries(each)) for each in branches)
        case {"type": "array", "items": {"properties": dict(keys)}}:
            allowed = f"a list, each item with {', '.join(keys)}"
        case {"type": "array", "items": {"pattern": str()} as item}:
            allowed = f"a list, each item {_allowed(entries(item))}"
        case {"type": "object", "additionalProperties": {"type": "string"}}:
            allowed = "texts by name"
        case {"enum": [*choices]}:
            allowed = "one of " + ", ".join(str(each) or "nothing" for each in choices)
        case {"pattern": str(pattern)}:
            allowed = _PATTERNS.get(pattern, allowed)
        case _:
            pass
    return allowed


if __name__ == "__main__":
    sys.exit(main())
