"""Messages and attributes: what is written is read, and what does not fit is refused."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.sources.netlink import NetlinkError, attribute, attributes, each_attribute, messages, number, string

ATTRIBUTES = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=300)), max_size=20)
FLAGS = st.sampled_from([0, 0x8000, 0x4000])


@given(ATTRIBUTES, FLAGS)
def test_attributes_are_read_as_they_are_written(written: list[tuple[int, bytes]], flags: int) -> None:
    body = b"head" + b"".join(attribute(kind | flags, value) for kind, value in written)

    assert list(each_attribute(body, 4)) == written
    assert attributes(body, 4) == dict(written)


@given(ATTRIBUTES)
def test_messages_are_read_as_they_are_written(written: list[tuple[int, bytes]]) -> None:
    datagram = b""
    for sequence, (kind, value) in enumerate(written):
        datagram += struct.pack("=IHHII", 16 + len(value), kind, 2, sequence, 0) + value + bytes(-len(value) % 4)

    assert list(messages(datagram)) == [(kind, 2, place, value) for place, (kind, value) in enumerate(written)]


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    for read in (each_attribute, messages):
        with suppress(NetlinkError):
            assert len(list(read(noise))) <= len(noise) // 4


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(struct.pack("=HH", 3, 1), id="shorter than its own head"),
        pytest.param(struct.pack("=HH", 0, 0), id="zeros, which would go on for ever"),
        pytest.param(struct.pack("=HH", 9, 1) + b"abcd", id="longer than what is there"),
    ],
)
def test_an_attribute_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(NetlinkError, match="does not fit"):
        attributes(body)


def test_numbers_and_texts() -> None:
    assert [number(struct.pack(form, 7)) for form in ("=B", "=H", "=I", "=Q")] == [7, 7, 7, 7]
    assert number(b"") == 0
    assert [string(each) for each in (b"eth0\0", b"eth0\0rest", b"eth0", b"\xff\0")] == ["eth0", "eth0", "eth0", "�"]
