"""Peers that misbehave, and a node that is shared with others: rows of the conformance list."""

import contextlib
import hashlib
import os
import random
import signal
import socket
import stat
import threading
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent.simulation.kubelet import SimulatedKubelet

from .client import RefusedError
from .log import Log, unexpected
from .node import EVERYTHING, I915, XE, XE_CARD, Node
from .process import process
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

METHODS = ["GetDevicePluginOptions", "ListAndWatch", "GetPreferredAllocation", "Allocate", "PreStartContainer"]


def sockets(node: Node) -> set[str]:
    return {path.name for path in node.plugins.iterdir() if path.is_socket()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_row_58_a_signal_ends_it_cleanly(node: Node, kubelet: SimulatedKubelet, number: signal.Signals) -> None:
    with process(node) as agent:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        agent.popen.send_signal(number)
        assert await agent.wait() == 0
        assert sockets(node) == {"kubelet.sock"}
        await kubelet.wait_for(lambda seen: not any(each.allocatable for each in seen.values()))
        assert all(each.capacity for each in kubelet.resources().values())
        assert len(agent.lines("agent.stopping")) == 1
        assert agent.lines()[-1].event == "agent.stopped"
        assert [line for line in agent.lines() if line.level in {"warning", "error"}] == []


async def test_row_58_sigterm_ends_it_while_it_starts(node: Node) -> None:
    """With a handler, as the kernel asks of the first process of a container; otherwise its pod ends 30 s later."""
    node.config.unlink()
    os.mkfifo(node.config)  # who reads it waits
    with process(node) as agent:
        await until(lambda: _catches(agent.popen.pid, signal.SIGTERM), "handler", within=60)
        agent.popen.send_signal(signal.SIGTERM)
        assert await agent.wait() == 0


def _catches(process: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler of a signal (man 5 proc, `SigCgt`)."""
    status = Path(f"/proc/{process}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) & 1 << number - 1)


async def test_row_61_files_of_others_are_left_alone(node: Node, kubelet: SimulatedKubelet) -> None:
    others = {
        "kubelet_internal_checkpoint": b'{"Data":{}}',
        "gpu.intel.com-i915.sock.bak": b"",
        "intel-agent-gpu.json": b"{}",
        "DEPRECATION": b"",
    }
    for name, content in others.items():
        (node.plugins / name).write_bytes(content)
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(node.plugins / "nvidia.com-gpu.sock"))
        async with running(node) as agent:
            await agent.until_registered()
    del others["kubelet_internal_checkpoint"]  # kubelet's own; it writes it all the time
    for name, content in others.items():
        assert hashlib.sha256((node.plugins / name).read_bytes()).digest() == hashlib.sha256(content).digest()
    assert sockets(node) == {"kubelet.sock", "nvidia.com-gpu.sock"}
    assert kubelet.violations == []


async def test_row_61_the_checkpoint_is_only_read(node: Node) -> None:
    checkpoint = node.plugins / "kubelet_internal_checkpoint"
    checkpoint.write_bytes(b'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}')
    before = checkpoint.stat()
    async with running(node) as agent:
        await until(lambda: agent.published.keys() == EVERYTHING, "listings")
    assert (checkpoint.stat().st_mtime_ns, checkpoint.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


async def test_row_62_only_root_can_use_the_sockets(agent: Running) -> None:
    for resource in EVERYTHING:
        status = agent.node.socket(resource).stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == os.getuid()
    assert stat.S_IMODE((agent.node.plugins / ".intel-agent.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta1.DevicePlugin/NoSuchMethod",
        "/v1beta1.DevicePlugin/",
        "/v1beta2.DevicePlugin/Allocate",
        "/v1beta1.Registration/Register",
        "/pluginregistration.Registration/GetInfo",
        "/grpc.health.v1.Health/Check",
        "/x",
    ],
)
async def test_row_63_unknown_methods_are_unimplemented(agent: Running, path: str) -> None:
    with agent.client(XE) as client:
        with pytest.raises(RefusedError) as refusal:
            await client.call_path(path, b"")
        assert refusal.value.code == "UNIMPLEMENTED"
        assert len(await client.allocate(["card0-0"])) == 1


async def test_row_63_bad_protobuf_is_an_error_of_one_call(agent: Running) -> None:
    noise = random.Random(63)
    with agent.client(XE) as client:
        for number in range(300):
            method = noise.choice(["GetDevicePluginOptions", "GetPreferredAllocation", "Allocate", "PreStartContainer"])
            message = noise.randbytes(noise.choice([1, 2, 5, 40, 400])) if number % 3 else b"\x0a" + b"\xff" * number
            with contextlib.suppress(RefusedError):
                await client.call(method, message)
        with pytest.raises(RefusedError) as refusal:
            await client.call("Allocate", b"\x0a\x05\x0a")
        assert refusal.value.code == "INVALID_ARGUMENT"
        assert len(await client.allocate(["card0-0"])) == 1
        assert await client.watch().health() == {"card0-0": "Healthy"}


async def test_row_63_what_is_not_http_is_an_error_of_one_connection(agent: Running) -> None:
    def talk(message: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as peer, contextlib.suppress(ConnectionError, TimeoutError):
            peer.settimeout(0.2)
            peer.connect(str(agent.node.socket(XE)))
            peer.sendall(message)
            peer.recv(1000)

    noise = random.Random(64)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    messages = [b"", b"GET / HTTP/1.1\r\n\r\n", preface, preface + b"\x00" * 9, preface + b"\xff" * 9]
    messages += [preface + noise.randbytes(100) for _ in range(10)]
    for message in messages:
        await to_thread.run_sync(talk, message)
    with agent.client(XE) as client:
        assert await client.watch().health() == {"card0-0": "Healthy"}


@pytest.mark.parametrize("machine", ["laptop"])
async def test_row_64_a_client_that_never_reads_harms_nobody(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"sharedDevNum": 10_000}})  # a list of 300 kB: more than any buffer on the way
    async with running(node) as agent:
        await agent.until_registered([I915])
        card = "/sys/devices/pci0000:00/0000:00:02.0"
        with agent.client(I915) as deaf, agent.client(I915) as other:
            unread = deaf.watch(within=60)
            await until(lambda: agent.published[I915].plugin.newest.revision == 2, "two streams")
            newest = agent.published[I915].plugin.newest.value
            for _ in range(3):
                part = await node.unplug(card)
                agent.hint()
                await kubelet.wait_for(lambda seen: seen[I915].allocatable == 0)
                await node.plug(part)
                agent.hint()
                await kubelet.wait_for(lambda seen: seen[I915].allocatable == 10_000)
            assert len(await other.allocate(["card0-77"])) == 1
            agent.stop()
            await until(lambda: newest is not None and newest.ended.is_set(), "end of the stream that nobody reads")
            unread.close()
    assert kubelet.violations == []


async def test_row_65_a_thousand_connections_leave_nothing_behind(agent: Running) -> None:
    def knock(times: int) -> None:
        for number in range(times):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(agent.node.socket(XE)))
                if number % 2:
                    peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def threads() -> int:
        return sum(not thread.name.startswith("AnyIO") for thread in threading.enumerate())

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    await to_thread.run_sync(knock, 20)
    with agent.client(XE) as client:
        await client.options()
    await anyio.sleep(0.1)
    before = descriptors(), threads()
    await to_thread.run_sync(knock, 1000)
    few = 50  # that the agent opens for itself meanwhile

    def closed() -> bool:
        return descriptors() <= before[0] + few and threads() <= before[1] + few

    await until(closed, f"descriptors and threads as before, {before}")
    with agent.client(XE) as client:
        assert await client.watch().health() == {"card0-0": "Healthy"}


async def test_an_end_amid_calls_is_calm(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent, anyio.create_task_group() as group:
        await agent.until_registered()
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)

        async def ask() -> None:
            with agent.client(I915) as client:
                for _ in range(200):
                    with contextlib.suppress(RefusedError):
                        await client.allocate(["card1-0"])

        group.start_soon(ask)
        await until(lambda: I915 in agent.registered, "registration")
        agent.stop()
        await until(lambda: not node.socket(I915).exists(), "end")
        group.cancel_scope.cancel()
    assert unexpected(await log.lines()) == []
