"""Lists of 1, 100 and 10,000 ids in one resource: one change, all changed, and how long the loop stood still.

The publisher's path is the agent's own (inventory, roster in a thread, listing, stream); the client is another process.
"""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import grpc
from anyio import to_thread

from intel_agent.agent import calm_collector
from intel_agent.inventory import Found, Inventory
from intel_agent.latest import Latest
from intel_agent.model import NO_EDITS, Device, Fault, Reason
from intel_agent.publish.deviceplugin import DevicePlugin, Knowledge
from intel_agent.publish.grants import Grants
from intel_agent.publish.holdings import Holdings
from intel_agent.publish.roster import Listing, Roster, projected
from intel_agent.publish.server import SocketServer
from intel_agent.sysfs import Host

RESOURCE = "gpu.intel.com/xe"
BROKEN = frozenset({Fault(Reason.UNREADABLE, "benchmark", "broken for a while")})
REPETITIONS = 15


def receive(path: str, pipe: Connection) -> None:
    """Tell when each list came, in a process of its own."""
    with grpc.insecure_channel(f"unix:{path}", [("grpc.max_receive_message_length", 1 << 24)]) as channel:
        for message in channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch", bytes, bytes)(b""):
            pipe.send((time.monotonic(), len(message)))


class Stalls:
    """The longest time in which the loop did not come round."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()
        self._handle = asyncio.get_running_loop().call_later(0.001, self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last - 0.001)
        self._last = now
        self._handle = asyncio.get_running_loop().call_later(0.001, self._beat)

    def stop(self) -> float:
        self._handle.cancel()
        return self.longest


class Publishing:
    """The part of the publisher that a change of the inventory goes through."""

    def __init__(self, devices: list[Device]) -> None:
        self.roster = Roster()
        self.listing = Latest(Listing(RESOURCE, "gpu"))
        self.devices = devices

    async def publish(self) -> None:
        self.roster = await to_thread.run_sync(self._projected)
        self.listing.set(self.roster.listings[RESOURCE])

    def _projected(self) -> Roster:
        inventory = Inventory.of({"gpu": Found(tuple(self.devices))})
        return projected(self.roster, inventory, Holdings(), now=0.0, linger=60.0)

    def break_or_mend(self, count: int) -> None:
        faults = frozenset[Fault]() if self.devices[0].faults else BROKEN
        self.devices[:count] = [replace(device, faults=faults) for device in self.devices[:count]]


@contextmanager
def client(path: str) -> Generator[Connection]:
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(path, far))
    process.start()
    try:
        yield near
    finally:
        process.kill()
        process.join()


async def measured(count: int, path: str) -> dict[str, object]:
    """Return the figures of one size, in milliseconds."""
    publishing = Publishing([device(number) for number in range(count)])
    await publishing.publish()
    plugin = DevicePlugin(publishing.listing, Knowledge(Host(), dict, print), Grants())
    server = SocketServer(plugin, path)
    await server.listen()
    figures: dict[str, object] = {"ids": count}
    with client(path) as pipe:
        stalls = Stalls()
        _, size = await to_thread.run_sync(pipe.recv)
        figures["bytes"] = size
        for what, changed in (("one change", 1), ("all changed", count)):
            taken: list[float] = []
            for _ in range(REPETITIONS):
                await to_thread.run_sync(publishing.break_or_mend, changed)
                await anyio.sleep(0.05)
                began = time.monotonic()
                await publishing.publish()
                came, _ = await to_thread.run_sync(pipe.recv)
                taken.append((came - began) * 1000)
            figures[what] = round(sorted(taken)[REPETITIONS // 2], 2)
        figures["loop stood still"] = round(stalls.stop() * 1000, 2)
    plugin.end_streams()
    await server.drain()
    return figures


def device(number: int) -> Device:
    return Device(
        id=f"card{number:05}",
        resource=RESOURCE,
        sysfs_path=f"/sys/devices/{number}",
        edits=NO_EDITS,
        cdi_name=f"card{number:05}",
        shares=1,
        numa_nodes=(number % 2,),
    )


def main() -> None:
    calm_collector()
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        for count in (1, 100, 10_000):
            print(json.dumps(asyncio.run(measured(count, str(Path(place) / "list.sock")))), flush=True)


if __name__ == "__main__":
    main()
