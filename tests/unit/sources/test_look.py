"""A look that does not come back costs what it hangs at, and nothing else."""

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
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

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


async def test_a_loop_that_stood_still_loses_no_kind(looker: Looker) -> None:
    """As when the process was stopped, or had no processor, between asking for a thread and getting one."""
    assert (await looker.at(Kind(), Found())).devices == (DEVICE,)
    async with anyio.create_task_group() as group:

        async def stand_still() -> None:
            time.sleep(0.5)  # noqa: ASYNC251 - the point

        group.start_soon(stand_still)
        with suppress(TimeoutError):  # nothing is known of this look; the next one knows
            await looker.at(Kind(), Found())
    with anyio.fail_after(5):
        while True:
            try:
                found = await looker.at(Kind(), Found())
            except TimeoutError:
                continue
            break
    assert found.devices == (DEVICE,)


class Slow(Kind, frozen=True, kw_only=True):
    name: ClassVar[str] = "sgx"

    def discover(self, host: Host) -> Iterator[Device]:
        ENTERED.set()
        GATE.wait(10)
        yield DEVICE


GATE, ENTERED = threading.Event(), threading.Event()


async def test_a_look_that_never_got_a_thread_is_no_stuck_one(host: Host) -> None:
    """Every thread is taken: the look is given up, and the kind is looked at again as soon as there is one."""
    deadlines = iter((10.0, 0.1, 10.0))
    looker = Looker(host, lambda: next(deadlines), lambda: None, threads=1)
    async with anyio.create_task_group() as group:
        group.start_soon(looker.at, Slow(), Found())
        with anyio.fail_after(5):
            while not ENTERED.is_set():
                await anyio.sleep(0.01)
        with pytest.raises(TimeoutError, match="no thread"):
            await looker.at(Kind(), Found())
        GATE.set()
    assert (await looker.at(Kind(), Found())).devices == (DEVICE,)
