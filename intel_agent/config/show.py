"""The configuration in force, printed with the place each value comes from."""

import json
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from intel_agent.config.document import resolved
from intel_agent.config.file import Loaded
from intel_agent.config.schema import Json, entries, spelled
from intel_agent.config.sections import Config

_SIMPLE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")


def show(loaded: Loaded, form: Literal["yaml", "json"] = "yaml") -> str:
    """Return every value and its origin. As YAML it is a file that can be loaded again; the origins are comments."""
    data = _data(loaded.config)
    if form == "yaml":
        return "\n".join(_lines(loaded, data, "", "")) + "\n"
    origins = {path: loaded.origin(path) for path in _leaves(data)}
    return json.dumps({"config": data, "origins": origins}, indent=2, ensure_ascii=False) + "\n"


def changed(before: Config, after: Config) -> tuple[str, ...]:
    """Return the key paths whose values differ."""
    old, new = _leaves(_data(before)), _leaves(_data(after))
    return tuple(path for path in {**old, **new} if path not in old or path not in new or old[path] != new[path])


def _data(config: Config) -> dict[str, Json]:
    data: dict[str, Json] = json.loads(msgspec.json.encode(config))
    return data


def _leaves(data: dict[str, Json], path: str = "") -> dict[str, Json]:
    leaves: dict[str, Json] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            leaves |= _leaves(value, f"{path}{key}.")
        else:
            leaves[f"{path}{key}"] = value
    return leaves


def _lines(loaded: Loaded, data: dict[str, Json], path: str, indent: str) -> Iterator[str]:
    for key, value in data.items():
        name, inner = _scalar(key), f"{path}{key}"
        if value and isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(loaded, value, f"{inner}.", f"{indent}  ")
        elif value and isinstance(value, list) and all(isinstance(each, dict) for each in value):
            yield f"{indent}{name}:"
            for place, each in enumerate(value):
                yield from _item(_lines(loaded, entries(each), f"{inner}[{place}].", f"{indent}    "), indent)
        else:
            yield f"{indent}{name}: {_scalar(value)}  # {loaded.origin(inner)}"


def _item(lines: Iterator[str], indent: str) -> Iterator[str]:
    """Yield the lines of a section as an item of a list."""
    yield f"{indent}  - {next(lines).lstrip()}"
    yield from lines


def _scalar(value: Json) -> str:
    """Return the value on one line: JSON, which YAML contains, but without quotes where they say nothing."""
    if isinstance(value, str) and _SIMPLE.fullmatch(value) and resolved(value) == value:
        return value
    return spelled(value)
