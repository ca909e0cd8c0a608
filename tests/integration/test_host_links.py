"""What a real kernel tells of interfaces, and that the node's own uplink is found among them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from time import monotonic, sleep

import pytest

from intel_agent.links import Interface, LinkFact, Links, VirtualFunction
from intel_agent.sources.links import Ground, LinksError, Words, assembled, ground, words
from intel_agent.sysfs import Host, Look

from .namespace import Namespace, makes, namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")

makes = cache(makes)
OPTIONS = {"vlan": "id 7", "vrf": "table 7"}


@pytest.fixture
def spaces(tmp_path: Path) -> Iterator[tuple[Namespace, Namespace]]:
    """Give a namespace with two functions (nic0, nic1), and that of the other ends of their cables (wire0, wire1)."""
    with ExitStack() as stack:
        node, outside = (stack.enter_context(namespace(tmp_path / name)) for name in ("node", "outside"))
        for number in range(2):
            outside.ip(f"link add nic{number} netns {node.path} type veth peer name wire{number}")
            outside.ip(f"link set wire{number} up")
        node.ip("link set nic0 up", "link set nic1 up")
        yield node, outside


@pytest.fixture
def node(spaces: tuple[Namespace, Namespace]) -> Namespace:
    return spaces[0]


def gathered(node: Namespace, node_ip: str = "") -> Ground:
    return node.run(lambda: ground(Host(str(node.root)), node_ip, 60.0))


def uplinks(node: Namespace, node_ip: str = "") -> set[str]:
    found = gathered(node, node_ip)
    return {each.name for each in found.interfaces if each.index in found.uplinks}


V4 = ("address add 192.0.2.2/24 dev {0}", "route add default via 192.0.2.1 dev {0}")
V6 = ("address add 2001:db8::2/64 dev {0} nodad", "route add ::/0 via 2001:db8::1 dev {0}")
NODE_IP = "192.0.2.7"


def on(name: str, commands: tuple[str, ...] = V4) -> tuple[str, ...]:
    return tuple(each.format(name) for each in commands)


@pytest.mark.parametrize(
    ("kinds", "commands", "expected"),
    [
        pytest.param((), (), set[str](), id="nothing"),
        pytest.param((), on("nic0"), {"nic0"}, id="IPv4"),
        pytest.param((), on("nic1", V6), {"nic1"}, id="IPv6"),
        pytest.param((), (*on("nic0"), *on("nic1", V6)), {"nic0", "nic1"}, id="one for each"),
        pytest.param(
            (),
            (
                "address add 192.0.2.2/24 dev nic0",
                "address add 198.51.100.2/24 dev nic1",
                "route add default nexthop via 192.0.2.1 dev nic0 nexthop via 198.51.100.1 dev nic1",
            ),
            {"nic0", "nic1"},
            id="IPv4 multipath",
        ),
        pytest.param(
            (),
            (
                "address add 2001:db8:1::2/64 dev nic0 nodad",
                "address add 2001:db8:2::2/64 dev nic1 nodad",
                "route add ::/0 nexthop via 2001:db8:1::1 dev nic0 nexthop via 2001:db8:2::1 dev nic1",
            ),
            {"nic0", "nic1"},
            id="IPv6 multipath",
        ),
        pytest.param(
            (),
            ("address add 192.0.2.2/24 dev nic0", "route add default via 192.0.2.1 dev nic0 table 1234"),
            {"nic0"},
            id="a table of its own",
        ),
        pytest.param(
            (),
            (*on("nic0"), "address add 198.51.100.2/24 dev nic1", "route add unreachable default metric 9999"),
            {"nic0"},
            id="an address is not enough, nor a default route to nowhere",
        ),
        pytest.param(
            (),
            (
                "address add 192.0.2.2/24 dev nic0",
                "route add 0.0.0.0/1 via 192.0.2.1 dev nic0",
                "address add 192.0.2.7/32 dev nic1",
            ),
            {"nic1"},
            id="half of all addresses is no default route",
        ),
        pytest.param(
            (),
            (
                "address add 192.0.2.99/32 dev nic1",
                "address add 192.0.2.2/24 dev nic0",
                "route add default via 192.0.2.1 dev nic0 src 192.0.2.99",
            ),
            {"nic0", "nic1"},
            id="where a default route sends from",
        ),
        pytest.param(
            ("bridge",),
            ("link add br0 type bridge", "link set nic0 master br0", "link set br0 up", *on("br0")),
            {"br0", "nic0"},
            id="bridge",
        ),
        pytest.param(
            ("bridge",),
            (
                "link add br0 type bridge",
                "link set nic0 master br0",
                "link set br0 up",
                "link add in0 type veth peer name in1",
                "link set in1 master br0",
                "link set in1 up",
                "link set in0 up",
                *on("in0"),
            ),
            {"br0", "nic0", "in0", "in1"},
            id="cable into a bridge",
        ),
        pytest.param(
            ("macvlan",),
            ("link add mac0 link nic0 type macvlan", "link set mac0 up", *on("mac0", V6)),
            {"mac0", "nic0"},
            id="MAC VLAN",
        ),
        pytest.param(
            ("vlan",),
            ("link add vlan0 link nic1 type vlan id 7", "link set vlan0 up", *on("vlan0")),
            {"vlan0", "nic1"},
            id="VLAN",
        ),
        pytest.param(
            ("bond", "bridge", "vlan"),
            (
                "link add bond0 type bond",
                "link set nic0 down",
                "link set nic1 down",
                "link set nic0 master bond0",
                "link set nic1 master bond0",
                "link set bond0 up",
                "link add bond0.7 link bond0 type vlan id 7",
                "link add br0 type bridge",
                "link set bond0.7 master br0",
                "link set bond0.7 up",
                "link set br0 up",
                *on("br0"),
            ),
            {"br0", "bond0.7", "bond0", "nic0", "nic1"},
            id="bridge over VLAN over bond",
        ),
        pytest.param(
            ("team",),
            (
                "link add team0 type team",
                "link set nic0 down",
                "link set nic0 master team0",
                "link set team0 up",
                *on("team0"),
            ),
            {"team0", "nic0"},
            id="team",
        ),
        pytest.param(
            ("vrf",),
            (
                "link add vrf7 type vrf table 7",
                "link set vrf7 up",
                "link set nic0 master vrf7",
                "address add 192.0.2.2/24 dev nic0",
                "route add default via 192.0.2.1 dev nic0 table 7",
            ),
            {"nic0"},
            id="VRF",
        ),
    ],
)
def test_the_node_s_own_uplink(
    node: Namespace, kinds: tuple[str, ...], commands: tuple[str, ...], expected: set[str]
) -> None:
    for kind in kinds:
        if not makes(kind, OPTIONS.get(kind, "")):
            pytest.skip(f"this kernel makes no {kind}")
    node.ip(*commands)

    assert uplinks(node, NODE_IP) == expected


def test_without_an_address_and_a_default_route_any_address_may_be_the_node_s(node: Namespace) -> None:
    node.ip("address add 192.0.2.2/24 dev nic0")
    assert uplinks(node) == {"nic0"}
    assert uplinks(node, NODE_IP) == set()
    node.ip("route add default dev nic1")
    assert uplinks(node) == {"nic1"}


def test_next_hops_are_followed_when_routes_do_not_repeat_them(node: Namespace) -> None:
    node.ip(
        "address add 192.0.2.2/24 dev nic0",
        "address add 198.51.100.2/24 dev nic1",
        "nexthop add id 1 via 192.0.2.1 dev nic0",
        "nexthop add id 2 via 198.51.100.1 dev nic1",
        "nexthop add id 3 group 1/2",
        "route add default nhid 3",
    )
    assert uplinks(node, NODE_IP) == {"nic0", "nic1"}
    node.run(lambda: Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0"))
    assert uplinks(node, NODE_IP) == {"nic0", "nic1"}


def test_a_carrier_is_what_the_other_end_makes_it(spaces: tuple[Namespace, Namespace]) -> None:
    node, outside = spaces

    def nic0() -> Interface:
        return next(each for each in gathered(node).interfaces if each.name == "nic0")

    def until(states: set[str]) -> Interface:
        """Wait until the kernel has put down what it knows: it does so some time after the cause."""
        ends = monotonic() + 60
        while (found := nic0()).operstate not in states:
            assert monotonic() < ends, found
            sleep(0.01)
        return found

    before = until({"up"})
    outside.ip("link set wire0 down")
    after = until({"down", "lowerlayerdown"})
    node.ip("link set nic0 down")

    assert (before.type, before.up, before.carrier) == ("ether", True, True)
    assert (after.up, after.carrier) == (True, False)
    assert (nic0().up, nic0().carrier) == (False, None)


def test_an_interface_that_was_given_away_is_gone_and_comes_back(spaces: tuple[Namespace, Namespace]) -> None:
    node, outside = spaces

    def names() -> set[str]:
        return {each.name for each in gathered(node).interfaces}

    node.ip(*on("nic0"), f"link set nic0 netns {outside.path}")
    assert names() == {"lo", "nic1"}
    assert uplinks(node, NODE_IP) == set()
    outside.ip(f"link set nic0 netns {node.path}")
    assert names() == {"lo", "nic0", "nic1"}


def test_what_is_above_an_interface(node: Namespace) -> None:
    node.ip("link add br0 type bridge", "link set nic0 master br0", "link add mac0 link br0 type macvlan")
    found = {each.name: each for each in gathered(node).interfaces}

    assert found["nic0"].above == {found["br0"].index}
    assert found["br0"].above == {found["mac0"].index}
    assert found["mac0"].above == found["nic1"].above == frozenset()


def test_no_capability_is_needed(node: Namespace) -> None:
    node.ip(*on("nic0"))
    code = "from intel_agent.sources.links import ground; from intel_agent.sysfs import Host; import sys\n"
    code += "found = ground(Host(sys.argv[1]), '', 60.0)\n"
    code += (
        "print(*(each.name for each in found.interfaces if each.index in found.uplinks), *open('/proc/self/status'))"
    )
    nothing = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not there")
    done = node.run(
        lambda: subprocess.run(
            [*nothing, sys.executable, "-c", code, str(node.root)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nic0 ")
    assert "CapEff:\t0000000000000000" in done.stdout


def test_another_namespace_than_the_node_s_is_refused(node: Namespace) -> None:
    """As in a pod without the host's network: /sys is the node's, and what netlink tells is not."""
    if not any(Path("/sys/class/net").glob("*/device")):
        pytest.skip("this machine has no interface with a device")
    with pytest.raises(LinksError, match=r"do not agree about .*hostNetwork: true"):
        node.run(lambda: ground(Host("/"), "", 60.0))


def test_this_machine_is_read() -> None:
    names = {each.name for each in Path("/sys/class/net").iterdir() if each.is_symlink()}
    found = ground(Host("/"), "", 60.0)

    assert {each.name for each in found.interfaces} == names
    devices = {each.name: each.device for each in found.interfaces if each.device}
    real = {path.parent.name: path.resolve().name for path in Path("/sys/class/net").glob("*/device")}
    assert {name: device.partition("/")[2] for name, device in devices.items()} == real


@pytest.fixture
def simulated(node: Namespace) -> Iterator[Path]:
    """Give the directory of a function of netdevsim with two virtual functions; it calls itself 4242."""
    bus = Path("/sys/bus/netdevsim")
    if not bus.exists() or shutil.which("devlink") is None:
        pytest.skip("this kernel has no netdevsim, or devlink (iproute2) is not there")
    node.run(lambda: (bus / "new_device").write_text("4242 1"))
    (bus / "devices/netdevsim4242/sriov_numvfs").write_text("2")
    yield node.root / "sys/bus/netdevsim/devices/netdevsim4242"
    (bus / "del_device").write_text("4242")


FUNCTION = "netdevsim/netdevsim4242"


def test_what_drivers_say(node: Namespace, simulated: Path) -> None:
    (interface,) = node.run(lambda: [path.name for path in (simulated / "net").iterdir()])
    node.ip(f"link set {interface} vf 1 state disable")

    def told() -> Links:
        around = gathered(node)
        facts = frozenset(LinkFact)
        host = Host(str(node.root))
        return assembled(around, node.run(lambda: words(host, around, facts, Look(), before=Words(), seconds=60.0)))

    before = told()
    node.run(
        lambda: subprocess.run(
            ["devlink", "dev", "eswitch", "set", FUNCTION, "mode", "switchdev"], check=True, timeout=60
        )
    )
    after = told()

    assert before.eswitch_modes == {FUNCTION: "legacy"}
    assert after.eswitch_modes == {FUNCTION: "switchdev"}
    own = next(each for each in before.interfaces if each.name == interface)
    assert own.device == FUNCTION
    assert own.virtual_functions == (VirtualFunction(0, "auto"), VirtualFunction(1, "disable"))
    ports = {each.port_name for each in after.interfaces if each.device == FUNCTION and each.name != interface}
    assert ports == {"pf0vf0", "pf0vf1"}
    # Without CAP_NET_ADMIN, devlink does not tell: then these interfaces do.
    assert assembled(Ground(after.interfaces, frozenset(), frozenset()), Words()).eswitch_modes == after.eswitch_modes
