"""Which of the kernel's broadcasts are worth a look."""

import struct
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.sources.linkevents import matters
from intel_agent.sources.netlink import attribute

CONCERNED = frozenset({2, 5})
KIND = attribute(18, attribute(1, b"veth\0"))


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, *attributes: bytes, kind: int = 16, family: int = 0) -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 1, index, 1, 0) + b"".join(attributes))


def tie(what: int, index: int) -> bytes:
    return attribute(what, struct.pack("=I", index))


def route(family: int, length: int, kind: int = 24) -> bytes:
    return message(kind, struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 3, 0, 1, 0))


def address(scope: int) -> bytes:
    return message(20, struct.pack("=BBBBI", AF_INET, 24, 0, scope, 77))


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        pytest.param(link(2, KIND), True, id="an interface that matters"),
        pytest.param(link(2, KIND, kind=17), True, id="its end"),
        pytest.param(link(77, KIND), False, id="a pod's cable"),
        pytest.param(link(77, KIND, kind=17), False, id="the end of a pod's cable"),
        pytest.param(link(77, KIND, tie(10, 5)), True, id="a port of what matters"),
        pytest.param(link(77, KIND, tie(10, 9)), False, id="a port of something else"),
        pytest.param(link(77, KIND, tie(5, 2)), True, id="a VLAN over what matters"),
        pytest.param(link(77), True, id="hardware"),
        pytest.param(link(77, KIND, attribute(56, b"0000:3b:00.2\0")), True, id="a device's interface with a kind"),
        pytest.param(link(2, family=7), False, id="what a bridge says of a port"),
        pytest.param(route(AF_INET, 0), True, id="IPv4 default route"),
        pytest.param(route(AF_INET6, 0, kind=25), True, id="the end of an IPv6 default route"),
        pytest.param(route(AF_INET, 32), False, id="route to a pod"),
        pytest.param(route(28, 0), False, id="route of another family"),
        pytest.param(address(0), True, id="address"),
        pytest.param(address(253), False, id="address of a link"),
        pytest.param(message(104, b""), True, id="next hop"),
        pytest.param(message(28, b"\2\0\0\0"), False, id="neighbour"),
        pytest.param(route(AF_INET, 32) + route(AF_INET, 0), True, id="the second of two"),
        pytest.param(message(16, b"\0"), True, id="too short to be understood"),
        pytest.param(b"\x04\0\0\0" * 5, True, id="noise"),
    ],
)
def test_what_matters(datagram: bytes, *, expected: bool) -> None:
    assert matters(datagram, CONCERNED) is expected


def test_as_long_as_nothing_is_known_every_interface_matters() -> None:
    assert matters(link(77, KIND), None)
    assert not matters(route(AF_INET, 32), None)


@given(st.binary(max_size=200))
def test_noise_is_survived(noise: bytes) -> None:
    assert matters(noise, CONCERNED) in {True, False}
