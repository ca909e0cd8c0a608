"""What outside judges say of devices: what was said last counts until something else is said.

Pure. Words are taken in like what a look shows (`Signs`): they act at once, and their end has to last.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from intel_agent import pci
from intel_agent.health.bodies import body
from intel_agent.inventory import Inventory
from intel_agent.model import Fault, Reason, Signs

XPUMD = "xpumd"
"""The judge of graphics cards."""
KIND = "gpu"
"""What it judges."""

UNKNOWN, FINE = 0, 1
SEVERITIES: Mapping[int, Reason] = MappingProxyType(
    {2: Reason.JUDGED_WARNING, 3: Reason.JUDGED_CRITICAL, 4: Reason.JUDGED_FAILED}
)
"""xpumd's numbers of what is not fine (protos/deviceinfo.proto)."""
MOST_CARDS = 256
MOST_PARTS = 64
LONGEST_TEXT = 200
"""Letters of the judge's own words that are kept."""

_DOMAIN = "0000:"
_SHORT = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""An address without its domain, which is the first one then."""


class Statement(NamedTuple):
    """What is said of one part of a card now: how severe it is, in a word and in a sentence."""

    part: str
    severity: int
    cause: str = ""
    sentence: str = ""


class Word(msgspec.Struct, frozen=True):
    """What is wrong with a part of a card, as it was said last."""

    severity: Annotated[int, msgspec.Meta(ge=min(SEVERITIES), le=max(SEVERITIES))]
    cause: str
    sentence: str

    def fault(self, part: str) -> Fault:
        said = ": ".join(filter(None, (part, self.cause, self.sentence)))
        return Fault(SEVERITIES[self.severity], XPUMD, said or "without a word")


Parts: TypeAlias = Mapping[str, Word]
"""What is wrong with a card, by part."""
Words: TypeAlias = Mapping[str, Parts]
"""By PCI address: every card of which something was said."""
Unclear: TypeAlias = Mapping[str, frozenset[str]]
"""What does not count, each as a sentence, by card as the judge calls it."""
Said: TypeAlias = Sequence[tuple[str, Sequence[Statement]]]
"""A message: cards by PCI address, in any case of letters and perhaps without domain, each with all of its parts."""


def heard(before: Words, said: Said) -> Words:
    """Return what counts after a message."""
    words, ambiguous = {**before}, _ambiguous(before, said)
    for name, statements in said:
        address = _address(name, ambiguous)
        if address and (address in words or len(words) < MOST_CARDS):
            words[address] = _parts(before.get(address, {}), statements)
    return words


def unclear(before: Unclear, said: Said, words: Words) -> Unclear:
    """Return what does not count after a message, after which `words` do; of cards that it does not name it goes on.

    The first cards stay the first ones, so that a judge that raves brings no news for ever.
    """
    ambiguous = _ambiguous(words, said)
    now = {_clipped(name): _problems(_address(name, ambiguous), statements, words) for name, statements in said}
    unclear = [(name, problems) for name, problems in {**before, **now}.items() if problems]
    return dict(unclear[:MOST_CARDS])


def _problems(address: str, statements: Iterable[Statement], words: Words) -> frozenset[str]:
    if not address:
        return frozenset({"its PCI address is none, or may be that of two cards"})
    if address not in words:
        return frozenset({f"more than {MOST_CARDS} cards are not heard"})
    known = {UNKNOWN, FINE, *SEVERITIES}
    return frozenset(
        f"{_clipped(each.part)}: severity {each.severity}, which nobody knows"
        for each in statements
        if each.severity not in known
    )


def _address(name: str, ambiguous: frozenset[str]) -> str:
    """Return the PCI address that a judge means by a name; nothing if it is none, or may be that of two cards."""
    name = name.lower()
    if _SHORT.fullmatch(name):
        return "" if name in ambiguous else f"{_DOMAIN}{name}"
    return name if pci.ADDRESS.fullmatch(name) else ""


def _ambiguous(words: Words, said: Said) -> frozenset[str]:
    """Return what may be the address of two cards where it is said without domain."""
    names = [name.lower() for name, _ in said]
    elsewhere = {each.partition(":")[2] for each in (*words, *names) if not each.startswith(_DOMAIN)}
    return frozenset(elsewhere.union(name for name, times in Counter(names).items() if times > 1))


def without(words: Words, address: str) -> Words:
    """Return what counts after a card left the node."""
    return {each: parts for each, parts in words.items() if each != address}


def witnessed(seen: Inventory, words: Words) -> Inventory:
    """Return what was seen, with what is said of the functions that cards belong to, or depend on."""
    found = seen.found.get(KIND)
    if found is None or not words:
        return seen
    functions = {body(path) for device in found.devices for path in (device.sysfs_path, *device.depends_on)}
    # Those with which nothing is wrong are there, too: what was wrong with them is over, not out of sight.
    signs = (
        Signs(each, _faults(parts))
        for each in sorted(functions)
        if (parts := words.get(each.rpartition("/")[2])) is not None
    )
    return Inventory(MappingProxyType({**seen.found, KIND: replace(found, signs=(*found.signs, *signs))}))


def _parts(before: Parts, statements: Iterable[Statement]) -> dict[str, Word]:
    parts: dict[str, Word] = {}
    for each in statements:
        name = _clipped(each.part)
        word = _word(before.get(name), each)
        if word is None or (name in parts and parts[name].severity >= word.severity):
            continue
        if name in parts or len(parts) < MOST_PARTS:
            parts[name] = word
    return parts


def _word(before: Word | None, said: Statement) -> Word | None:
    """Return what counts of a part; what is not known now is as it was, and a new sentence alone is no news."""
    if said.severity == FINE:
        return None
    if said.severity not in SEVERITIES:
        return before
    word = Word(said.severity, _clipped(said.cause), _clipped(said.sentence))
    if before is not None and (before.severity, before.cause) == (word.severity, word.cause):
        return before
    return word


def _faults(parts: Parts) -> frozenset[Fault]:
    return frozenset(word.fault(part) for part, word in parts.items())


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
