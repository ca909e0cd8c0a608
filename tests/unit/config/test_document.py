"""YAML is read by the core schema of YAML 1.2, and only what is needed of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.config.document import (
    DEPTH,
    LIMIT,
    DocumentError,
    Entries,
    Items,
    Refused,
    Scalar,
    read,
    read_all,
    resolved,
)

CORE = [
    ("", None),
    ("~", None),
    ("null", None),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("0", 0),
    ("-19", -19),
    ("+7", 7),
    ("010", 10),
    ("0o10", 8),
    ("0x3A", 58),
    ("0.", 0.0),
    (".5", 0.5),
    ("-2E+05", -200000.0),
    ("12e03", 12000.0),
    (".inf", math.inf),
    ("-.INF", -math.inf),
]
TEXTS = [
    "yes", "no", "on", "off", "y", "n", "1:30", "190:20:30", "2026-01-01", "<<", "1_000", "0b11", "0000:3b:00.0",
    "0x", "0o8", "1e", "nan", "inf", "tRUE", "=", "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CORE)
def test_plain_values_mean_what_the_core_schema_says(text: str, value: object) -> None:
    assert (resolved(text), type(resolved(text))) == (value, type(value))


def test_not_a_number_is_a_number() -> None:
    value = resolved(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("text", TEXTS)
def test_everything_else_is_a_text(text: str) -> None:
    assert resolved(text) == text


@given(st.text())
def test_any_plain_value_is_resolved(text: str) -> None:
    value = resolved(text)
    assert isinstance(value, str | int | float | None)
    assert not isinstance(value, str) or value == text


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    assert 1 <= last_line(text) <= max(len(text.splitlines()), 1)


def last_line(text: str) -> int:
    """Return the line where `text` stops making sense, or 1."""
    try:
        read(text)
    except DocumentError as error:
        return error.line
    return 1


@pytest.mark.parametrize("quoted", ["'true'", '"12"', "!!str 5", "|\n  null\n"])
def test_quotes_make_a_text_and_tags_are_refused(quoted: str) -> None:
    node = read(quoted)
    assert isinstance(node, Scalar | Refused)
    assert isinstance(node, Refused) or isinstance(node.value, str)


def test_nodes_know_their_lines() -> None:
    assert read("a: 1\nb:\n- x\n- {}\n") == Entries(
        1,
        (
            (Scalar(1, "a", "a"), Scalar(1, "1", 1)),
            (Scalar(2, "b", "b"), Items(3, (Scalar(3, "x", "x"), Entries(4, ())))),
        ),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n...\n", "%YAML 1.2\n---\n"])
def test_an_empty_document_is_nothing(text: str) -> None:
    assert read(text) is None


def test_documents_are_read_in_order_without_empty_ones() -> None:
    text = "a: 1\n---\n# nothing\n---\n- x\n...\n---\n--- ''\n"
    first = Entries(1, ((Scalar(1, "a", "a"), Scalar(1, "1", 1)),))
    assert read_all(text) == (first, Items(5, (Scalar(5, "x", "x"),)), Scalar(8, "", ""))
    assert read_all("") == read_all("---\n---\n") == ()


def test_a_broken_document_behind_others_is_refused_with_its_line() -> None:
    with pytest.raises(DocumentError, match="found no YAML") as caught:
        read_all("a: 1\n---\nb: [\n")
    assert caught.value.line == 3


def test_aliases_are_refused_where_they_stand() -> None:
    node = read("a: &x 1\nb: *x\n")
    assert isinstance(node, Entries)
    assert node.pairs[1][1] == Refused(2, "the alias *x", "write the value out")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        pytest.param("a:\n\t- b", 2, "found a tab; allowed spaces", id="tab"),
        pytest.param("a: [1,\n  2", 1, "found no YAML (while parsing a flow sequence", id="end of file"),
        pytest.param("a: b: c", 1, "mapping values are not allowed", id="two colons"),
        pytest.param("a: 1\n---\nb: 2\n", 2, "found a second document; allowed one", id="two documents"),
        pytest.param("a: 1\nb: \0", 2, "found the character U+0000", id="control character"),
        pytest.param("a: \ud800", 1, "found the character U+D800", id="surrogate"),
        pytest.param("[" * (DEPTH + 1) + "]" * (DEPTH + 1), 1, "inside each other", id="depth"),
        pytest.param("[" * 100_000, 1, "inside each other", id="bottomless"),
        pytest.param("#" * (LIMIT + 1), 1, f"found more than {LIMIT} bytes", id="size"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(text: str, line: int, part: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert caught.value.line == line
    assert part in caught.value.problem
