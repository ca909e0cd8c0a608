"""Values and words of people on one line, so that nothing in them can break out of it."""

import json
import math
import re

from intel_agent.config.document import resolved
from intel_agent.config.schema import Json

_SIMPLE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_SWITCHES = frozenset({"y", "yes", "on", "n", "no", "off"})
"""Words that Helm takes for true and false, as YAML 1.1 says; quotes make them texts for everybody."""
_ODD = re.compile("[^ -~\xa1-\u1fff\u2070-\ud7ff]")
"""Characters that are written as escapes: those that a reader of YAML, or a person, could take for something else."""


def scalar(value: Json) -> str:
    """Return the value on one line: JSON, which YAML contains, but texts without quotes where these say nothing."""
    if isinstance(value, str) and _SIMPLE.fullmatch(value) and resolved(value) == value:
        return f'"{value}"' if value.lower() in _SWITCHES else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return escaped(_flow(value))


def _flow(value: Json) -> str:
    """Return the value as JSON, and what JSON has no words for as YAML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(each) for each in value) + "]"
        case float() if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        case _:
            return json.dumps(value, ensure_ascii=False)


def shown(text: str) -> str:
    """Return a text that people gave so that it fits on a line: quoted if something in it is odd."""
    return scalar(text) if _ODD.search(text) else text


def escaped(text: str) -> str:
    """Return a line of text with escapes for what is odd."""
    return _ODD.sub(_escape, text)


def _escape(odd: re.Match[str]) -> str:
    code = ord(odd[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - what fits into four digits
