"""What kubelet's checkpoint says, and what is made of one that is not as we know it."""

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent._proto.v1beta1 import CdiDevice, ContainerAllocateResponse, DeviceSpec
from intel_agent.publish.checkpoint import NAME, Checkpoint, pods, read

ANSWER = ContainerAllocateResponse(
    devices=[DeviceSpec(container_path="/dev/dri/card0", host_path="/on/host/card0", permissions="rw")],
    cdi_devices=[CdiDevice(name="intel.cdi.k8s.io/gpu=card0")],
)
ENTRY = {
    "PodUID": "uid",
    "ContainerName": "c",
    "ResourceName": "gpu.intel.com/xe",
    "DeviceIDs": {"-1": ["card0-0"], "1": ["card1-0"]},
    "AllocResp": base64.b64encode(bytes(ANSWER)).decode(),
}
REGISTERED = {"gpu.intel.com/xe": ["card0-0", "card0-1", "card1-0"], "sgx.intel.com/enclave": None}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def test_it_tells_who_got_what_by_which_names_and_how_devices_were_shared(tmp_path: Path) -> None:
    content = {"Data": {"PodDeviceEntries": [ENTRY], "RegisteredDevices": REGISTERED}, "Checksum": 1}
    (tmp_path / NAME).write_text(json.dumps(content))
    assert read(str(tmp_path)) == Checkpoint(
        held=frozenset({("gpu.intel.com/xe", "card0-0"), ("gpu.intel.com/xe", "card1-0")}),
        cdi_names=frozenset({"intel.cdi.k8s.io/gpu=card0"}),
        shares={"gpu.intel.com/xe": {"card0": 2, "card1": 1}},
        nodes={
            ("gpu.intel.com/xe", each): frozenset({("/dev/dri/card0", "/on/host/card0")})
            for each in ("card0-0", "card1-0")
        },
    )


def test_a_damaged_one_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    for content in (b"{", b"[]", b"null", b'{"Data": null}', b"\xff", b'{"more": ' + b"[" * 100_000):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read(str(tmp_path))
        with pytest.raises(ValueError, match=r"."):
            pods(str(tmp_path))
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with pytest.raises(IsADirectoryError):
        read(str(tmp_path))


def test_nobody_holds_anything_without_one(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == Checkpoint()


@given(odd=st.fixed_dictionaries({}, optional=dict.fromkeys(["PodDeviceEntries", "RegisteredDevices"], JSON)))
def test_an_odd_one_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, odd: object) -> None:
    directory = tmp_path_factory.mktemp("odd")
    (directory / NAME).write_text(json.dumps({"Data": odd}))
    with contextlib.suppress(ValueError):
        assert isinstance(read(str(directory)), Checkpoint)


@given(answer=st.binary(max_size=40))
def test_an_odd_answer_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, answer: bytes) -> None:
    directory = tmp_path_factory.mktemp("odd")
    data = {"PodDeviceEntries": [{**ENTRY, "AllocResp": base64.b64encode(answer).decode()}]}
    (directory / NAME).write_text(json.dumps({"Data": data}))
    with contextlib.suppress(ValueError):
        assert isinstance(read(str(directory)), Checkpoint)
