"""Which work queues are offered, as what, and why others are not.

Ids of cases say what the existing Go plugins do where they are wrong: there, one bad queue ends the process.
"""

import os
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.dsa import Dsa
from intel_agent.backends.iaa import Iaa
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Fault, Health, Reason
from intel_agent.simulation.disk import add, change, materialise, remove
from intel_agent.sysfs import Host, Look

PCI = "/sys/devices/pci0000:6a/0000:6a:01.0"


def unit(name: str = "dsa0", *, state: str = "enabled", numa_node: int = 1) -> str:
    """Return the tree of one accelerator without queues: `dsa<n>` is function n + 1 of a bus of its own."""
    function = f"/sys/devices/pci0000:6a/0000:6a:0{int(name[3:]) + 1}.0"
    return f"""
{function}/numa_node = {numa_node}
{function}/{name}/state = {state}
{function}/{name}/engine0.0/group_id = 0
/sys/bus/dsa/devices/{name} -> ../../../devices/pci0000:6a/0000:6a:0{int(name[3:]) + 1}.0/{name}
"""


def queue(
    number: int,
    *,
    of: str = "dsa0",
    state: str = "enabled",
    mode: str = "shared",
    kind: str = "user",
    name: str = "app",
) -> str:
    """Return the tree of one queue with its nodes."""
    index = int(of[3:])
    directory = f"/sys/devices/pci0000:6a/0000:6a:0{index + 1}.0/{of}/wq{index}.{number}"
    kind_of_node = of[:3]
    minor = 8 * index + number
    return f"""
{directory}/state = {state}
{directory}/mode = {mode}
{directory}/type = {kind}
{directory}/name = {name}
/sys/bus/dsa/devices/wq{index}.{number} -> ../../..{directory[4:]}
/dev/{kind_of_node}/wq{index}.{number} c 238:{minor}
/dev/char/238:{minor} -> ../{kind_of_node}/wq{index}.{number}
"""


QUEUE = f"{PCI}/dsa0/wq0.0"
ONE = unit() + queue(0)
THREE = unit() + queue(0) + queue(1, mode="dedicated") + queue(2)


def found(host: Host, kind: type[Dsa | Iaa] = Dsa, **section: object) -> Found:
    return Found.of(msgspec.convert(section, kind).discover(host))


def ids(host: Host, kind: type[Dsa | Iaa] = Dsa) -> list[str]:
    return [device.id for device in found(host, kind).devices]


def rules(host: Host) -> dict[str, str]:
    return {each.path: each.rule for each in found(host).exclusions}


@pytest.mark.parametrize("tree", [ONE])
def test_offers_a_queue_by_its_name_and_by_its_number(host: Host) -> None:
    assert found(host, sharedDevNum=10) == Found(
        devices=(
            Device(
                id="wq-user-shared-wq0.0",
                resource="dsa.intel.com/wq-user-shared",
                sysfs_path=QUEUE,
                edits=ContainerEdits(
                    device_nodes=(
                        DeviceNode("/dev/dsa/wq0.0", "/on/host/dev/dsa/wq0.0", "rw"),
                        DeviceNode("/dev/char/238:0", "/on/host/dev/char/238:0", "rw"),
                    )
                ),
                cdi_name="wq0.0",
                shares=10,
                numa_nodes=(1,),
                attributes={
                    "driver": "idxd",
                    "unit": "dsa0",
                    "mode": "shared",
                    "pciAddress": "0000:6a:01.0",
                    "queueName": "app",
                },
            ),
        )
    )


@pytest.mark.parametrize("tree", [unit("iax1") + queue(3, of="iax1", mode="dedicated") + ONE])
def test_analytics_queues_are_a_kind_of_their_own(host: Host) -> None:
    (device,) = found(host, Iaa).devices

    assert (device.id, device.resource) == ("wq-user-dedicated-wq1.3", "iaa.intel.com/wq-user-dedicated")
    assert [node.path for node in device.edits.device_nodes] == ["/dev/iax/wq1.3", "/dev/char/238:11"]
    assert ids(host, Dsa) == ["wq-user-shared-wq0.0"]


