"""What CDI files say, and what is made of those of others."""

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.model import ContainerEdits, Device, DeviceNode, Hook, Mount
from intel_agent.publish import cdi
from intel_agent.publish.cdifiles import Wanted
from intel_agent.publish.deviceplugin import answered
from intel_agent.sysfs import Host

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


HOOK = Hook("createRuntime", "/opt/hook", ("hook", "--quiet"), ("PATH=/bin",))
EFIVARS = Mount("/run/efivars", "efivarfs", read_only=False, options=("nosuid", "nodev"), type="efivarfs")
EDITS = ContainerEdits(
    device_nodes=(DeviceNode("/dev/a", "/on/host/dev/a"),),
    mounts=(Mount("/m", "/on/host/m"), Mount("/n", "/on/host/n", options=("noexec",)), EFIVARS),
    env={"A": "1"},
    annotations={"example.com/mode": "region"},
    hooks=(HOOK, Hook("poststop", "/opt/end")),
)
PLAIN = ContainerEdits(device_nodes=EDITS.device_nodes, mounts=EDITS.mounts[:1], env=EDITS.env)


def test_a_spec_has_hooks_and_mounts_of_every_sort_and_no_annotations(host: Host) -> None:
    assert cdi.edits(EDITS, host) == {
        "deviceNodes": [{"path": "/dev/a", "hostPath": "/on/host/dev/a", "permissions": "rw"}],
        "mounts": [
            {"hostPath": "/on/host/m", "containerPath": "/m", "options": ["bind", "ro"]},
            {"hostPath": "/on/host/n", "containerPath": "/n", "options": ["bind", "ro", "noexec"]},
            {
                "hostPath": "efivarfs",
                "containerPath": "/run/efivars",
                "type": "efivarfs",
                "options": ["rw", "nosuid", "nodev"],
            },
        ],
        "env": ["A=1"],
        "hooks": [
            {"hookName": "createRuntime", "path": "/opt/hook", "args": ["hook", "--quiet"], "env": ["PATH=/bin"]},
            {"hookName": "poststop", "path": "/opt/end"},
        ],
    }


def device(name: str, edits: ContainerEdits) -> Device:
    return Device(name, "gpu.intel.com/xe", f"/sys/{name}", edits, name)


def test_what_is_had_by_name_alone_is_defined_as_a_whole_whatever_its_section_says() -> None:
    """A container may have got the name alone, before its section said `none`."""
    wanted = Wanted.of("/cdi", [("gpu", device("card0", EDITS)), ("gpu", device("card1", PLAIN))], set())

    assert wanted.offered == {"gpu": {"card0": EDITS}}
    assert wanted.others == {"gpu": {"card1": PLAIN}}


@pytest.mark.parametrize(
    ("section", "edits", "nodes", "mounts", "named"),
    [
        pytest.param(Gpu(cdi="none"), PLAIN, True, ["/m"], False, id="none: nodes alone"),
        pytest.param(Gpu(cdi="none"), EDITS, True, ["/m"], True, id="none: the name, too, where it is needed"),
        pytest.param(Gpu(cdi="both"), EDITS, True, ["/m"], True, id="both"),
        pytest.param(Gpu(cdi="names"), EDITS, False, [], True, id="names"),
    ],
)
def test_allocate_names_devices_that_it_cannot_describe(
    section: Gpu,
    edits: ContainerEdits,
    *,
    nodes: bool,
    mounts: list[str],
    named: bool,
) -> None:
    answer = answered(section, [device("card0", edits)], edits)

    assert [each.container_path for each in answer.devices] == (["/dev/a"] if nodes else [])
    assert [each.container_path for each in answer.mounts] == mounts
    assert [each.name for each in answer.cdi_devices] == (["intel.cdi.k8s.io/gpu=card0"] if named else [])
    assert (answer.envs, answer.annotations) == (edits.env, edits.annotations)


def test_of_several_devices_those_are_named_that_need_it() -> None:
    answer = answered(Gpu(), [device("card0", PLAIN), device("card1", EDITS)], EDITS)

    assert [each.name for each in answer.cdi_devices] == ["intel.cdi.k8s.io/gpu=card1"]
