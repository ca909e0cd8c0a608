"""Interfaces, addresses and routes of a network namespace, as the kernel tells of them over rtnetlink.

Sources: rtnetlink(7), Documentation/networking/operstates.rst, include/uapi/linux/if_link.h, rtnetlink.h, if_addr.h,
nexthop.h, and if_arp.h for the types. Nothing here needs a capability, and no driver is asked but for its virtual
functions.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6

from intel_agent.links import VirtualFunction
from intel_agent.sources.netlink import (
    ROUTE,
    Conversation,
    NetlinkError,
    attribute,
    attributes,
    each_attribute,
    number,
    string,
)
from intel_agent.sources.uplinks import Tie

_GET_LINK, _GET_ADDRESS, _GET_ROUTE, _GET_NEXTHOP = 18, 22, 26, 106

_LINK = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, which of them changed."""
_ADDRESS = struct.Struct("=BBBBI")
"""ifaddrmsg: family, length of the prefix, flags, scope, index."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
_NEXTHOP = struct.Struct("=BBBxI")
"""nhmsg: family, scope, protocol, flags."""
_HOP = struct.Struct("=HBBi")
"""rtnexthop: length, flags, hops, index."""
_MEMBER = struct.Struct("=IBBH")
"""nexthop_grp: number, weight."""
_OF_FUNCTION = struct.Struct("=II")
"""What is said of a virtual function: its number, and the value."""

_HARDWARE, _NAME, _LOWER, _MASTER, _OPERSTATE, _INFO, _FUNCTIONS, _EXTENDED = 1, 3, 5, 10, 16, 18, 22, 29
_CARRIER, _SWITCH_ID, _LOWER_NAMESPACE, _PORT_NAME, _PARENT, _PARENT_BUS = 33, 36, 37, 38, 56, 57
_KIND, _DATA = 1, 2
_FUNCTION, _LINK_STATE = 1, 5
_WITH_FUNCTIONS = attribute(_EXTENDED, struct.pack("=I", 0x1 | 0x8))
"""With virtual functions, without counters: with them, 200 functions would not fit into an attribute's 64 KiB."""

_TYPES = {1: "ether", 2: "eether", 32: "infiniband", 512: "ppp", 768: "tunnel", 769: "tunnel6", 772: "loopback"} | {
    776: "sit",
    778: "gre",
    801: "ieee802.11",
    0xFFFE: "none",
    0xFFFF: "void",
}
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_LINK_STATES = ("auto", "enable", "disable")
_UP = 0x1
_CABLES = frozenset({"netkit", "veth", "vxcan"})
_SWITCH = "openvswitch"
"""The kind of a datapath, and of a port from within."""
_LOWER_IN_DATA = {"hsr": frozenset({1, 2}), "vxlan": frozenset({3})}
"""Where those kinds name what they send over (IFLA_HSR_SLAVE1 and 2, IFLA_VXLAN_LINK)."""

_OUT, _SOURCE, _MULTIPATH, _NEXTHOP_ID = 4, 7, 9, 30
_UNICAST, _EVERYWHERE = 1, 0
_ID, _GROUP, _INTERFACE = 1, 2, 5


@dataclass(frozen=True, slots=True)
class Link:
    """An interface (RTM_NEWLINK), before it is known to which device it belongs.

    `kind` is what it is if made by software (`veth`, `bond`, `vlan`); `parent` and `bus` name its device, from Linux
    5.14 on. `hardware` is its address as /sys writes it.
    """

    index: int
    name: str
    type: str
    up: bool
    operstate: str
    carrier: bool | None
    hardware: str
    kind: str
    parent: str
    bus: str
    tie: Tie
    switch_id: str | None
    port_name: str | None
    virtual_functions: tuple[VirtualFunction, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """An address of global scope of an interface. IPv4 has 4 bytes, IPv6 16."""

    index: int
    address: bytes


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A default route, in whatever table: the interfaces that it leads over, and the source address that it gives."""

    interfaces: frozenset[int]
    nexthop: int = 0
    source: bytes = b""


@dataclass(frozen=True, slots=True)
class Network:
    """All that a network namespace has of them."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...]
    default_routes: tuple[DefaultRoute, ...]


def network(seconds: float) -> Network:
    """Return what this thread's network namespace has.

    Raises:
        NetlinkError: the kernel does not tell.
        OSError: it gives no socket, or has not answered in time.
    """
    with Conversation(ROUTE, seconds) as kernel:
        ask = _LINK.pack(0, 0, 0, 0, 0) + _WITH_FUNCTIONS
        links = kernel.dump(_GET_LINK, ask, link)
        addresses = kernel.dump(_GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0), address)
        routes = [
            route
            for family in (AF_INET, AF_INET6)
            for route in kernel.dump(_GET_ROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), default_route)
        ]
        if any(each.nexthop and not each.interfaces for each in routes):
            routes = list(_resolved(routes, nexthops(kernel.dump(_GET_NEXTHOP, _NEXTHOP.pack(0, 0, 0, 0), _nexthop))))
    return Network(tuple(links), tuple(addresses), tuple(routes))