@pytest.mark.parametrize("tree", [unit() + queue(0) + queue(1, mode="dedicated")])
def test_only_shared_queues_are_shared(host: Host) -> None:
    assert [device.ids for device in found(host, sharedDevNum=2).devices] == [
        ("wq-user-shared-wq0.0-0", "wq-user-shared-wq0.0-1"),
        ("wq-user-dedicated-wq0.1-0",),
    ]


@pytest.mark.parametrize(
    "tree", [unit("dsa0") + unit("dsa2") + queue(1, of="dsa2") + queue(0, of="dsa2") + queue(10) + queue(9)]
)
def test_orders_accelerators_and_queues_by_number(host: Host) -> None:
    assert [device.cdi_name for device in found(host).devices] == ["wq0.9", "wq0.10", "wq2.0", "wq2.1"]


@pytest.mark.parametrize(
    ("tree", "numa_nodes"),
    [
        pytest.param(unit(numa_node=0) + queue(0), (0,), id="node 0"),
        pytest.param(unit(numa_node=-1) + queue(0), (), id="-1 means that the kernel does not know"),
        pytest.param(ONE.replace(f"{PCI}/numa_node = 1", ""), (), id="a kernel without NUMA"),
        pytest.param(ONE.replace("0000:6a:01.0", "dsa-platform"), (), id="no PCI function above"),
    ],
)
def test_says_the_numa_node_only_when_it_is_known(host: Host, numa_nodes: tuple[int, ...]) -> None:
    assert [each.numa_nodes for each in found(host).devices] == [numa_nodes]


