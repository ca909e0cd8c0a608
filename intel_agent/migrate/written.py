"""A values file as text: YAML, with a comment beside every value."""

from collections.abc import Iterable, Iterator

from intel_agent.config.schema import entries
from intel_agent.migrate.model import Branch, Leaf, Tree
from intel_agent.migrate.text import escaped, scalar


def written(tree: Branch) -> str:
    """Return the text of a values file."""
    return "".join(f"{line}\n" for line in _lines(tree))


def commented(tree: Branch) -> tuple[str, ...]:
    """Return the text of a section as the lines of a comment."""
    return tuple(_lines(tree))


def _lines(tree: Branch) -> Iterator[str]:
    yield from (f"# {escaped(each)}".rstrip() for each in tree.comments)
    for key, each in tree.keys.items():
        yield from _entry(scalar(key), each)


def _entry(key: str, tree: Tree) -> Iterator[str]:
    match tree:
        case Leaf(value=[_, *_] as several) if all(isinstance(each, dict) for each in several):
            yield f"{key}:" + _remark(tree)
            for section in several:
                yield from _indented(_item(Branch({name: Leaf(value) for name, value in entries(section).items()})))
        case Leaf():
            yield f"{key}: {scalar(tree.value)}" + _remark(tree)
        case Branch():
            yield f"{key}:" if tree.keys else f"{key}: {{}}"
            yield from _indented(_lines(tree))
        case tuple():
            yield f"{key}:" if tree else f"{key}: []"
            for each in tree:
                yield from _indented(_item(each))


def _remark(leaf: Leaf) -> str:
    return f"  # {escaped(leaf.origin)}" if leaf.origin else ""


def _item(tree: Branch) -> Iterator[str]:
    yield from (f"# {escaped(each)}".rstrip() for each in tree.comments)
    lines = _lines(Branch(tree.keys))
    yield f"- {next(lines, '{}')}"
    yield from _indented(lines)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
