"""An interface that really moves into another network namespace, as those of functions do when a pod gets them."""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from intel_agent.backends.nic import Nic
from intel_agent.backends.nic.pools import Pool
from intel_agent.backends.nic.selectors import Selector
from intel_agent.config import Config, Devices
from intel_agent.config.sections import Health
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.model import Device
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.machines import at
from intel_agent.simulation.nics import Port, Virtual
from intel_agent.sources.known import KnownFiles
from intel_agent.sources.scan import Scanner
from intel_agent.sysfs import SIMULATION_MARK, Host

from .namespace import Namespace, ip, namespace
from .waiting import PATIENCE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")

PORT = Port(at("0000:3b:00.0"), "ens1f0", 10, 20, virtual=(Virtual(), Virtual()))
FUNCTION, OTHER = "0000:3b:01.0", "0000:3b:01.1"
NAMES = ("ens1f0", "ens1f0v0", "ens1f0v1")
SECTION = Nic(
    pools=(
        Pool(
            resource="intel.com/x",
            selectors=Selector(drivers=("iavf",), link_types=("ether",), pf_names=("ens1f0",)),
        ),
    )
)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Namespace]:
    """Give the network namespace of a pod."""
    with namespace(tmp_path / "pod") as pod:
        yield pod


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Namespace]:
    """Give the network namespace of the node, with one end of a cable in place of each interface of the card."""
    with ExitStack() as stack:
        node = stack.enter_context(namespace(tmp_path / "node"))
        node.ip(
            *(f"link add {name} address 02:00:00:00:00:0{n} type veth peer name w{n}" for n, name in enumerate(NAMES))
        )
        yield node


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Make the card's part of /sys: functions are none of the kernel here, and nothing else is pretended."""
    root = tmp_path / "card"
    materialise("\n".join(PORT.lines()), root)
    (root / SIMULATION_MARK).unlink()
    for number, name in enumerate(NAMES):
        (root / f"sys/class/net/{name}").resolve().joinpath("address").write_text(f"02:00:00:00:00:0{number}\n")
    return root


class Agent:
    """The part of an agent that looks, and what it found."""

    def __init__(self, root: Path, host: Host) -> None:
        config = Config(health=Health(rescan_seconds=3600, read_deadline_seconds=60), devices=Devices(nic=SECTION))
        self.inventory = Latest(Inventory())
        known = KnownFiles(str(root / "run"))
        self.scanner = Scanner(Latest(config), host, self.inventory, Liveness(), known, node_ip="192.0.2.7")

    async def looked(self) -> Mapping[str, Device]:
        """Look once more, and return what is offered, by id."""
        before = self._looks
        with anyio.fail_after(PATIENCE):
            while self._looks < before + 2:  # what one look found is published before the next one begins
                self.scanner.hint(["nic"])
                await anyio.sleep(0.005)
        found = self.inventory.value.found["nic"]
        assert found.problem is None
        return {each.id: each for each in found.devices}

    @property
    def _looks(self) -> int:
        looks = self.scanner.looks.get("nic")
        return looks.count if looks else 0


def looking(node: Namespace, card: Path, test: Callable[[Agent], Awaitable[None]]) -> None:
    """Run the test with an agent in the node's namespace."""

    async def main() -> None:
        one = Agent(card, await to_thread.run_sync(Host, str(card)))
        async with anyio.create_task_group() as group:
            group.start_soon(one.scanner.run)
            await test(one)
            group.cancel_scope.cancel()

    node.run(partial(anyio.run, main))


def move(card: Path, name: str, to: Namespace) -> None:
    """Move an interface into another namespace, where it is called otherwise; /sys of this one shows it no more."""
    link = card / f"sys/class/net/{name}"
    link.rename(card / f"{name}-{link.readlink().as_posix().replace('/', '|')}")
    ip([f"link set {name} netns {to.path} name net1"])


def test_a_function_whose_interface_is_in_a_pod_keeps_its_answers(node: Namespace, pod: Namespace, card: Path) -> None:
    home: dict[str, Device] = {}

    async def first(one: Agent) -> None:
        home.update(await one.looked())
        assert {each.attributes["interface"] for each in home.values()} == {"ens1f0v0", "ens1f0v1"}
        await to_thread.run_sync(move, card, "ens1f0v0", pod)
        for _ in range(10):
            assert await one.looked() == home

    async def second(one: Agent) -> None:
        """Look as the agent after a restart, which has the file only."""
        for _ in range(3):
            assert await one.looked() == home

    async def third(one: Agent) -> None:
        """Look without the file: the function cannot be told from one that never had an interface."""
        assert (await one.looked())[FUNCTION].attributes.get("interface") is None

    looking(node, card, first)
    assert "net1" in pod.run(lambda: os.listdir(pod.root / "sys/class/net"))
    looking(node, card, second)
    (card / "run/known-nic.json").unlink()
    looking(node, card, third)
    assert home.keys() == {FUNCTION, OTHER}