@pytest.mark.parametrize("tree", [ONE.replace(f"{QUEUE}/name = app", "").replace(f"{PCI}/dsa0/state = enabled", "")])
def test_what_only_some_kernels_show_is_not_required(host: Host) -> None:
    assert [each.attributes.get("queueName") for each in found(host).devices] == [None]


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param("", id="no idxd"),
        pytest.param("/sys/bus/dsa/devices/", id="idxd without accelerators"),
        pytest.param("/sys/bus/dsa/devices/dsa/\n/sys/bus/dsa/devices/wq0.0/", id="other things of the bus"),
    ],
)
def test_says_nothing_where_there_is_no_accelerator(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize(
    ("tree", "rule", "evidence"),
    [
        pytest.param(unit() + queue(0, state="disabled"), "not-enabled", "wq0.0 is 'disabled'", id="disabled"),
        pytest.param(unit() + queue(0, state=""), "not-enabled", "wq0.0 is ''", id="no state (Go: silence)"),
        pytest.param(unit(state="disabled") + queue(0), "not-enabled", "dsa0 is 'disabled'", id="accelerator disabled"),
        pytest.param(unit(state="") + queue(0), "not-enabled", "dsa0 is ''", id="accelerator without state"),
        pytest.param(
            unit() + queue(0, kind="kernel"),
            "queue-type",
            "type is 'kernel'",
            id="kernel queue (Go: a device of nothing)",
        ),
        pytest.param(
            unit() + queue(0, kind="mdev"), "queue-type", "type is 'mdev'", id="mdev queue (Go: a device of nothing)"
        ),
        pytest.param(unit() + queue(0, kind="none"), "queue-type", "type is 'none'", id="queue without a type"),
        pytest.param(
            unit() + queue(0, mode="fair"), "queue-mode", "mode is 'fair'", id="unknown mode (Go: wq-user-fair)"
        ),
        pytest.param(
            ONE.replace("/dev/dsa/wq0.0 c 238:0", ""),
            "no-node",
            "/dev/dsa/wq0.0 is not there",
            id="no node (Go: the process ends)",
        ),
        pytest.param(
            ONE.replace("/dev/char/238:0 -> ../dsa/wq0.0", ""),
            "no-char-link",
            "/dev/char/238:0 is not there",
            id="no link (Go: the process ends)",
        ),
        pytest.param(
            ONE.replace("238:0 -> ../dsa/wq0.0", "238:0 -> ../dsa/wq0.1"),
            "no-char-link",
            "/dev/char/238:0 leads to '/dev/dsa/wq0.1', not to /dev/dsa/wq0.0",
            id="a link to another queue (Go: the process ends)",
        ),
    ],
)
def test_names_queues_that_are_not_offered(host: Host, rule: str, evidence: str) -> None:
    assert [(each.path, each.rule, each.evidence) for each in found(host).exclusions] == [(QUEUE, rule, evidence)]
    assert found(host).devices == ()


@pytest.mark.parametrize("tree", [unit()])
def test_an_accelerator_without_queues_is_odd(host: Host) -> None:
    assert rules(host) == {f"{PCI}/dsa0": "no-queues"}


@pytest.mark.parametrize("tree", [ONE])
def test_an_absolute_link_starts_at_the_root_of_the_host(host: Host) -> None:
    link = f"{host.root}/dev/char/238:0"
    os.unlink(link)
    os.symlink("/dev/dsa/wq0.0", link)

    assert ids(host) == ["wq-user-shared-wq0.0"]


def test_a_queue_whose_nodes_are_late_is_offered_at_the_next_look(tmp_path: Path) -> None:
    """The kernel's message comes before udev's link; the Go plugin ends here."""
    materialise(ONE, tmp_path)
    host = Host(str(tmp_path), "/on/host")
    link = remove(tmp_path, "/dev/char/238:0")
    early = (ids(host), rules(host))
    add(tmp_path, link)

    assert early == ([], {QUEUE: "no-char-link"})
    assert (ids(host), rules(host)) == (["wq-user-shared-wq0.0"], {})


@pytest.mark.parametrize("tree", [THREE])
@pytest.mark.parametrize(
    ("what", "damage"),
    [
        pytest.param("state", "directory", id="state (Go: the process ends)"),
        pytest.param("state", "absent", id="no state (Go: silence)"),
        pytest.param("mode", "absent", id="no mode (Go: the process ends)"),
        pytest.param("type", "absent", id="no type (Go: the process ends)"),
        pytest.param("name", "directory", id="name"),
        pytest.param("/dev/dsa/wq0.0", "directory", id="node is a directory (Go: the process ends)"),
        pytest.param("/dev/char/238:0", "directory", id="link is a directory (Go: the process ends)"),
    ],
)
def test_an_odd_queue_is_named_and_harms_no_other(host: Host, what: str, damage: str) -> None:
    before = found(host)
    path = Path(host.root + (what if what.startswith("/") else f"{QUEUE}/{what}"))
    path.unlink()
    if damage == "directory":
        path.mkdir()

    assert ids(host) == ["wq-user-dedicated-wq0.1", "wq-user-shared-wq0.2"]
    assert rules(host) == {QUEUE: "unreadable"}
    assert {each.cdi_name: each.health for each in found(host).after(before).devices} == {
        "wq0.0": Health.UNHEALTHY,
        "wq0.1": Health.HEALTHY,
        "wq0.2": Health.HEALTHY,
    }


TWO_UNITS = unit() + queue(0) + queue(1) + unit("dsa2") + queue(0, of="dsa2")


@pytest.mark.parametrize("tree", [TWO_UNITS])
def test_an_odd_accelerator_makes_its_own_queues_unreadable(host: Host) -> None:
    before = found(host)
    change(Path(host.root), f"{PCI}/numa_node", "west")

    assert rules(host) == {
        f"{PCI}/dsa0": "unreadable",
        f"{PCI}/dsa0/wq0.0": "unreadable",
        f"{PCI}/dsa0/wq0.1": "unreadable",
    }
    assert {each.cdi_name: each.health for each in found(host).after(before).devices} == {
        "wq2.0": Health.HEALTHY,
        "wq0.0": Health.UNHEALTHY,
        "wq0.1": Health.UNHEALTHY,
    }


@pytest.mark.parametrize("tree", [TWO_UNITS])
@pytest.mark.parametrize("quarantined", [f"{PCI}/dsa0", f"{PCI}/dsa0/wq0.0"])
def test_what_is_in_quarantine_is_not_touched(host: Host, quarantined: str) -> None:
    os.unlink(f"{host.root}{quarantined}/state")
    os.mkfifo(f"{host.root}{quarantined}/state")  # whoever opens it waits for ever
    host = host.looking(Look(quarantined={quarantined: "a read has not come back for 5 s"}))

    assert "wq-user-shared-wq2.0" in ids(host)
    assert rules(host)[f"{PCI}/dsa0/wq0.0"] == "unreadable"


@pytest.mark.parametrize("tree", [TWO_UNITS])
@pytest.mark.parametrize("how", ["loop", "file"])
def test_an_accelerator_whose_directory_cannot_be_listed_is_named(host: Host, how: str) -> None:
    link = Path(host.root, "sys/bus/dsa/devices/dsa0")
    link.unlink()
    if how == "loop":
        link.symlink_to("dsa0")
    else:
        link.write_text("")

    assert ids(host) == ["wq-user-shared-wq2.0"]
    assert rules(host) == {"/sys/bus/dsa/devices/dsa0": "unreadable"}


@pytest.mark.parametrize(
    "tree", [unit(state="halted") + queue(0) + queue(1, state="disabled") + unit("dsa2") + queue(0, of="dsa2")]
)
def test_queues_of_a_halted_accelerator_are_faulty(host: Host) -> None:
    fault = Fault(Reason.HALTED, "sysfs", "dsa0 is halted: the kernel log says whether a reset helps")

    assert {each.cdi_name: each.faults for each in found(host).devices} == {
        "wq0.0": frozenset({fault}),
        "wq0.1": frozenset({fault}),
        "wq2.0": frozenset(),
    }


@pytest.mark.parametrize("tree", [unit(state="halted") + queue(0, state="disabled", kind="none", mode="dedicated")])
def test_queues_that_the_driver_took_apart_say_that_the_accelerator_halted(host: Host) -> None:
    assert [(each.rule, each.evidence, each.reason) for each in found(host).exclusions] == [
        ("halted", "dsa0 is halted (type is 'none')", Reason.HALTED)
    ]


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(unit() + queue(0, state="disabled"), id="the queue"),
        pytest.param(unit(state="disabled") + queue(0), id="its accelerator"),
        pytest.param(unit() + queue(0, state="disabled", kind="none"), id="taken apart, as the driver leaves it"),
    ],
)
def test_who_has_a_queue_that_is_switched_off_hears_that(host: Host) -> None:
    assert [(each.path, each.reason) for each in found(host).exclusions] == [(QUEUE, Reason.DISABLED)]


