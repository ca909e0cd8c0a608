"""Text as JSON can say it. Python reads a file name or an argument that is no UTF-8 into text with lone surrogates."""

from typing import cast

import msgspec


def spelled(text: str) -> str:
    r"""Return the text with each lone surrogate in Python's words: `\udcff`."""
    return text.encode(errors="backslashreplace").decode()


def encoded(value: object) -> bytes:
    """Return the value as JSON; text that JSON cannot say is spelled."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_plain(msgspec.to_builtins(value, str_keys=True)))


def _plain(value: object) -> object:
    match value:
        case str():
            return spelled(value)
        case dict():
            return {spelled(key): _plain(each) for key, each in cast("dict[str, object]", value).items()}
        case list() | tuple():
            return [_plain(each) for each in cast("list[object] | tuple[object, ...]", value)]
        case _:
            return value
