"""What every part of the configuration file has in common."""

from collections.abc import Iterator

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A part of the file."""

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the section beyond its types: key to problem; nothing as key means all of it."""
        return {}


def problems(section: Section) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the section and with all in it, beyond types, each with its key path below it."""
    yield from section.problems().items()
    for each in msgspec.structs.fields(section):
        for suffix, part in _parts(getattr(section, each.name)):
            yield from ((below(f"{each.encode_name}{suffix}", path), text) for path, text in problems(part))


def below(path: str, key: str) -> str:
    """Return the path of a key of the section at `path`."""
    return f"{path}.{key}" if key else path


def _parts(value: object) -> Iterator[tuple[str, Section]]:
    """Yield the section, or the sections of the list, that the value of a key is, each with what follows the key."""
    if isinstance(value, Section):
        yield "", value
    if isinstance(value, tuple):
        for place, item in enumerate(value):  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # a field may hold anything
            if isinstance(item, Section):
                yield f"[{place}]", item
