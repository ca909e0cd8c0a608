"""A look that does not come back costs what it hangs at, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from intel_agent.backends import Backend
from intel_agent.inventory import Found
from intel_agent.model import NO_EDITS, Device
from intel_agent.sources import look
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Dir, Host

pytestmark = pytest.mark.anyio

DEVICE = Device("card0", "gpu.intel.com/xe", "/sys/x", NO_EDITS, "card0")


class Kind(Backend, frozen=True, kw_only=True):
    name: ClassVar[str] = "gpu"
    subsystems: ClassVar[frozenset[str]] = frozenset()

    def discover(self, host: Host) -> Iterator[Device]:
        yield DEVICE


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(str(tmp_path))


@pytest.fixture
def looker(host: Host) -> Looker:
    return Looker(host, lambda: 0.1, lambda: None)


async def until_looked(looker: Looker) -> None:
    """Look until it is in time, and sees the device."""
    with anyio.fail_after(60):
        while True:
            try:
                found = await looker.at(Kind(), Found())
            except TimeoutError:
                continue
            assert found.devices == (DEVICE,)
            return


async def test_a_loop_that_stood_still_loses_no_kind(looker: Looker) -> None:
    """As when the process was stopped, or had no processor, between asking for a thread and getting one."""
    await until_looked(looker)
    async with anyio.create_task_group() as group:

        async def stand_still() -> None:
            time.sleep(0.5)  # noqa: ASYNC251 - the point

        group.start_soon(stand_still)
        with suppress(TimeoutError):  # nothing is known of this look; the next one knows
            await looker.at(Kind(), Found())
    await until_looked(looker)


class Slow(Kind, frozen=True, kw_only=True):
    name: ClassVar[str] = "sgx"

    def discover(self, host: Host) -> Iterator[Device]:
        ENTERED.set()
        GATE.wait(60)
        yield DEVICE


GATE, ENTERED = threading.Event(), threading.Event()


async def entered() -> None:
    """Wait until the slow look has begun."""
    while not ENTERED.is_set():
        await anyio.sleep(0.01)


@pytest.fixture(autouse=True)
def shut() -> Iterator[None]:
    GATE.clear()
    ENTERED.clear()
    yield
    GATE.set()


async def test_a_look_that_never_got_a_thread_is_no_stuck_one(host: Host) -> None:
    """Every thread is taken: the look is given up, and the kind is looked at again as soon as there is one."""
    deadlines = iter((10.0, 0.1, 10.0))
    looker = Looker(host, lambda: next(deadlines), lambda: None, threads=1)
    async with anyio.create_task_group() as group:
        group.start_soon(looker.at, Slow(), Found())
        with anyio.fail_after(60):
            await entered()
        with pytest.raises(TimeoutError, match="no thread"):
            await looker.at(Kind(), Found())
        GATE.set()
    assert (await looker.at(Kind(), Found())).devices == (DEVICE,)


class Moving(Kind, frozen=True, kw_only=True):
    """Goes from device to device, and says how many looks there were at the same time."""

    name: ClassVar[str] = "npu"
    beside: ClassVar[list[int]] = []
    inside: ClassVar[list[None]] = []

    def discover(self, host: Host) -> Iterator[Device]:
        self.inside.append(None)
        for number in range(5):
            with host.reading(Dir(f"{host.root}/sys/{number}")):
                self.beside.append(len(self.inside))
                time.sleep(0.01)  # lets other threads run
        self.inside.pop()
        yield DEVICE


async def test_looks_that_get_on_take_turns(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side they would take the interpreter from each other, which takes longer than one after the other."""
    monkeypatch.setattr(look, "PATIENCE", 30.0)
    monkeypatch.setattr(look, "LONGEST_WAIT", 60.0)
    looker = Looker(host, lambda: 30.0, lambda: None)
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(looker.at, Moving(), Found())
    assert Moving.beside == [1] * 20


class Endless(Slow, frozen=True, kw_only=True):
    """Gets on, from device to device, for as long as the gate is shut."""

    def discover(self, host: Host) -> Iterator[Device]:
        ENTERED.set()
        while not GATE.wait(0.005):
            with host.reading(Dir(f"{host.root}/sys/x")):
                pass
        yield DEVICE


async def test_nobody_waits_for_ever_for_a_look_that_gets_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "LONGEST_WAIT", 0.2)
    looker = Looker(host, lambda: 30.0, lambda: None)
    async with anyio.create_task_group() as group:
        group.start_soon(looker.at, Endless(), Found())
        with anyio.fail_after(20):
            await entered()
            assert (await looker.at(Kind(), Found())).devices == (DEVICE,)
        GATE.set()


async def test_a_look_that_hangs_has_no_turn(host: Host) -> None:
    looker = Looker(host, lambda: 30.0, lambda: None)
    async with anyio.create_task_group() as group:
        group.start_soon(looker.at, Slow(), Found())
        with anyio.fail_after(20):
            await entered()
            assert (await looker.at(Kind(), Found())).devices == (DEVICE,)
            assert (await looker.at(Kind(), Found())).devices == (DEVICE,)
        GATE.set()


async def test_a_turn_ends_with_the_one_who_waits(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PATIENCE", 30.0)
    looker = Looker(host, lambda: 30.0, lambda: None)
    async with anyio.create_task_group() as group:
        group.start_soon(looker.at, Slow(), Found())
        with anyio.fail_after(20):
            await entered()
        group.cancel_scope.cancel()
    with anyio.fail_after(20):
        assert (await looker.at(Kind(), Found())).devices == (DEVICE,)


FROZEN = """
import os
import signal
import sys
from typing import ClassVar
import anyio
from intel_agent.backends import Backend
from intel_agent.inventory import Found
from intel_agent.model import NO_EDITS, Device
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

class Kind(Backend, frozen=True, kw_only=True):
    name: ClassVar[str] = "gpu"
    subsystems: ClassVar[frozenset[str]] = frozenset()

    def discover(self, host):
        os.kill(os.getpid(), signal.SIGSTOP)
        sys.stdin.readline()
        yield Device("card0", "gpu.intel.com/xe", "/sys/x", NO_EDITS, "card0")

async def main():
    looker = Looker(Host("/"), lambda: 2.0, lambda: None)
    print(len((await looker.at(Kind(), Found())).devices), flush=True)

anyio.run(main)
"""


def test_time_in_which_the_process_was_frozen_is_no_time_that_a_device_had() -> None:
    command = [sys.executable, "-c", FROZEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as frozen:
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
        time.sleep(2.5)  # longer than a device may take
        frozen.stdin.write("go on\n")
        frozen.stdin.flush()
        frozen.send_signal(signal.SIGCONT)
        assert frozen.stdout.readline() == "1\n"
