"""What outlives the agent: the record until the next boot, in a file that is replaced at one stroke.

Times in the record are of the monotonic clock, which counts from the boot on (clock_gettime(2)): they stay true for
another process of the same boot, and for none of another one, and so do the numbers of lives.
"""

import os

import msgspec

from intel_agent import statefile
from intel_agent.health.condition import Condition, Key
from intel_agent.health.record import Count, Record

FILE = "health.json"
VERSION = 1


class _File(msgspec.Struct, frozen=True):
    """What is in the file."""

    version: int
    boot: str
    conditions: tuple[tuple[Key, Condition], ...]
    counts: tuple[tuple[Count, int], ...]


def read(directory: str, boot: str) -> Record:
    """Return the record of the agent before this one; an empty one if there was none in this boot.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or of another version.
    """
    if not (content := statefile.read(os.path.join(directory, FILE), VERSION, boot)):
        return Record()
    whole = msgspec.json.decode(content, type=_File)
    return Record(dict(whole.conditions), dict(whole.counts))


def write(directory: str, boot: str, record: Record) -> None:
    """Keep the record for the next agent.

    Raises:
        OSError: it cannot be written.
    """
    whole = _File(VERSION, boot, tuple(record.conditions.items()), tuple(record.counts.items()))
    statefile.write(os.path.join(directory, FILE), msgspec.json.encode(whole))
