"""Whatever arrives on the socket, it is an event of the kernel or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.model import Event
from intel_agent.sources.kernel import parse

REAL = (
    (
        b"change@/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/drm/card0\0ACTION=change\0"
        b"DEVPATH=/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/drm/card0\0SUBSYSTEM=drm\0WEDGED=rebind,bus-reset\0"
        b"DEVNAME=/dev/dri/card0\0DEVTYPE=drm_minor\0SEQNUM=4242\0MAJOR=226\0MINOR=0\0"
    ),
    b"add@/bus/dsa/devices/wq0.0\0ACTION=add\0DEVPATH=/bus/dsa/devices/wq0.0\0SUBSYSTEM=dsa\0SEQNUM=1\0",
    b"remove@/module/idxd\0ACTION=remove\0DEVPATH=/module/idxd\0SUBSYSTEM=module\0SEQNUM=18446744073709551615\0",
)


def test_a_message_of_the_kernel_is_an_event() -> None:
    event = parse(REAL[0])

    assert event is not None
    assert (event.action, event.subsystem) == ("change", "drm")
    assert event.path == "/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/drm/card0"
    assert event.properties["WEDGED"] == "rebind,bus-reset"
    assert event.properties["SEQNUM"] == "4242"


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x1c", id="pyroute2's word for an overrun"),
        pytest.param(b"libudev\0\xfe\xed\xca\xfe\0\0\0\x28", id="udevd"),
        pytest.param(b"add@/x\0ACTION=add\0DEVPATH=/x\0", id="no subsystem"),
        pytest.param(b"add@/x\0SUBSYSTEM=drm\0DEVPATH=/x\0", id="no action"),
        pytest.param(b"add@/x\0ACTION=add\0SUBSYSTEM=drm\0", id="no path"),
        pytest.param(b"ACTION=add\0DEVPATH=/x\0SUBSYSTEM=drm\0", id="no head"),
        pytest.param(b"add@/x\0ACTION=add\0DEVPATH=/\xff\0SUBSYSTEM=drm\0", id="no text"),
        pytest.param(b"add@/x\0ACTION\0DEVPATH\0SUBSYSTEM\0", id="no values"),
    ],
)
def test_anything_else_is_nothing(message: bytes) -> None:
    assert parse(message) is None


@given(st.binary(max_size=4096))
def test_noise_is_survived(message: bytes) -> None:
    assert parse(message) is None or b"@" in message


@given(data=st.data(), message=st.sampled_from(REAL))
def test_a_damaged_message_is_an_event_of_text_or_nothing(data: st.DataObject, message: bytes) -> None:
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(start + 20, len(damaged))))
        damaged[start:end] = data.draw(st.binary(max_size=20))

    event = parse(bytes(damaged))

    assert event is None or isinstance(event, Event)
    if event is not None:
        for value in (event.action, event.subsystem, event.path):
            assert value.encode() in bytes(damaged)
        assert "\0" not in "".join((*event.properties.keys(), *event.properties.values()))


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1),
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    )
)
def test_properties_come_through_unchanged(properties: dict[str, str]) -> None:
    wanted = {**properties, "ACTION": "add", "DEVPATH": "/x", "SUBSYSTEM": "drm"}
    message = b"add@/x\0" + b"".join(f"{key}={value}\0".encode() for key, value in wanted.items())

    event = parse(message)

    assert event is not None
    assert dict(event.properties) == wanted