def link(body: bytes) -> Link | None:
    """Return the interface of a message.

    Raises:
        NetlinkError: it is none that the kernel would send.
    """
    family, hardware, index, flags, _ = _unpacked(_LINK, body)
    if family != 0:
        return None  # what a bridge says of its ports
    found = attributes(body, _LINK.size)
    told = attributes(found[_INFO]) if _INFO in found else {}
    kind = string(told.get(_KIND, b""))
    up = bool(flags & _UP)
    return Link(
        index=index,
        name=string(found.get(_NAME, b"")),
        type=_TYPES.get(hardware, f"unknown{hardware}"),
        up=up,
        operstate=_word(_OPERSTATES, number(found.get(_OPERSTATE, b""))),
        # What is not up has a carrier or not as its driver likes: /sys refuses to tell then.
        carrier=bool(number(found[_CARRIER])) if up and _CARRIER in found else None,
        hardware=found.get(_HARDWARE, b"").hex(":"),
        kind=kind,
        parent=string(found.get(_PARENT, b"")),
        bus=string(found.get(_PARENT_BUS, b"")),
        tie=_tie(index, kind, found, told.get(_DATA, b"")),
        switch_id=found[_SWITCH_ID].hex() or None if _SWITCH_ID in found else None,
        port_name=string(found[_PORT_NAME]) or None if _PORT_NAME in found else None,
        virtual_functions=tuple(_functions(found.get(_FUNCTIONS, b""))),
    )


def _tie(index: int, kind: str, found: Mapping[int, bytes], data: bytes) -> Tie:
    master, other = (number(found.get(each, b"")) or None for each in (_MASTER, _LOWER))
    if other == index or _LOWER_NAMESPACE in found:
        other = None  # nothing else, or something in another namespace
    lower = {other} if other is not None and kind not in _CABLES else set[int]()
    if (places := _LOWER_IN_DATA.get(kind)) is not None:
        lower |= {number(value) for what, value in each_attribute(data) if what in places}
    return Tie(master=master, lower=frozenset(lower), peer=other if kind in _CABLES else None)


def ties(links: Sequence[Link]) -> dict[int, Tie]:
    """Return what each interface is tied to.

    The kernel does not tell to which datapath of Open vSwitch an interface belongs that is a port from within (br-ex):
    it is taken for one of each.
    """
    found = {each.index: each.tie for each in links}
    switches = {each.index for each in links if each.kind == _SWITCH}
    datapaths = frozenset(tie.master for tie in found.values() if tie.master is not None) & switches
    for index in switches - datapaths:
        found[index] = replace(found[index], lower=found[index].lower | datapaths)
    return found


def _functions(found: bytes) -> Iterator[VirtualFunction]:
    for what, function in each_attribute(found):
        if what == _FUNCTION and (state := attributes(function).get(_LINK_STATE)) is not None:
            index, value = _unpacked(_OF_FUNCTION, state)
            yield VirtualFunction(index, _word(_LINK_STATES, value))


def address(body: bytes) -> Address | None:
    """Return the address of a message, or `None` for one that is not of global scope.

    Raises:
        NetlinkError: it is none that the kernel would send.
    """
    family, _, _, scope, index = _unpacked(_ADDRESS, body)
    if scope != _EVERYWHERE or family not in {AF_INET, AF_INET6}:
        return None
    found = attributes(body, _ADDRESS.size)
    # The local one; on point-to-point links the other attribute is that of the other end.
    return Address(index, found.get(_LOCAL_ADDRESS) or found.get(_ANY_ADDRESS, b""))


_ANY_ADDRESS, _LOCAL_ADDRESS = 1, 2


def default_route(body: bytes) -> DefaultRoute | None:
    """Return the default route of a message, or `None` for any other route.

    Raises:
        NetlinkError: it is none that the kernel would send.
    """
    family, destination, _, _, _, _, _, kind, _ = _unpacked(_ROUTE, body)
    if destination != 0 or kind != _UNICAST or family not in {AF_INET, AF_INET6}:
        return None
    found = attributes(body, _ROUTE.size)
    interfaces = set(_hops(found.get(_MULTIPATH, b"")))
    if _OUT in found:
        interfaces.add(number(found[_OUT]))
    return DefaultRoute(frozenset(interfaces), number(found.get(_NEXTHOP_ID, b"")), found.get(_SOURCE, b""))


def _hops(found: bytes) -> Iterator[int]:
    """Yield the interfaces of a route with several ways."""
    start = 0
    while start + _HOP.size <= len(found):
        length, _, _, index = _HOP.unpack_from(found, start)
        if length < _HOP.size:
            raise NetlinkError(f"a way of {length} bytes")
        yield index
        start += length + 3 & ~3


def _nexthop(body: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Return the number of a next hop, its interface, and its members if it is a group."""
    found = attributes(body, _NEXTHOP.size)
    group = found.get(_GROUP, b"")
    members = tuple(member for member, *_ in _MEMBER.iter_unpack(group[: len(group) // 8 * 8]))
    return number(found.get(_ID, b"")), number(found.get(_INTERFACE, b"")), members


def nexthops(told: Iterable[tuple[int, int, tuple[int, ...]]]) -> dict[int, frozenset[int]]:
    """Return the interfaces of each next hop; a group's members are single ones."""
    known = {name: (interface, members) for name, interface, members in told}

    def interfaces(name: int) -> Iterator[int]:
        interface, members = known[name]
        yield from (known[each][0] for each in members if each in known)
        yield interface

    return {name: frozenset(filter(None, interfaces(name))) for name in known}


def _resolved(routes: Iterable[DefaultRoute], ways: Mapping[int, frozenset[int]]) -> Iterator[DefaultRoute]:
    """Yield the routes with the interfaces of their next hops (net.ipv4.nexthop_compat_mode = 0 leaves them out)."""
    for each in routes:
        more = ways.get(each.nexthop, frozenset[int]())
        yield DefaultRoute(each.interfaces | more, each.nexthop, each.source)


def _word(words: tuple[str, ...], place: int) -> str:
    return words[place] if place < len(words) else f"unknown{place}"


def _unpacked(form: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < form.size:
        raise NetlinkError(f"a message of {len(body)} bytes has no room for its first {form.size}")
    return form.unpack_from(body)
