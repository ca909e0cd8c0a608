"""docs/log-queries.md: each question is answered as it says, and asks for events and keys that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_vocabulary import documented

PAGE = Path(__file__).parents[3] / "docs" / "log-queries.md"
SAMPLE = Path(__file__).parent / "sample.jsonl"
ALWAYS = frozenset({"time", "level", "event"})
EVENT = re.compile(r'event\s*==?\s*"([a-z]+\.[a-z]+)"')
ALTERNATIVES = re.compile(r'event =~ "([a-z]+)\[[.]\]\(([a-z|]+)\)"')
JQ_KEY = re.compile(r"(?<![\w\"])\.([a-z_]+)")
LOGQL_KEY = re.compile(r'\b([a-z_]+)\s*=~?\s*"|\{\{\.([a-z_]+)\}\}|sum by \(([a-z_, ]+)\)')
OURS = frozenset({"app", "node"})
"""Labels that Loki's collectors give, not we."""


def sections() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each question with its blocks by language."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.partition("\n")[0]
        yield title, dict(re.findall(r"```(jq|text|logql)\n(.*?)```", section, re.DOTALL))


SECTIONS = list(sections())
EVERY = pytest.mark.parametrize("blocks", [each for _, each in SECTIONS], ids=[title for title, _ in SECTIONS])
KEYS = frozenset(key for row in documented().values() for key in row.keys) | ALWAYS


@EVERY
def test_jq_gives_the_answer_of_the_page(blocks: dict[str, str]) -> None:
    if (program := shutil.which("jq")) is None:
        pytest.skip("needs jq")
    ended = subprocess.run([program, "-r", blocks["jq"], SAMPLE], capture_output=True, text=True, check=True)
    events = "".join(f"{each['event']}\n" for each in map(json.loads, SAMPLE.read_text().splitlines()))
    assert ended.stdout == blocks.get("text", events)


@EVERY
def test_questions_are_about_events_and_keys_that_there_are(blocks: dict[str, str]) -> None:
    both = blocks["jq"] + blocks["logql"]
    events = set(EVENT.findall(both))
    events |= {f"{noun}.{each}" for noun, several in ALTERNATIVES.findall(both) for each in several.split("|")}
    assert events <= documented().keys()
    keys = set(JQ_KEY.findall(blocks["jq"]))
    for plain, shown, several in LOGQL_KEY.findall(blocks["logql"]):
        keys |= set(filter(None, [plain, shown, *several.split(", ")]))
    assert keys
    assert keys <= KEYS | OURS


@EVERY
def test_both_languages_ask_for_the_same_events(blocks: dict[str, str]) -> None:
    asked = [set(EVENT.findall(blocks["jq"])), set(EVENT.findall(blocks["logql"]))]
    asked[1] |= {
        f"{noun}.{each}" for noun, several in ALTERNATIVES.findall(blocks["logql"]) for each in several.split("|")
    }
    if all(asked):
        assert asked[1] <= asked[0]


@pytest.mark.parametrize("line", SAMPLE.read_text(encoding="utf-8").splitlines(), ids=lambda line: line[:24])
def test_the_sample_is_a_log_of_ours(line: str) -> None:
    said = json.loads(line)
    row = documented()[said["event"]]
    assert said["level"] in row.levels
    assert set(said) - ALWAYS <= row.keys
