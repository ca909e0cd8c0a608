"""What is put together from netlink's words and /sys, on kernels old and new, and who gets to know it."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, inet_pton
from typing import ClassVar

import anyio
import pytest
from structlog.testing import capture_logs

from intel_agent.backends import Backend
from intel_agent.errors import SysfsError
from intel_agent.inventory import Found
from intel_agent.links import Interface, LinkFact, Links
from intel_agent.model import NO_EDITS, Device
from intel_agent.simulation.machines import netlink
from intel_agent.sources.links import (
    Ground,
    LinksError,
    Words,
    assembled,
    devices_of,
    difference,
    grounded,
    named,
    node_address,
    said,
    tops,
)
from intel_agent.sources.look import Looker
from intel_agent.sources.rtnetlink import Address, DefaultRoute, Link, Network
from intel_agent.sources.uplinks import Tie
from intel_agent.sysfs import Host, Look

ETH = Link(
    index=2,
    name="ens1",
    type="ether",
    up=True,
    operstate="up",
    carrier=True,
    hardware="02:00:00:00:00:01",
    kind="",
    parent="0000:3b:00.0",
    bus="pci",
    tie=Tie(),
    switch_id=None,
    port_name=None,
    virtual_functions=(),
)
OWN, OTHER = inet_pton(AF_INET, "192.0.2.7"), inet_pton(AF_INET, "192.0.2.8")


@pytest.mark.parametrize(
    ("own", "routes", "expected"),
    [
        pytest.param(None, (), {2, 3}, id="nothing is known: any address"),
        pytest.param(OWN, (), {2}, id="the address that is given"),
        pytest.param(None, (DefaultRoute(frozenset({4})),), {4}, id="a default route"),
        pytest.param(OWN, (DefaultRoute(frozenset({4})),), {2, 4}, id="both"),
        pytest.param(None, (DefaultRoute(frozenset({4}), source=OTHER),), {3, 4}, id="where a route sends from"),
        pytest.param(b"x" * 16, (), set[int](), id="an address that no interface has"),
    ],
)
def test_what_carries_the_node(own: bytes | None, routes: Sequence[DefaultRoute], expected: set[int]) -> None:
    network = Network(links=(), addresses=(Address(2, OWN), Address(3, OTHER)), default_routes=tuple(routes))

    assert tops(network, own) == expected


@pytest.mark.parametrize(
    ("text", "address"), [("", None), ("192.0.2.7", OWN), ("2001:db8::7", b"\x20\x01\x0d\xb8" + bytes(11) + b"\7")]
)
def test_the_node_s_address(text: str, address: bytes | None) -> None:
    assert node_address(text) == address


@pytest.mark.parametrize("text", ["node-7", "192.0.2.7/24", "192.0.2", " "])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(LinksError, match=r"NODE_IP: found .*status\.hostIP"):
        node_address(text)


TREE = """
/sys/class/net/bonding_masters =
/sys/class/net/lo -> ../../devices/virtual/net/lo
/sys/class/net/ens1 -> ../../devices/pci0000:3a/0000:3b:00.0/net/ens1
/sys/class/net/sf1 -> ../../devices/pci0000:3a/0000:3b:00.0/mlx5_core.sf.4/net/sf1
/sys/devices/virtual/net/lo/address = 00:00:00:00:00:00
/sys/devices/pci0000:3a/0000:3b:00.0/net/ens1/address = 02:00:00:00:00:01
/sys/devices/pci0000:3a/0000:3b:00.0/subsystem -> ../../../bus/pci
/sys/devices/pci0000:3a/0000:3b:00.0/mlx5_core.sf.4/net/sf1/address = 02:00:00:00:00:02
/sys/devices/pci0000:3a/0000:3b:00.0/mlx5_core.sf.4/subsystem -> ../../../../bus/auxiliary
"""
LO = replace(ETH, index=1, name="lo", hardware="00:00:00:00:00:00", parent="", bus="")
SCALABLE = replace(ETH, index=3, name="sf1", hardware="02:00:00:00:00:02", parent="mlx5_core.sf.4", bus="auxiliary")
NEW = (LO, ETH, SCALABLE)
OLD = tuple(replace(each, parent="", bus="") for each in NEW)
CABLE = replace(ETH, index=9, name="ens1", hardware="02:00:00:00:00:99", kind="veth", parent="", bus="")


@pytest.mark.parametrize("tree", [TREE])
@pytest.mark.parametrize(
    "told", [pytest.param(NEW, id="Linux 5.14 tells devices"), pytest.param(OLD, id="before, /sys does")]
)
def test_interfaces_and_their_devices(host: Host, told: tuple[Link, ...]) -> None:
    devices = devices_of(host)

    assert difference(host, told, devices) == ""
    assert named(host, told, devices) == {"ens1": "pci/0000:3b:00.0", "sf1": "auxiliary/mlx5_core.sf.4"}


@pytest.mark.parametrize("tree", [TREE])
@pytest.mark.parametrize(
    ("told", "names"),
    [
        pytest.param((LO,), "ens1, sf1", id="nothing of them"),
        pytest.param((LO, ETH), "sf1", id="one is missing"),
        pytest.param((*NEW, replace(ETH, index=7, name="ens9", parent="0000:99:00.0")), "ens9", id="one too many"),
        pytest.param((LO, replace(ETH, parent="0000:99:00.0"), SCALABLE), "ens1", id="the name of another device's"),
        pytest.param((LO, CABLE), "ens1, sf1", id="a pod's cable of the same name, old kernel or new"),
    ],
)
def test_the_namespace_of_somebody_else(host: Host, told: tuple[Link, ...], names: str) -> None:
    assert difference(host, told, devices_of(host)).endswith(f"do not agree about {names}")


def test_a_node_without_interfaces_differs_from_one_that_has_some(host: Host) -> None:
    assert difference(host, (LO,), devices_of(host)) == ""
    assert difference(host, NEW, devices_of(host))


def test_what_matters_is_devices_uplinks_and_what_is_over_them() -> None:
    told = Network(
        (
            replace(ETH, tie=Tie(master=5)),
            replace(LO, index=4, name="other"),
            replace(LO, index=5, name="bond0"),
            replace(LO, index=6, name="bond0.7", tie=Tie(lower=frozenset({5}))),
        ),
        (),
        (),
    )
    found = grounded(told, {"ens1": "pci/0000:3b:00.0"}, frozenset())

    assert found.concerned == {2, 5, 6}
    assert found.uplinks == frozenset()
    assert [each.above for each in found.interfaces] == [{5}, frozenset(), {6}, frozenset()]


def test_a_mode_that_is_told_wins_over_what_interfaces_let_guess() -> None:
    def port(index: int, device: str, name: str) -> Interface:
        return Interface(index, f"eth{index}", "ether", True, "up", device=device, switch_id="01", port_name=name)

    around = Ground(
        (port(2, "pci/a", "p0"), port(3, "pci/a", "pf0vf0"), port(4, "pci/b", "c1pf0sf88"), port(5, "pci/c", "p0")),
        frozenset(),
        frozenset(),
    )

    assert assembled(around, Words()).eswitch_modes == {"pci/a": "switchdev", "pci/b": "switchdev"}
    assert assembled(around, Words(eswitch_modes={"pci/b": "legacy", "pci/c": "switchdev"})).eswitch_modes == {
        "pci/a": "switchdev",
        "pci/b": "legacy",
        "pci/c": "switchdev",
    }


SEEN: list[Links | None] = []


class Kind(Backend, frozen=True, kw_only=True):
    """Notes what it is told."""

    name: ClassVar[str] = "nic"
    subsystems: ClassVar[frozenset[str]] = frozenset()
    wants: frozenset[LinkFact] = frozenset()

    @property
    def link_facts(self) -> frozenset[LinkFact]:
        return self.wants

    def discover(self, host: Host) -> Iterator[Device]:
        SEEN.append(host.links)
        yield Device("0", "intel.com/x", "/sys/x", NO_EDITS, "0")


INTERFACES = frozenset({LinkFact.INTERFACES})


@pytest.fixture
def real(tmp_path: Path) -> Host:
    """Return a node that nobody pretends."""
    return Host(str(tmp_path))


def looker(host: Host, node_ip: str = "") -> Looker:
    return Looker(host, lambda: 5.0, lambda: None, node_ip=node_ip)


TOLD = Links((Interface(2, "ens1", "ether", up=True, operstate="up"),), frozenset({2}))


@pytest.mark.anyio
@pytest.mark.parametrize("tree", ["\n".join(netlink(TOLD))])
@pytest.mark.parametrize(
    ("wants", "told"), [(INTERFACES, TOLD), (frozenset(LinkFact), TOLD), (frozenset[LinkFact](), None)]
)
async def test_a_pretended_machine_brings_its_links_along_for_those_who_want_them(
    host: Host, wants: frozenset[LinkFact], told: Links | None
) -> None:
    await looker(host).at(Kind(wants=wants), Found())
    assert SEEN.pop() == told


@pytest.mark.anyio
@pytest.mark.parametrize("tree", ["/netlink/uplinks = 2"])
async def test_a_pretended_machine_with_a_mistake_is_not_looked_at(host: Host) -> None:
    with pytest.raises(SysfsError, match="/netlink/uplinks: Expected `array`"):
        await looker(host).at(Kind(wants=INTERFACES), Found())
    assert SEEN == []


@pytest.mark.anyio
async def test_a_wrong_address_of_the_node_keeps_everything_from_being_offered(real: Host) -> None:
    with pytest.raises(LinksError, match="NODE_IP: found 'here'"):
        await looker(real, "here").at(Kind(wants=INTERFACES), Found())
    assert SEEN == []


def test_nothing_is_imported_for_those_who_want_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from intel_agent.cli import devices\n"
        "from intel_agent.cli.sight import Place\n"
        "assert devices.run(None, Place(sys.argv[1], '/', '/run', '/var'), 'json') == 0\n"
        "print(*(name for name in sys.modules if 'netlink' in name or name.endswith(('links', 'linkevents'))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "intel_agent.links"


@pytest.mark.anyio
async def test_a_driver_that_does_not_answer_costs_its_own_device_nothing_that_was_known(real: Host) -> None:
    """As when the firmware of one function is being replaced: devlink waits for as long as that takes."""
    gate, asked, released = threading.Event(), list[str](), list[str]()

    def ask(device: str) -> str:
        asked.append(device)
        if asked == ["pci/a", "pci/b"]:
            gate.wait(60)
        return f"new {device}"

    def read(look: Look) -> dict[str, str]:
        return said(["pci/a", "pci/b", "pci/c"], ask, {"pci/b": "old pci/b"}, look)

    place = Looker(real, lambda: 2.0, lambda: released.append("now"))
    with capture_logs() as log:
        assert await place.read("nic", "devlink", read) == {
            "pci/a": "new pci/a",
            "pci/b": "old pci/b",
            "pci/c": "new pci/c",
        }
        assert asked == ["pci/a", "pci/b", "pci/a", "pci/c"]
        gate.set()
        with anyio.fail_after(60):
            while not released:
                await anyio.sleep(0.01)
        assert (await place.read("nic", "devlink", read))["pci/b"] == "new pci/b"
    assert [(each["event"], each["device"]) for each in log] == [
        ("device.quarantined", "pci/b"),
        ("device.released", "pci/b"),
    ]
