"""The configuration file: read, checked as a whole, and turned into `Config`."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, get_args, get_origin

import msgspec

from intel_agent.config.check import Check, Problem
from intel_agent.config.document import LIMIT, DocumentError, read
from intel_agent.config.overlay import conflicts, kinds, matching, objections, of_node
from intel_agent.config.schema import Json, entries, items, root
from intel_agent.config.sections import Config, Devices, FaultTaint, Kubelet, NodeOverride, StartupTaint
from intel_agent.config.selector import Labels
from intel_agent.errors import ConfigError, words
from intel_agent.rules import Rule
from intel_agent.section import Section, below


def _no_lines() -> Mapping[str, int]:
    return MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and where its values come from."""

    config: Config = field(default_factory=Config)
    source: str | None = None
    """The file, or `None` when there is none and everything is a default."""
    lines: Mapping[str, int] = field(default_factory=_no_lines)
    """The line of every key that the file has, by its path (`devices.gpu.sharedDevNum`)."""

    overridden: Mapping[str, str] = field(default_factory=_nothing)
    """Which key of an override (`nodeOverrides[1].devices.gpu.sharedDevNum`) gave a key its value."""

    def origin(self, key: str) -> str:
        """Return where the value of the key path comes from: `default`, or `file:line`, and which override if any."""
        path = self._given(key)
        if path not in self.lines:
            return "default"
        place = f"{self.source}:{self.lines[path]}"
        return place if path == key else f"{place} ({path.partition('.')[0]})"

    def _given(self, key: str) -> str:
        """Return the key path that gave a key its value: an override gives a list as a whole."""
        whole = next((each for each in self.overridden if re.match(rf"{re.escape(each)}(\.|\[|$)", key)), key)
        return self.overridden.get(whole, whole) + key.removeprefix(whole)

    def on_node(self, labels: Labels) -> "Loaded":
        """Return the configuration of a node with these labels: `devices` are those in force there.

        Raises:
            ConfigError: the overrides that mean the node cannot be used together.
        """
        overrides = self.config.node_overrides
        devices = of_node(self.config.devices, overrides, labels)
        overridden = {
            f"devices.{section}.{key}": f"nodeOverrides[{place}].devices.{section}.{key}"
            for place in matching(overrides, labels)
            for section, keys in overrides[place].devices.items()
            for key in keys
        }
        config = msgspec.structs.replace(self.config, devices=devices)
        return replace(self, config=config, overridden=MappingProxyType(overridden))


def load(path: Path | None) -> Loaded:
    """Return the configuration in the file, or the defaults when there is no file.

    Raises:
        ConfigError: the file cannot be read, or cannot be used: with everything that is wrong.
    """
    if path is None:
        return Loaded()
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {words(error)}"]) from error
    if len(content) > LIMIT:
        raise ConfigError([f"{path}: found more than {LIMIT} bytes; allowed {LIMIT}"])
    try:
        return parse(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: found bytes that are no text; allowed UTF-8"]) from error


def parse(text: str, source: str) -> Loaded:
    """Return the configuration in `text`; `source` names it in complaints.

    Raises:
        ConfigError: with everything that is wrong.
    """
    try:
        document = read(text)
    except DocumentError as error:
        raise ConfigError([f"{source}:{error.line}: {error.problem}"]) from error
    check = Check()
    data = entries(check.value(document, root(), "")) if document is not None else {}
    check.problems.extend(_beyond_types(check, data))
    if check.problems:
        raise ConfigError([_sentence(source, each) for each in sorted(check.problems)])
    return Loaded(msgspec.convert(data, Config), source, MappingProxyType(check.lines))


def _sentence(source: str, problem: Problem) -> str:
    return f"{source}:{problem.line}: {problem.path + ': ' if problem.path else ''}{problem.text}"


def _beyond_types(check: Check, data: dict[str, Json]) -> Iterator[Problem]:
    """Yield what the sections say of the values whose types are right."""
    wrong = {problem.path for problem in check.problems}
    sections = list(_sections("", Config, data, wrong))
    devices = next(each for _, each in sections if isinstance(each, Devices))
    directory = next(each.device_plugin_directory for _, each in sections if isinstance(each, Kubelet))
    for path, section in sections:
        found = section.problems()
        if isinstance(section, Rule):
            found = {**objections(kinds(devices)[path.split(".")[1]], section, directory), **found}
        for key, text in found.items():
            where = below(path, key)
            if key or not _touched(path, wrong):  # what is wrong may have been all that there is
                yield Problem(_line(check, where), where, text)
    startup = next(each for _, each in sections if isinstance(each, StartupTaint))
    fault = next(each for _, each in sections if isinstance(each, FaultTaint))
    if text := fault.clash(startup):
        yield Problem(_line(check, "faultTaint.key"), "faultTaint.key", text)
    overrides = {
        path: each
        for path, each in sections
        if isinstance(each, NodeOverride) and not _touched(f"{path}.selector", wrong)
    }
    places = dict(enumerate(overrides))
    for place, key, text in conflicts(devices, dict(enumerate(overrides.values())), directory):
        path = f"{places[place]}.devices.{key}"
        yield Problem(_line(check, path), path, text)


def _line(check: Check, path: str) -> int:
    """Return the line of a key, or of the nearest one above it that the file has."""
    while path and path not in check.lines:
        path = path.rpartition(".")[0]
    return check.lines.get(path, 1)


def _sections(
    path: str, section: type[msgspec.Struct], data: dict[str, Json], wrong: Collection[str]
) -> Iterator[tuple[str, Section]]:
    """Yield every section inside `section`, also those in lists, made of the values that are right.

    One that lacks a key which must be given is left out, but not what is in it.
    """
    for each in msgspec.structs.fields(section):
        inner = f"{path}.{each.encode_name}".lstrip(".")
        for place, kind, part in _parts(inner, each.type, data.get(each.encode_name)):
            sound = _sound(part, kind, place, wrong)
            if all(key.encode_name in sound for key in msgspec.structs.fields(kind) if key.required):
                yield place, msgspec.convert(sound, kind)
            yield from _sections(place, kind, part, wrong)


_Part = tuple[str, type[Section], dict[str, Json]]


def _parts(path: str, kind: object, value: Json) -> Iterator[_Part]:
    """Yield the section, or the sections of the list, that a key of the type `kind` has as its value."""
    if isinstance(kind, type) and issubclass(kind, Section):
        yield path, kind, entries(value)
    inner = get_args(kind)
    if get_origin(kind) is Annotated:
        yield from _parts(path, inner[0], value)
    elif get_origin(kind) is tuple:
        for place, each in enumerate(items(value)):
            yield from _parts(f"{path}[{place}]", inner[0], each)


def _sound(part: dict[str, Json], kind: type[msgspec.Struct], path: str, wrong: Collection[str]) -> dict[str, Json]:
    """Return the part without keys that are wrong, or have something wrong inside; sections keep the rest of theirs."""
    sound: dict[str, Json] = {}
    inner = {each.encode_name: each.type for each in msgspec.structs.fields(kind)}
    for key, value in part.items():
        here = f"{path}.{key}"
        section = inner.get(key)
        if isinstance(section, type) and issubclass(section, Section) and here not in wrong:
            sound[key] = _sound(entries(value), section, here, wrong)
        elif not _touched(here, wrong):
            sound[key] = value
    return sound


def _touched(path: str, wrong: Iterable[str]) -> bool:
    return any(each == path or each.startswith((f"{path}.", f"{path}[")) for each in wrong)
