"""Sections that are continued in a file of their own, made whole: backends read no files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from intel_agent.backends import Backend
from intel_agent.config.document import LIMIT
from intel_agent.config.sections import Devices
from intel_agent.errors import ConfigError, words

_NAME = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
KNOWN_NAMES = frozenset({"NODE_NAME"})
"""What may stand in a path as `$(NAME)`, as kubelet writes it."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Device sections as they are used, and what is to be said of their files."""

    devices: Devices
    given: Devices
    """The sections without their files."""
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Why files cannot be used: their sections are as they were, or offer nothing."""
    remarks: tuple[tuple[str, str], ...] = ()
    """What means nothing in them: which file, and what of it."""


def whole(devices: Devices, environment: Mapping[str, str], before: Whole | None = None) -> Whole:
    """Return the sections with what their files say. Of a file that cannot be used, the last good content counts.

    Reads files, so it belongs into a thread.
    """
    files: list[str] = []
    problems: list[str] = []
    remarks: list[tuple[str, str]] = []
    changed: dict[str, Backend] = {}
    for each in msgspec.structs.fields(Devices):
        section = getattr(devices, each.name)
        if not (isinstance(section, Backend) and section.enabled and section.file):
            continue
        path = expanded(section.file, environment)
        files.append(path)
        try:
            changed[each.name], said = _continued(section, path)
            remarks += [(path, text) for text in said]
        except ConfigError as error:
            problems += [f"{path}: {text}" for text in error.problems]
            changed[each.name] = _last_good(each.name, section, before)
    made = msgspec.structs.replace(devices, **changed)
    return Whole(made, devices, tuple(files), tuple(problems), tuple(remarks))


def _continued(section: Backend, path: str) -> tuple[Backend, tuple[str, ...]]:
    """Return the section with what the file says, and remarks. Where there is no file, there is nothing to offer.

    Raises:
        ConfigError: the file is there and cannot be used.
    """
    if (content := _content(path)) is None:
        return _off(section), (f"no such file, so {section.name} offers nothing",)
    return section.with_file(content)


def _off(section: Backend) -> Backend:
    return msgspec.structs.replace(section, enabled=False)


def _last_good(name: str, section: Backend, before: Whole | None) -> Backend:
    """Return the section as it was if it has not changed, else one that offers nothing."""
    if before is not None and getattr(before.given, name) == section:
        good: Backend = getattr(before.devices, name)
        return good
    return _off(section)


def expanded(path: str, environment: Mapping[str, str]) -> str:
    """Return the path with `$(NODE_NAME)` replaced; what is not known stays as it is."""

    def value(found: re.Match[str]) -> str:
        return environment.get(found[1], found[0]) if found[1] in KNOWN_NAMES else found[0]

    return _NAME.sub(value, path)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([words(error)]) from error
    if len(content) > LIMIT:
        raise ConfigError([f"found more than {LIMIT} bytes; allowed {LIMIT}"])
    return content
