"""What the parts of the migration tell each other: immutable data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from intel_agent.config.schema import Json
from intel_agent.migrate.text import escaped


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was given and has no equivalent: where, what, and what to do instead."""

    place: str
    """`file:line`."""
    subject: str
    """Kind and name of the object."""
    field: str
    """Path of the field in the object; empty: the object as a whole."""
    text: str

    def __str__(self) -> str:
        return escaped(": ".join(part for part in (self.place, self.subject, self.field, self.text) if part))


@dataclass(frozen=True, slots=True)
class Given:
    """A field as it was given."""

    path: str
    """What people call it: `spec.sharedDevNum`."""
    place: str
    value: Json


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value to print, and where it comes from."""

    value: Json
    origin: str = ""
    given: bool = True
    """Whether somebody wrote it, instead of taking a default."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A section to print, with comments above its keys."""

    keys: "Mapping[str, Tree]" = field(default_factory=lambda: MappingProxyType({}))
    comments: tuple[str, ...] = ()


Tree: TypeAlias = "Leaf | Branch | tuple[Branch, ...]"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One of the old plugins as it is deployed: what it offers, how, and on which nodes."""

    subject: str
    place: str
    section: str
    """The key of its kind below `devices`."""
    settings: Mapping[str, Leaf]
    """Every key of the section that the plugin determines, whether it differs from our default or not."""
    selector: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Labels of the nodes where it ran."""
    tolerations: tuple[Json, ...] = ()
    debug: Leaf | None = None
    """Our level, if it was so verbose."""
    rules: Leaf | None = None
    """Whether rules for Node Feature Discovery came with it."""
    comments: tuple[str, ...] = ()
    offered: bool = True
    """Whether what the plugin did is carried over. If not, its fields are only kept in comments."""


def plain(tree: Tree) -> Json:
    """Return the values of a tree without their origins."""
    match tree:
        case Leaf():
            return tree.value
        case Branch():
            return {key: plain(each) for key, each in tree.keys.items()}
        case tuple():
            return [plain(each) for each in tree]
