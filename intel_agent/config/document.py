"""A YAML document as a tree that knows its lines.

Plain values mean what the core schema of YAML 1.2 says (https://yaml.org/spec/1.2.2/#103-core-schema) and nothing
else: `yes`, `off`, `1:30` and `2026-01-01` are texts. Aliases and tags are refused, and so is a document that is too
large or too deep.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

LIMIT = 1 << 20
"""The largest document, in bytes: as large as a ConfigMap can be."""

DEPTH = 32
"""The most collections inside each other."""
_TOO_DEEP = f"found more than {DEPTH} collections inside each other; allowed {DEPTH}"

Plain: TypeAlias = bool | int | float | str | None

# The C parser ships with every wheel of PyYAML; a build without it is slower and says the same.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONSTANTS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Digits are bounded because Python refuses to convert thousands of them.
_DECIMAL = re.compile(r"[-+]?[0-9]{1,400}")
_BASED = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|[0-9]{1,400}(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,400})?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class DocumentError(Exception):
    """Expected error: the text is not one YAML document of the kind that is understood."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value, and how it is written."""

    line: int
    text: str
    value: Plain


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    nodes: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping with all of its keys, doubles included."""

    line: int
    pairs: "tuple[tuple[Node, Node], ...]"


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is YAML and not understood here."""

    line: int
    what: str
    remedy: str


Shape: TypeAlias = Scalar | Items | Entries
Node: TypeAlias = Shape | Refused


def read(text: str) -> Node | None:
    """Return the document in `text`, or `None` when there is nothing in it.

    Raises:
        DocumentError: it is not one YAML document, too large or too deep.
    """
    return next(iter(_parsed(text, 1)), None)


def read_all(text: str) -> tuple[Node, ...]:
    """Return the documents in `text`; those with nothing in them are left out.

    Raises:
        DocumentError: it is not YAML, too large or too deep.
    """
    return _parsed(text, None)


def _parsed(text: str, most: int | None) -> tuple[Node, ...]:
    """Return the documents in `text`, which may have at most so many."""
    if len(text.encode(errors="surrogatepass")) > LIMIT:
        raise DocumentError(1, f"found more than {LIMIT} bytes; allowed {LIMIT}")
    if (odd := _UNPRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, odd.start()) + 1
        raise DocumentError(line, f"found the character U+{ord(odd[0]):04X}; allowed printable ones")
    try:
        return tuple(each for each in _documents(_events(text), most) if not _is_nothing(each))
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from error


def resolved(text: str) -> Plain:
    """Return what `text` means when it stands in a document without quotes."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _INFINITE.fullmatch(text) else text


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=_LOADER)  # type: ignore[no-any-return,unused-ignore]  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]  # PyYAML's types do not say what it yields


def _documents(events: Iterator[yaml.Event], most: int | None) -> Iterator[Node]:
    count = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if count == most:
                raise DocumentError(_line(event), "found a second document; allowed one")
            count += 1
            yield _node(next(events), events, DEPTH)


def _is_nothing(document: Node) -> bool:
    return isinstance(document, Scalar) and document.text == "" and document.value is None


def _node(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
    line = _line(event)
    if depth == 0:
        raise DocumentError(line, _TOO_DEEP)
    match event:
        case yaml.ScalarEvent():
            value: str = event.value
            node: Node = Scalar(line, value, resolved(value) if event.implicit[0] else value)
        case yaml.SequenceStartEvent():
            node = Items(line, tuple(_nodes(events, depth)))
        case yaml.MappingStartEvent():
            inner = tuple(_nodes(events, depth))
            node = Entries(line, tuple(zip(inner[::2], inner[1::2], strict=True)))
        case _:  # an alias: nothing else can stand here
            return Refused(line, f"the alias *{getattr(event, 'anchor', '')}", "write the value out")
    return node if event.tag is None else Refused(line, f"the tag {event.tag}", "write the value without a tag")


def _nodes(events: Iterator[yaml.Event], depth: int) -> Iterator[Node]:
    """Yield the nodes up to the end of the present collection."""
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            return
        yield _node(event, events, depth - 1)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> DocumentError:
    lines = text.splitlines() or [""]
    marks = [mark.line for mark in (error.problem_mark, error.context_mark) if mark is not None]
    # What never ends is noticed behind the last line; where it begins says more.
    line = next((each for each in marks if each < len(lines)), len(lines) - 1)
    problem = " ".join(part for part in (error.context, error.problem) if part)
    if "maximum nesting depth" in problem:  # newer parsers have a limit of their own, and look ahead
        return DocumentError(line + 1, _TOO_DEEP)
    if "\t" in lines[line]:
        return DocumentError(line + 1, f"found a tab; allowed spaces ({problem})")
    return DocumentError(line + 1, f"found no YAML ({problem})")
