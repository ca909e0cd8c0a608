"""The configuration file: read, checked as a whole, and turned into `Config`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec

from intel_agent.backends import Backend
from intel_agent.config.check import Check, Problem
from intel_agent.config.document import LIMIT, DocumentError, read
from intel_agent.config.schema import Json, entries, root
from intel_agent.config.sections import Config, Section
from intel_agent.errors import ConfigError


def _no_lines() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and where its values come from."""

    config: Config = field(default_factory=Config)
    source: str | None = None
    """The file, or `None` when there is none and everything is a default."""
    lines: Mapping[str, int] = field(default_factory=_no_lines)
    """The line of every key that the file has, by its path (`devices.gpu.sharedDevNum`)."""

    def origin(self, key: str) -> str:
        """Return where the value of the key path comes from: `default` or `file:line`."""
        return f"{self.source}:{self.lines[key]}" if key in self.lines else "default"


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
        raise ConfigError([f"{path}: {(error.strerror or str(error)).lower()}"]) from error
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
    for path, section in _sections("", Config):
        inner = data
        for key in path.split("."):
            inner = entries(inner.get(key))
        sound = {key: value for key, value in inner.items() if not _touched(f"{path}.{key}", wrong)}
        for key, text in msgspec.convert(sound, section).problems().items():
            line = check.lines.get(f"{path}.{key}", check.lines.get(path, 1))
            yield Problem(line, f"{path}.{key}", text)


def _touched(path: str, wrong: Iterable[str]) -> bool:
    return any(each == path or each.startswith((f"{path}.", f"{path}[")) for each in wrong)


def _sections(path: str, section: type[msgspec.Struct]) -> Iterator[tuple[str, type[Section | Backend]]]:
    for each in msgspec.structs.fields(section):
        if isinstance(each.type, type) and issubclass(each.type, Section | Backend):
            inner = f"{path}.{each.encode_name}" if path else each.encode_name
            yield inner, each.type
            yield from _sections(inner, each.type)
