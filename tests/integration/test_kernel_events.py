"""The kernel's own messages, in a network namespace that nobody else listens in."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import unexpected
from .node import EVERYTHING, XE, XE_CARD, Node
from .process import Process, process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root"),
]

UNPLUGGED = XE_CARD.removeprefix("/sys") + "/drm/card0"
NPU = "/sys/devices/pci0000:00/0000:00:0b.0"
"""No directory that is watched tells of it, as /dev/dri/by-path does of a card: only events do."""
ACCEL, ACCEL0 = "npu.intel.com/accel", NPU.removeprefix("/sys") + "/accel/accel0"


class Kernel:
    """Broadcasts in the agent's namespace."""

    def __init__(self, agent: Process) -> None:
        self._process = subprocess.Popen(
            [
                "nsenter",
                f"--net=/proc/{agent.popen.pid}/ns/net",
                sys.executable,
                str(Path(__file__).with_name("uevents.py")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def say(self, *words: str) -> None:
        """Have a command of uevents.py done."""
        await to_thread.run_sync(self._say, " ".join(words))

    async def say_all(self, commands: Iterable[str]) -> None:
        """Have several commands done, one after the other."""

        def say() -> None:
            for each in commands:
                self._say(each)

        await to_thread.run_sync(say)

    def _say(self, command: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"ok\n"

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture
async def agent(node: Node, kubelet: SimulatedKubelet) -> AsyncIterator[Process]:
    """Give an agent in a namespace of its own that has been calm for some time: the looks after its start are over."""
    with process(node, before=["unshare", "--net", "--"]) as it:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        await anyio.sleep(4)  # the last look after the start comes after 2 s
        yield it
        assert it.alive
        assert await it.stop() == 0
    assert unexpected(it.lines()) == []


@pytest.fixture
def kernel(agent: Process) -> Iterator[Kernel]:
    kernel = Kernel(agent)
    yield kernel
    kernel.close()


async def test_an_event_makes_the_agent_look(
    node: Node, kubelet: SimulatedKubelet, agent: Process, kernel: Kernel
) -> None:
    part = await node.unplug(NPU)
    await kernel.say("send", "remove", ACCEL0, "accel")
    await kubelet.wait_for(lambda seen: seen[ACCEL].allocatable == 0)
    await node.plug(part)
    await kernel.say("send", "add", ACCEL0, "accel")
    await kubelet.wait_for(lambda seen: seen[ACCEL].allocatable == 1)
    assert agent.alive


async def test_a_wedged_card_is_unhealthy_until_its_driver_is_bound_anew(
    kubelet: SimulatedKubelet, agent: Process, kernel: Kernel
) -> None:
    """No file shows it: no look in between finds the card healthy again."""
    await kernel.say("send", "change", UNPLUGGED, "drm", "WEDGED=rebind,bus-reset")
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    await anyio.sleep(2.5)
    assert kubelet.resources()[XE].allocatable == 0
    await kernel.say("send", "bind", XE_CARD.removeprefix("/sys"), "pci", "DRIVER=xe")
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
    said = [line.faults for line in await agent.until_logged("device.changed", times=2)]
    assert [[each.partition(":")[0] for each in faults] for faults in said] == [["wedged"], []]


async def test_a_storm_garbage_and_forgeries_are_survived(
    node: Node, kubelet: SimulatedKubelet, agent: Process, kernel: Kernel
) -> None:
    """One agent for all of them: each of these starts costs seconds."""
    await _what_says_nothing_is_ignored(node, kubelet, kernel)
    await kernel.say("burst", "100000", "drm")
    await node.unplug(XE_CARD)
    await kernel.say("send", "remove", UNPLUGGED, "drm")
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    status = Path(f"/proc/{agent.popen.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 100_000  # kB: nothing was queued


async def _what_says_nothing_is_ignored(node: Node, kubelet: SimulatedKubelet, kernel: Kernel) -> None:
    """Show that an unplug is not seen of which only ignored messages tell."""
    part = await node.unplug(NPU)
    for payload in (b"\xff\xfe", b"libudev\0\xfe\xed\xca\xfe", b"add@/x", b"add@/x\0ACTION", b"@\0\0\0", b"\0" * 2000):
        await kernel.say("raw", payload.hex())
    await kernel.say("send", "remove", ACCEL0, "net")
    await kernel.say("forge", ACCEL0, "accel")
    await anyio.sleep(0.3)
    assert kubelet.resources()[ACCEL].allocatable == 1
    await node.plug(part)


async def test_an_overrun_makes_it_look_at_everything(
    node: Node, kubelet: SimulatedKubelet, agent: Process, kernel: Kernel
) -> None:
    agent.popen.send_signal(signal.SIGSTOP)
    await kernel.say("burst", "30000", "net")  # nothing of ours: what was lost might have been
    await node.unplug(XE_CARD)
    agent.popen.send_signal(signal.SIGCONT)
    await agent.until_logged("events.overrun")
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    assert len(agent.lines("events.overrun")) < 10
