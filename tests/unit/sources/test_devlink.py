"""What drivers answer, as it was recorded, and as they might."""

from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.sources.devlink import ddp_profile, eswitch_mode, rdma_enabled, vdpa_device
from intel_agent.sources.netlink import NetlinkError, attribute

from .recorded import recorded

HEAD = b"\x1d\x01\0\0"


def test_recorded_answers() -> None:
    assert [eswitch_mode(answer) for answer in recorded("eswitch")] == ["switchdev", "legacy"]
    assert [ddp_profile(answer) for answer in recorded("info")] == ["ICE COMMS Package"] * 2
    assert [rdma_enabled(answer) for answer in recorded("param")] == [True, False]
    assert [vdpa_device(answer) for answer in recorded("vdpa")] == [None]


OWN = {"eswitch": eswitch_mode, "info": ddp_profile, "param": rdma_enabled}


@pytest.mark.parametrize(("kind", "other"), list(permutations(OWN, 2)))
def test_an_answer_to_another_question_says_nothing(kind: str, other: str) -> None:
    assert [OWN[other](answer) for answer in recorded(kind)] == [None, None]


def test_no_answer_says_nothing() -> None:
    assert [read(b"") for read in OWN.values()] == [None] * 3


def test_a_mode_without_a_name_is_none() -> None:
    assert eswitch_mode(HEAD + attribute(25, b"\x07\0")) is None


def test_a_package_without_a_name_is_none() -> None:
    version = attribute(103, b"fw.app.name\0") + attribute(104, b"\0")

    assert ddp_profile(HEAD + attribute(101, version)) is None


def test_the_first_value_of_a_parameter_counts() -> None:
    false, true = attribute(85, attribute(87, b"\0")), attribute(85, attribute(86, b"") + attribute(87, b"\1"))

    def answer(*values: bytes) -> bytes:
        return HEAD + attribute(80, attribute(81, b"enable_rdma\0") + attribute(84, b"".join(values)))

    assert [rdma_enabled(answer(*each)) for each in ((true, false), (false, true), ())] == [True, False, None]


def test_a_vdpa_device_belongs_to_the_function_that_manages_it() -> None:
    answer = b"\3\1\0\0" + attribute(1, b"pci\0") + attribute(2, b"0000:3b:00.2\0") + attribute(4, b"vdpa0\0")

    assert vdpa_device(answer) == ("pci/0000:3b:00.2", "vdpa0")


@given(st.sampled_from(["eswitch", "info", "param", "vdpa"]), st.data())
def test_a_broken_answer_is_refused_or_says_less(kind: str, data: st.DataObject) -> None:
    answer = bytearray(recorded(kind)[0])
    for place in data.draw(st.lists(st.integers(4, len(answer) - 1), max_size=4)):
        answer[place] = data.draw(st.integers(0, 255))
    broken = bytes(answer[: data.draw(st.integers(0, len(answer)))])
    with suppress(NetlinkError):
        {**OWN, "vdpa": vdpa_device}[kind](broken)
