"""What was said last of each thing: devices, resources, kinds. A bounded memory, fed by the log.

Events are the words of docs/log-events.md, from `info` on, whatever level is written out. A thing is named by its path
below /sys, a resource by its name, an id of it by `RESOURCE/ID`, a kind of devices by its key in the configuration.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from time import time
from typing import NamedTuple, cast

MOST_EACH = 12
"""Events that are kept of one thing."""
MOST = 4000
"""Events that are kept of all things; with more, what was said longest ago of the quietest thing goes."""
MOST_STATES = 4096
"""Devices of which it is known since when they are as they are."""
LONGEST = 300
"""Letters of what was said that are kept."""

Key = tuple[str, str]
"""Resource name and device id."""


class Entry(NamedTuple):
    """Something that was said: when, in seconds since 1970, how bad it is, the event, and its keys in words.

    Entries are in the order of their numbers, whatever the clock did meanwhile.
    """

    number: int
    time: float
    level: str
    event: str
    text: str


class History:
    """Any thread may note and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: OrderedDict[str, tuple[Entry, ...]] = OrderedDict()
        """What was said of each thing; of which something was said last comes last."""
        self._count = 0
        self._numbers = count()
        self._states: OrderedDict[Key, tuple[object, float | None]] = OrderedDict()
        """How each device is, and since when, if that is known."""
        self.turns = 0
        """How often a device became another one than it was."""

    def note(self, level: str, event: str, keys: Mapping[str, object]) -> None:
        """Remember what is said, if it is about something."""
        things = list(_things(event, keys))
        if not things:
            return
        words = _words(keys)
        with self._lock:
            entry = Entry(next(self._numbers), time(), level, event, words)
            for thing in things:
                self._add(thing, entry)
            if "health" in keys:
                self._judge(event, keys, entry.time)

    def of(self, things: Iterable[str]) -> list[Entry]:
        """Return what was said of any of the things, oldest first."""
        with self._lock:
            said = {entry: None for thing in things for entry in self._said.get(thing, ())}
        return sorted(said)

    def since(self, key: Key) -> float | None:
        """Return since when a device has its present faults and warnings, in seconds since 1970, if that is known."""
        with self._lock:
            state = self._states.get(key)
        return None if state is None else state[1]

    def _add(self, thing: str, entry: Entry) -> None:
        said = self._said.get(thing, ())
        self._said[thing] = (*said, entry)[-MOST_EACH:]
        self._said.move_to_end(thing)
        self._count += len(self._said[thing]) - len(said)
        while self._count > MOST:
            quiet, said = next(iter(self._said.items()))
            if len(said) > 1:
                self._said[quiet] = said[1:]
            else:
                del self._said[quiet]
            self._count -= 1

    def _judge(self, event: str, keys: Mapping[str, object], now: float) -> None:
        key = (str(keys.get("resource")), str(keys.get("device")))
        state = (keys["health"], keys.get("faults"), keys.get("warnings"))
        before = self._states.get(key)
        if before is None and event != "device.added":
            self._states[key] = (state, None)  # it was forgotten, and may have been so for long
        elif before is None or before[0] != state or event == "device.added":
            self._states[key] = (state, now)
            self.turns += 1
            self._states.move_to_end(key)
        if len(self._states) > MOST_STATES:
            self._states.popitem(last=False)


def _things(event: str, keys: Mapping[str, object]) -> Iterator[str]:
    """Yield what an event is about."""
    resource, device = keys.get("resource"), keys.get("device")
    match event.partition(".")[0]:
        case "device" | "fault":
            yield str(keys.get("path", device))
        case "allocation" | "resource" | "registration":
            yield str(resource)
            yield from (f"{resource}/{each}" for each in _several(keys.get("ids")))
        case "scan" | "diagnosis":
            yield str(keys.get("backend"))
        case _:
            pass


def _words(keys: Mapping[str, object]) -> str:
    words = (f"{key}: {_value(value)}" for key, value in keys.items() if key not in {"event", "exc_info"})
    return ", ".join(words)[:LONGEST]


def _value(value: object) -> str:
    return "; ".join(_several(value)) or str(value)


def _several(value: object) -> Iterator[str]:
    """Yield what is in a list; nothing if it is none."""
    return map(str, cast("Iterable[object]", value)) if isinstance(value, list | tuple) else iter(())