@pytest.mark.parametrize("section", [{"sharedDevNum": 0}, {"sharedDevNum": 10_001}, {"driver": "dsa"}])
@pytest.mark.parametrize("kind", [Dsa, Iaa])
def test_values_out_of_range_are_refused(section: dict[str, object], kind: type[Dsa | Iaa]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, kind)


def test_analytics_accelerators_are_never_given_as_a_whole() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"driver": "vfio-pci"}, Iaa)


@pytest.mark.parametrize("tree", [unit() + queue(0)])
@pytest.mark.parametrize(
    ("words", "noted"),
    [
        pytest.param("0x0\n0x0\n0x0\n0x0", False, id="nothing"),
        pytest.param("0x0000000000000000 0x0 0x0 0x0", False, id="nothing, in one line"),
        pytest.param("0x5000001\n0x0\n0x0\n0x0", True, id="an error"),
        pytest.param("0x0\n0x0\n0x0\n0xff", True, id="an error in another word"),
    ],
)
def test_an_accelerator_that_noted_an_error_says_so(host: Host, words: str, *, noted: bool) -> None:
    """Mostly a bad descriptor of a user, so no fault by default: the register keeps the last one."""
    errors = next(Path(host.root).glob("sys/devices/**/dsa0")) / "errors"
    errors.write_text(words)
    (found,) = Found.of(Dsa().discover(host)).devices
    assert {each.reason for each in found.faults} == ({Reason.ERROR_REGISTER} if noted else set())


@pytest.mark.parametrize("tree", [unit() + queue(0)])
def test_an_error_register_that_says_something_else_makes_the_queue_unreadable(host: Host) -> None:
    (next(Path(host.root).glob("sys/devices/**/dsa0")) / "errors").write_text("none")
    assert {each.rule for each in Found.of(Dsa().discover(host)).exclusions} == {"unreadable"}
