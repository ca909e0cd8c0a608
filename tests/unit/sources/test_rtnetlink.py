"""Interfaces as a kernel told of them, routes and next hops of every form."""

import struct
from collections.abc import Callable
from contextlib import suppress
from socket import AF_INET, AF_INET6, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.links import VirtualFunction
from intel_agent.sources.netlink import NetlinkError, attribute
from intel_agent.sources.rtnetlink import Address, DefaultRoute, Link, address, default_route, link, nexthops, ties
from intel_agent.sources.uplinks import Tie, below

from .recorded import recorded

LINKS = {each.name: each for each in map(link, recorded("link")) if each is not None}


def test_a_function_and_its_virtual_functions() -> None:
    assert LINKS["eth0"] == Link(
        index=2,
        name="eth0",
        type="ether",
        up=False,
        operstate="down",
        carrier=None,
        hardware=LINKS["eth0"].hardware,
        kind="",
        parent="netdevsim10",
        bus="netdevsim",
        tie=Tie(),
        switch_id=LINKS["eth2"].switch_id,
        port_name="p1",
        virtual_functions=tuple(VirtualFunction(*each) for each in enumerate(("auto", "disable", "enable"))),
    )
    assert LINKS["eth2"].port_name == "pf0vf0"
    assert LINKS["eth2"].switch_id


def test_what_interfaces_are_tied_to() -> None:
    names = {each.index: each.name for each in LINKS.values()}
    told = {
        names[index]: (names.get(tie.master or 0), {names[each] for each in tie.lower}, names.get(tie.peer or 0))
        for index, tie in ties(list(LINKS.values())).items()
        if tie != Tie()
    }

    assert told == {
        "ovs-nic": ("ovs-system", set(), None),
        "br-ex": (None, {"ovs-system"}, None),
        "nic0": ("bond0", set(), None),
        "nic2": ("team0", set(), None),
        "nic3": ("vrf9", set(), None),
        "bond0.7": ("br0", {"bond0"}, None),
        "mac0": (None, {"nic3"}, None),
        "ipv0": (None, {"team0"}, None),
        "tap0": (None, {"nic3"}, None),
        "vx0": (None, {"nic3"}, None),
        "ve1": ("br0", set(), "ve0"),
        "ve0": (None, set(), "ve1"),
    }


@pytest.mark.parametrize(
    ("top", "uplinks"),
    [
        pytest.param("br0", {"br0", "bond0.7", "bond0", "nic0", "ve0", "ve1"}, id="a bridge"),
        pytest.param("ve0", {"br0", "bond0.7", "bond0", "nic0", "ve0", "ve1"}, id="a cable into it"),
        pytest.param("ipv0", {"ipv0", "team0", "nic2"}, id="an address of its own over a team"),
        pytest.param("br-ex", {"br-ex", "ovs-system", "ovs-nic"}, id="a bridge of Open vSwitch"),
        pytest.param("vrf9", {"vrf9", "nic3"}, id="a VRF"),
        pytest.param("ve2", {"ve2"}, id="a cable to another namespace"),
    ],
)
def test_what_carries_them(top: str, uplinks: set[str]) -> None:
    names = {each.index: each.name for each in LINKS.values()}

    assert {names[each] for each in below(ties(list(LINKS.values())), {LINKS[top].index})} == uplinks


def test_a_carrier_counts_only_on_what_is_up() -> None:
    assert {name: LINKS[name].carrier for name in ("nic0", "br-ex", "eth0")} == {
        "nic0": True,
        "br-ex": None,
        "eth0": None,
    }


def test_a_ring_sends_over_both_its_ends() -> None:
    data = attribute(1, struct.pack("=I", 2)) + attribute(2, struct.pack("=I", 3)) + attribute(3, b"\x05")
    info = attribute(18, attribute(1, b"hsr\0") + attribute(2, data))
    ring = link(struct.pack("=BxHiII", 0, 1, 9, 1, 0) + attribute(3, b"hsr0\0") + info)

    assert ring is not None
    assert ring.tie == Tie(lower=frozenset({2, 3}))


