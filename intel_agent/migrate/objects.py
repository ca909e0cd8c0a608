"""Documents taken apart: objects of Kubernetes, values files, and the configuration of the SR-IOV plugin."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from intel_agent.config.check import found
from intel_agent.config.document import DocumentError, Entries, Items, Node, Refused, Scalar, read_all
from intel_agent.config.schema import Json
from intel_agent.errors import AgentError
from intel_agent.migrate.model import Given
from intel_agent.migrate.text import shown


@dataclass(frozen=True, slots=True)
class Object:
    """A mapping that stands for itself, and where."""

    source: str
    line: int
    node: Entries
    path: str = ""
    """What leads to it, where it is part of another object."""

    @property
    def place(self) -> str:
        return f"{self.source}:{self.line}"

    @property
    def fields(self) -> Mapping[str, Given]:
        """The keys in the order of the document."""
        return {
            key.text: Given(f"{self.path}{shown(key.text)}", f"{self.source}:{key.line}", _plain(value))
            for key, value in self.node.pairs
            if isinstance(key, Scalar)
        }

    def node_of(self, key: str) -> Node | None:
        """Return what stands behind a key, or `None` when there is none of that name."""
        return dict(_named(self.node)).get(key)

    def inside(self, *keys: str) -> "Object | None":
        """Return the section behind a path of keys, or `None` when there is none."""
        first, *rest = keys
        section = self._section(first, self.node_of(first))
        return section.inside(*rest) if rest and section is not None else section

    def each(self, key: str) -> "tuple[Object | Given, ...]":
        """Return the items of the list `key`: sections as objects, and what is none as it was given."""
        node = self.node_of(key)
        nodes = node.nodes if isinstance(node, Items) else ()
        return tuple(
            self._section(f"{key}[{index}]", each)
            or Given(f"{self.path}{shown(key)}[{index}]", f"{self.source}:{each.line}", _plain(each))
            for index, each in enumerate(nodes)
        )

    def text(self, *keys: str) -> str:
        """Return the text that stands behind a path of keys, or nothing."""
        node: Node | None = self.node
        for key in keys:
            node = dict(_named(node)).get(key) if isinstance(node, Entries) else None
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""

    def _section(self, key: str, node: Node | None) -> "Object | None":
        if not isinstance(node, Entries):
            return None
        return Object(self.source, node.line, node, f"{self.path}{shown(key)}.")


def objects(text: str, source: str) -> tuple[Object, ...]:
    """Return the objects in `text`, lists of them taken apart.

    Raises:
        AgentError: it cannot be read, with its line.
    """
    try:
        documents = read_all(_without_tabs(text))
    except DocumentError as error:
        raise AgentError(f"{source}:{error.line}: {error.problem}") from error
    return tuple(each for document in documents for each in _objects(document, source, ""))


def _objects(node: Node, source: str, path: str) -> Iterator[Object]:
    _check(node, source)
    if not isinstance(node, Entries):
        raise AgentError(f"{source}:{node.line}: found {found(node)}; allowed an object or a values file")
    whole = Object(source, node.line, node, path)
    items = whole.node_of("items")
    if whole.text("kind").endswith("List") and isinstance(items, Items):
        for each in items.nodes:
            yield from _objects(each, source, "")
    elif node.pairs:
        yield whole


def _check(node: Node, source: str) -> None:
    """Refuse what has no plain meaning.

    Raises:
        AgentError: an alias, a tag, a key that is no text, or one that stands twice.
    """
    match node:
        case Refused():
            raise AgentError(f"{source}:{node.line}: found {node.what}: {node.remedy}")
        case Items():
            for each in node.nodes:
                _check(each, source)
        case Entries():
            _check_keys(node, source)
            for _, value in node.pairs:
                _check(value, source)
        case Scalar():
            pass


def _check_keys(node: Entries, source: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.pairs:
        if not isinstance(key, Scalar) or not isinstance(key.value, str):
            raise AgentError(f"{source}:{key.line}: found {found(key)} as a key; allowed a text in quotes")
        if key.text in lines:
            what = f"found {shown(key.text)} twice, first in line {lines[key.text]}; allowed once"
            raise AgentError(f"{source}:{key.line}: {what}")
        lines[key.text] = key.line


def _named(node: Entries) -> Iterator[tuple[str, Node]]:
    return ((key.text, value) for key, value in node.pairs if isinstance(key, Scalar))


def _plain(node: Node) -> Json:
    match node:
        case Scalar():
            return node.value
        case Items():
            return [_plain(each) for each in node.nodes]
        case Entries():
            return {key: _plain(value) for key, value in _named(node)}
        case Refused():
            raise AssertionError(node.what)  # refused when the document was read


def _without_tabs(text: str) -> str:
    """Return JSON as YAML takes it: the two differ in tabs, which cannot be part of a text in JSON."""
    if "\t" not in text:
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")
