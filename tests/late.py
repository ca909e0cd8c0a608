"""A pytest plugin with which everything comes late now and then: it finds tests, and code, that count on being fast.

The event loop does not come round, a worker thread begins or ends late, a server in this process answers late: by
chance, so each run is another one. What fails here can fail on a busy machine.
"""

import asyncio
import ctypes
import random
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from anyio import to_thread

SHORTEST, LONGEST = 0.02, 0.35
"""Seconds of one delay."""
LOOP, BEGIN, END, ANSWER = 0.006, 0.12, 0.06, 0.5
"""How likely a delay is: before a turn of the loop, before and after the work of a thread, before an answer."""

_chance = random.SystemRandom()  # the tests' own chance is not touched
_usleep = ctypes.CDLL(None).usleep  # time.sleep on an event loop fails a test


def pytest_configure() -> None:
    """Delay what runs in this process from now on."""
    _delay_loop()
    _delay_threads()
    _delay_servers()


def _perhaps(likely: float) -> None:
    if _chance.random() < likely:
        _usleep(int(_chance.uniform(SHORTEST, LONGEST) * 1e6))


def _delay_loop() -> None:
    turn = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]  # no public name

    def late(self: asyncio.BaseEventLoop) -> None:
        _perhaps(LOOP)
        turn(self)

    asyncio.BaseEventLoop._run_once = late  # type: ignore[attr-defined]  # no public name


def _delay_threads() -> None:
    run = to_thread.run_sync

    async def late(work: Callable[..., object], *arguments: object, **options: Any) -> object:
        def working() -> object:
            _perhaps(BEGIN)
            done = work(*arguments)
            _perhaps(END)
            return done

        return await run(working, **options)

    to_thread.run_sync = late  # type: ignore[assignment]  # takes all that the original takes


def _delay_servers() -> None:
    parse = BaseHTTPRequestHandler.parse_request

    def late(self: BaseHTTPRequestHandler) -> bool:
        parsed = parse(self)
        _perhaps(ANSWER)
        return parsed

    BaseHTTPRequestHandler.parse_request = late  # type: ignore[method-assign]  # for every server there is