@pytest.mark.parametrize(
    ("hardware", "name"),
    [(1, "ether"), (32, "infiniband"), (772, "loopback"), (0xFFFE, "none"), (4242, "unknown4242")],
)
def test_types_have_the_kernel_s_names(hardware: int, name: str) -> None:
    found = link(struct.pack("=BxHiII", 0, hardware, 9, 1, 0) + attribute(3, b"x\0") + attribute(16, b"\x09"))

    assert found is not None
    assert (found.type, found.operstate) == (name, "unknown9")


def test_what_a_bridge_says_of_its_port_is_no_interface() -> None:
    assert link(struct.pack("=BxHiII", 7, 1, 9, 1, 0) + attribute(3, b"x\0")) is None


def route(*attributes: tuple[int, bytes], family: int = AF_INET, length: int = 0, kind: int = 1) -> bytes:
    head = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 3, 0, kind, 0)
    return head + b"".join(attribute(*each) for each in attributes)


def hop(index: int, more: bytes = b"") -> bytes:
    return struct.pack("=HBBi", 8 + len(more), 0, 0, index) + more


OUT = (4, struct.pack("=I", 3))
GATEWAY = attribute(5, inet_pton(AF_INET, "192.0.2.1"))
SOURCE = inet_pton(AF_INET, "192.0.2.7")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(route(OUT), DefaultRoute(frozenset({3})), id="one way"),
        pytest.param(route(OUT, family=AF_INET6), DefaultRoute(frozenset({3})), id="IPv6"),
        pytest.param(route(OUT, (7, SOURCE)), DefaultRoute(frozenset({3}), source=SOURCE), id="source"),
        pytest.param(
            route((9, hop(3, GATEWAY) + hop(5) + hop(6, GATEWAY))), DefaultRoute(frozenset({3, 5, 6})), id="multipath"
        ),
        pytest.param(route((30, struct.pack("=I", 8))), DefaultRoute(frozenset(), nexthop=8), id="next hop object"),
        pytest.param(route(OUT, length=24), None, id="a network"),
        pytest.param(route(OUT, length=1), None, id="half of all addresses"),
        pytest.param(route(kind=7), None, id="unreachable"),
        pytest.param(route(OUT, family=28), None, id="another family"),
    ],
)
def test_default_routes(body: bytes, expected: DefaultRoute | None) -> None:
    assert default_route(body) == expected


def test_next_hops_and_groups_of_them() -> None:
    told = [(1, 3, ()), (2, 5, ()), (8, 0, (1, 2)), (9, 0, (1, 77)), (10, 0, ())]

    assert nexthops(told) == {
        1: frozenset({3}),
        2: frozenset({5}),
        8: frozenset({3, 5}),
        9: frozenset({3}),
        10: frozenset(),
    }


@pytest.mark.parametrize(
    ("scope", "attributes", "expected"),
    [
        pytest.param(0, {1: SOURCE, 2: SOURCE}, Address(3, SOURCE), id="IPv4"),
        pytest.param(0, {1: b"othr", 2: SOURCE}, Address(3, SOURCE), id="point to point"),
        pytest.param(0, {1: SOURCE}, Address(3, SOURCE), id="IPv6 has one only"),
        pytest.param(253, {1: SOURCE, 2: SOURCE}, None, id="of a link"),
        pytest.param(254, {1: SOURCE, 2: SOURCE}, None, id="of the host"),
    ],
)
def test_addresses(scope: int, attributes: dict[int, bytes], expected: Address | None) -> None:
    body = struct.pack("=BBBBI", AF_INET, 24, 0, scope, 3) + b"".join(attribute(*each) for each in attributes.items())

    assert address(body) == expected


@given(st.sampled_from([link, address, default_route]), st.sampled_from(recorded("link")), st.data())
def test_a_broken_message_is_refused_or_says_less(
    read: Callable[[bytes], object], message: bytes, data: st.DataObject
) -> None:
    broken = bytearray(message)
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=4)):
        broken[place] = data.draw(st.integers(0, 255))
    with suppress(NetlinkError):
        read(bytes(broken[: data.draw(st.integers(0, len(broken)))]))


@pytest.mark.parametrize("read", [link, address, default_route])
def test_a_message_without_its_head_is_refused(read: Callable[[bytes], object]) -> None:
    with pytest.raises(NetlinkError, match="has no room"):
        read(b"\2\0\0")
