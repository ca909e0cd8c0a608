r"""Machines as text: the part of /sys and /dev that says which devices a node has.

One entry a line; empty lines and lines that start with `#` say nothing:

    /sys/devices/pci0000:3a/vendor = 0x8086      a file; the kernel's newline at the end goes without saying
    /sys/class/drm/card0 -> ../../devices/...    a link, relative as in a real /sys
    /dev/dri/card0 c 226:0                       a character device
    /sys/kernel/debug/                           a directory with nothing in it

In a file's text `\n`, `\t`, `\\` and `\xNN` mean what they mean in Python, and `\c` at the end says: no newline here.
Directories above an entry go without saying. `intel_agent.simulation.disk` makes real files of a tree.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TypeAlias

from intel_agent.errors import AgentError
from intel_agent.sysfs import DeviceNumber

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)")
_ESCAPED = {"n": "\n", "t": "\t", "\\": "\\"}
_PATH = re.compile(r"(/[^/\s]+)+")
_NUMBERS = re.compile(r"([0-9]{1,8}):([0-9]{1,8})")


class TreeError(AgentError):
    """A tree that cannot be: its text is not understood, or it contradicts itself or what is on disk."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file with exactly this content."""

    content: bytes

    def __str__(self) -> str:
        text = self.content.decode("utf-8", "surrogateescape")
        line, newline, rest = text.rpartition("\n")
        return f"= {_escaped(line)}" if newline and not rest else f"= {_escaped(text)}\\c"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str

    def __str__(self) -> str:
        return f"-> {self.target}"


@dataclass(frozen=True, slots=True)
class CharacterDevice:
    """A device node."""

    number: DeviceNumber

    def __str__(self) -> str:
        return f"c {self.number}"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that nothing else would bring about."""

    def __str__(self) -> str:
        return "/"


Entry: TypeAlias = File | Link | CharacterDevice | Directory


@dataclass(frozen=True, slots=True)
class Tree:
    """Entries by absolute path. Two trees are equal when they have the same entries; `str` gives the text.

    Raises:
        TreeError: a path is odd, an entry lies below something that is not a directory, or a link leaves the tree.
    """

    entries: Mapping[str, Entry]

    def __post_init__(self) -> None:
        for path, entry in self.entries.items():
            if not _PATH.fullmatch(path) or any(part in {".", ".."} for part in path.split("/")):
                raise TreeError(f"{path}: a path must be absolute, without white space, empty parts, `.` and `..`")
            for above in ancestors(path):
                if not isinstance(self.entries.get(above, Directory()), Directory):
                    raise TreeError(f"{path}: lies below {above}, which is not a directory")
            if isinstance(entry, Link) and destination(path, entry.target) is None:
                raise TreeError(f"{path}: a link must be relative and stay in the tree, not {entry.target!r}")

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines())

    def lines(self) -> Iterator[str]:
        for path, entry in self.entries.items():
            yield f"{path}/" if isinstance(entry, Directory) else f"{path} {entry}"

    def __add__(self, other: "Tree") -> "Tree":
        """Return the tree with the entries of both.

        Raises:
            TreeError: both have an entry of that path.
        """
        for path in other.entries:
            if path in self.entries:
                raise TreeError(f"{path}: is there twice")
        return tree({**self.entries, **other.entries})


def tree(entries: Mapping[str, Entry]) -> Tree:
    """Return the tree of these entries, whatever becomes of the mapping."""
    return Tree(MappingProxyType(dict(entries)))


def parse(text: str) -> Tree:
    """Return the tree that `text` describes, in the order of its lines.

    Raises:
        TreeError: a line is not understood, or a path is there twice; with the line's number and text.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            path, entry = _entry(line.strip())
        except TreeError as error:
            raise TreeError(f"line {number}: {line.strip()!r}: {error}") from error
        if path in entries:
            raise TreeError(f"line {number}: {line.strip()!r}: {path} is there twice")
        entries[path] = entry
    return tree(entries)


def node(name: str) -> str:
    """Return the text of the packaged machine `name`.

    Raises:
        TreeError: there is no such machine; the message lists those that there are.
    """
    if name not in names():
        raise TreeError(f"no machine is called {name!r}; there are {', '.join(names())}")
    return (NODES / f"{name}.tree").read_text(encoding="utf-8")


def names() -> tuple[str, ...]:
    """Return the names of the packaged machines, sorted."""
    return tuple(sorted(path.stem for path in NODES.glob("*.tree")))


NODES = Path(__file__).parent / "nodes"
"""Where the packaged machines are."""


def ancestors(path: str) -> Iterable[str]:
    """Return the directories above an absolute path, nearest first, without the root."""
    return (str(above) for above in PurePosixPath(path).parents if above.name)


def destination(path: str, target: str) -> str | None:
    """Return the path that a link at `path` names, or `None` when it leaves the tree.

    Only the text counts, as in /sys, where no link leads over another one.
    """
    if target.startswith("/"):
        return None
    parts = list(PurePosixPath(path).parent.parts[1:])
    for part in PurePosixPath(target).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return "/" + "/".join(parts)


def _entry(line: str) -> tuple[str, Entry]:
    path, _, rest = line.partition(" ")
    mark, _, value = rest.strip().partition(" ")
    match mark:
        case "" if path.endswith("/"):
            return path.removesuffix("/"), Directory()
        case "=":
            return path, File(_content(value.strip()))
        case "->" if value.strip() and len(value.split()) == 1:
            return path, Link(value.strip())
        case "c" if numbers := _NUMBERS.fullmatch(value.strip()):
            return path, CharacterDevice(DeviceNumber(int(numbers[1]), int(numbers[2])))
        case _:
            raise TreeError("is neither `/path = text`, `/path -> target`, `/path c MAJOR:MINOR` nor `/path/`")


def _content(text: str) -> bytes:
    newline = "\n"
    if (match := re.search(r"(?<!\\)(?:\\\\)*(\\c)$", text)) is not None:
        text, newline = text[: match.start(1)], ""
    return _ESCAPE.sub(_unescaped, text + newline).encode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        return bytes([int(code[1:], 16)]).decode("utf-8", "surrogateescape")
    if code not in _ESCAPED:
        raise TreeError(rf"unknown escape {match[0]!r}; there are \n, \t, \\, \xNN, and \c at the end")
    return _ESCAPED[code]


def _escaped(text: str) -> str:
    letters = [_escaped_letter(letter) for letter in text]
    for edge in (0, -1):
        if letters and letters[edge] == " ":
            letters[edge] = r"\x20"
    return "".join(letters)


def _escaped_letter(letter: str) -> str:
    match letter:
        case "\\":
            return r"\\"
        case "\n":
            return r"\n"
        case "\t":
            return r"\t"
        case _ if letter.isprintable():
            return letter
        case _:
            return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
