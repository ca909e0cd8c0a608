"""The kernel tells of changed links, and the agent looks: soon, not too often, and not at what does not matter."""

import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from intel_agent.backends import Backend
from intel_agent.config import Config, Devices
from intel_agent.config.sections import Health
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.links import LinkFact
from intel_agent.liveness import Liveness
from intel_agent.model import NO_EDITS, Device
from intel_agent.sources import linkevents
from intel_agent.sources.known import KnownFiles
from intel_agent.sources.scan import Scanner
from intel_agent.sysfs import Host

from .namespace import Namespace, ip, namespace
from .waiting import PATIENCE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Namespace]:
    """Give a namespace with a cable, both ends in it."""
    with ExitStack() as stack:
        node = stack.enter_context(namespace(tmp_path / "node"))
        node.ip("link add nic0 type veth peer name wire0", "link set nic0 up", "link set wire0 up")
        yield node


async def do(*commands: str) -> None:
    await to_thread.run_sync(ip, commands)


class Heard:
    """What was told, and how to wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self._more = anyio.Event()

    def tell(self) -> None:
        self.count += 1
        self._more.set()
        self._more = anyio.Event()

    async def above(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while self.count <= count:
                await self._more.wait()

    async def calm(self) -> int:
        """Wait until nothing more is told; return how often something was."""
        with anyio.fail_after(PATIENCE):
            while True:
                with anyio.move_on_after(3 * linkevents.SPACING):
                    await self.above(self.count)
                    continue
                return self.count


def listening(
    node: Namespace, test: Callable[[Heard], Awaitable[None]], concerned: frozenset[int] | None = None
) -> None:
    """Run the test in the namespace, with the kernel's words being heeded."""

    async def main() -> None:
        heard = Heard()
        async with anyio.create_task_group() as group:
            group.start_soon(linkevents.follow, lambda: concerned, heard.tell)
            await heard.above(0)  # it says once that it listens
            await test(heard)
            group.cancel_scope.cancel()

    node.run(partial(anyio.run, main))


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(("link set wire0 down",), id="carrier"),
        pytest.param(("address add 192.0.2.2/24 dev nic0",), id="IPv4 address"),
        pytest.param(("address add 2001:db8::2/64 dev nic0 nodad",), id="IPv6 address"),
        pytest.param(("route add default dev nic0",), id="IPv4 route"),
        pytest.param(("route add ::/0 dev nic0",), id="IPv6 route"),
        pytest.param(("nexthop add id 1 dev nic0",), id="next hop"),
        pytest.param(("link add br0 type bridge",), id="an interface more"),
        pytest.param(("link delete nic0",), id="an interface less"),
    ],
)
def test_a_change_is_told(node: Namespace, commands: tuple[str, ...]) -> None:
    async def test(heard: Heard) -> None:
        before = await heard.calm()
        await do(*commands)
        await heard.above(before)

    listening(node, test)


def test_what_does_not_matter_is_not_told(node: Namespace) -> None:
    async def test(heard: Heard) -> None:
        before = await heard.calm()
        await do(
            "link add pod0 type veth peer name pod1",
            "link set pod0 up",
            "link set pod1 up",
            "route add 198.51.100.7/32 dev pod0",
            "link delete pod0",
        )
        assert await heard.calm() == before
        await do("route add default dev nic0")
        await heard.above(before)

    listening(node, test, frozenset({4242}))


def test_a_storm_is_told_of_a_few_times_and_leaves_nothing_behind(node: Namespace) -> None:
    async def test(heard: Heard) -> None:
        before = await heard.calm()
        storm = [f"link set nic0 mtu {1400 + number % 2}" for number in range(10_000)]
        started, memory = anyio.current_time(), resident()
        await do(*storm)
        told = await heard.calm() - before
        assert 1 <= told <= (anyio.current_time() - started) / linkevents.SPACING + 1
        assert resident() - memory < 8_000  # kB
        await do("route add default dev nic0")
        await heard.above(before + told)

    listening(node, test)


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_an_overrun_is_told_of_like_a_change(node: Namespace) -> None:
    async def test(heard: Heard) -> None:
        before = await heard.calm()
        storm = "".join(f"link set nic0 mtu {1400 + number % 2}\n" for number in range(3_000))
        with capture_logs() as logs:
            command = ["ip", "-batch", "-"]
            subprocess.run(command, input=storm.encode(), check=True, timeout=60)  # noqa: ASYNC221 - it shall stand still
            await heard.above(before)
            await heard.calm()
        assert {each["event"] for each in logs} == {"events.overrun"}
        assert len(logs) <= 3

    listening(node, test)


