"""What CDI files say, and what is made of those of others."""

import pytest

from intel_agent.model import ContainerEdits, Device, DeviceNode
from intel_agent.publish import cdi
from intel_agent.publish.cdifiles import Wanted

GPU = "intel.cdi.k8s.io/gpu"
DAMAGED = [b"", b"{", b"[1]", b'{"devices": 1}', b'{"devices": [1]}', b'{"devices": [{}]}', b"\xff"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        pytest.param(
            '{"kind": "intel.cdi.k8s.io/gpu", "devices": [{"name": "a"}]}', ["intel.cdi.k8s.io/gpu=a"], id="json"
        ),
        pytest.param(
            "kind: intel.cdi.k8s.io/gpu\ndevices: [{name: 2026-01-01}]",
            ["intel.cdi.k8s.io/gpu=2026-01-01"],
            id="a date",
        ),
        pytest.param("kind: nvidia.com/gpu\ndevices: [{name: a}]", [], id="somebody else's kind"),
        pytest.param("kind: intel.cdi.k8s.io/gpu\ndevices: 5", [], id="no list"),
        pytest.param("kind: intel.cdi.k8s.io/gpu\ndevices: [5]", [], id="no device"),
        pytest.param("kind: [intel.cdi.k8s.io/gpu]", [], id="no name of a kind"),
        pytest.param("- 1", [], id="a list"),
        pytest.param("a: *b", [], id="an alias of nothing"),
        pytest.param("{", [], id="cut off"),
        pytest.param("", [], id="empty"),
        pytest.param("\x00", [], id="no text"),
    ],
)
def test_names_of_others_are_read_as_far_as_they_can_be(content: str, names: list[str]) -> None:
    assert list(cdi.names(content.encode())) == names


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"devices": 1}', b'{"devices": [1]}', b"\xff", b'{"devices": [{}]}']
)
def test_a_damaged_file_of_ours_defines_nothing(content: bytes) -> None:
    assert cdi.defined(content) == {}


def test_a_file_says_what_it_was_made_of() -> None:
    devices: dict[str, cdi.Edits] = {"card1": {"env": ["A=1"]}, "card0": {}}
    content = cdi.spec("gpu", devices)
    assert cdi.defined(content) == devices
    assert list(cdi.names(content)) == ["intel.cdi.k8s.io/gpu=card0", "intel.cdi.k8s.io/gpu=card1"]


def test_a_name_means_the_last_device_that_has_it() -> None:
    first, last = (
        Device("card0", "gpu.intel.com/xe", f"/sys/{each}", ContainerEdits((DeviceNode(each, each),)), "card0")
        for each in ("/dev/a", "/dev/b")
    )
    wanted = Wanted.of("/cdi", [("gpu", first), ("gpu", last), ("dsa", first)], {"gpu"})
    assert wanted.offered == {"gpu": {"card0": last.edits}}
    assert wanted.others == {"dsa": {"card0": first.edits}}