class Carriers(Backend, frozen=True, kw_only=True):
    """Offers each interface but the loopback; its carrier and whether the node lives on it are attributes."""

    name: ClassVar[str] = "gpu"
    subsystems: ClassVar[frozenset[str]] = frozenset()

    @property
    def link_facts(self) -> frozenset[LinkFact]:
        return frozenset(LinkFact)

    def discover(self, host: Host) -> Iterator[Device]:
        assert host.links is not None
        for each in host.links.interfaces:
            if each.type != "loopback":
                attributes = {"carrier": str(each.carrier), "uplink": str(each.index in host.links.uplinks)}
                path = f"/sys/class/net/{each.name}"
                yield Device(each.name, "intel.com/nic", path, NO_EDITS, each.name, attributes=attributes)


class Kinds(Devices, frozen=True, kw_only=True):
    """Nothing but that kind."""

    @property
    def backends(self) -> tuple[Backend, ...]:
        return (Carriers(),)


async def attributes(inventory: Latest[Inventory], name: str, expected: dict[str, str]) -> None:
    """Wait until a device has these attributes."""
    revision = 0
    with anyio.fail_after(PATIENCE):
        while True:
            for each in inventory.value.devices:
                if each.id == name and each.attributes == expected:
                    return
            _, revision = await inventory.newer(revision)


def scanning(node: Namespace, test: Callable[[Latest[Inventory]], Awaitable[None]]) -> None:
    """Run the test in the namespace, with a scanner that looks once an hour by itself."""

    async def main() -> None:
        config = Config(health=Health(rescan_seconds=3600, read_deadline_seconds=60), devices=Kinds())
        host = await to_thread.run_sync(Host, str(node.root))
        inventory = Latest(Inventory())
        known = KnownFiles(str(node.root))
        scanner = Scanner(Latest(config), host, inventory, Liveness(), known, node_ip="192.0.2.7")
        async with anyio.create_task_group() as group:
            group.start_soon(scanner.run)
            await test(inventory)
            group.cancel_scope.cancel()

    node.run(partial(anyio.run, main))


UPLINK = {"carrier": "True", "uplink": "True"}


def test_a_kind_that_wants_to_know_hears_of_carriers_and_uplinks(node: Namespace) -> None:
    node.ip("route add default dev nic0")

    async def test(inventory: Latest[Inventory]) -> None:
        await attributes(inventory, "nic0", UPLINK)
        await anyio.sleep(2.5)  # the looks after the start are over
        await do("link set wire0 down")
        await attributes(inventory, "nic0", UPLINK | {"carrier": "False"})
        await do("link set wire0 up")
        await attributes(inventory, "nic0", UPLINK)
        await do("route delete default dev nic0")
        await attributes(inventory, "nic0", UPLINK | {"uplink": "False"})

    scanning(node, test)


def test_an_interface_that_is_given_away_leaves_and_comes_back(node: Namespace, tmp_path: Path) -> None:
    node.ip("route add default dev nic0")
    with namespace(tmp_path / "pod") as pod:

        async def test(inventory: Latest[Inventory]) -> None:
            await attributes(inventory, "nic0", UPLINK)
            for _ in range(3):
                await do(f"link set nic0 netns {pod.path}")
                with anyio.fail_after(PATIENCE):
                    revision = 0
                    while "nic0" in {each.id for each in inventory.value.devices}:
                        _, revision = await inventory.newer(revision)
                await to_thread.run_sync(pod.ip, f"link set nic0 netns {node.path}")
                await do("link set nic0 up", "route add default dev nic0")
                await attributes(inventory, "nic0", UPLINK)

        scanning(node, test)


def test_links_that_are_not_known_are_told_once_and_tried_again(
    node: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's /sys shows a function that netlink does not know, until it does not any more."""
    monkeypatch.setattr("intel_agent.sources.scan.RETRY", 0.1)
    root = node.root.parent / "other"
    shown = root / "sys/class/net/ens9"
    shown.parent.mkdir(parents=True)
    shown.symlink_to("../../devices/pci0000:3a/0000:3b:00.0/net/ens9")

    async def test(inventory: Latest[Inventory]) -> None:
        with capture_logs() as logs:
            with anyio.fail_after(PATIENCE):
                revision = 0
                while "gpu" not in inventory.value.found:
                    _, revision = await inventory.newer(revision)
            await anyio.sleep(0.5)
            assert inventory.value.devices == ()
            await to_thread.run_sync(shown.unlink)
            await attributes(inventory, "nic0", UPLINK)
        told = [each for each in logs if each["event"].startswith("scan.")]
        assert [each["event"] for each in told] == ["scan.failed", "scan.recovered"]
        assert "do not agree about ens9: the agent must run in the network namespace of the node" in told[0]["problem"]

    node.ip("route add default dev nic0")
    monkeypatch.setattr(node, "root", root)
    scanning(node, test)
