"""Which load balancers are offered, as what, and why others are not.

Ids of cases say what the existing Go plugin does: it never fails, and guesses or says nothing where something is odd.
"""

import re
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.dlb import Dlb
from intel_agent.inventory import Found, Inventory
from intel_agent.model import ContainerEdits, Device, DeviceNode, Health, Reason
from intel_agent.simulation import accelerators
from intel_agent.simulation.disk import change, materialise
from intel_agent.simulation.machines import at
from intel_agent.sysfs import Host

PHYSICAL = at("0000:6d:00.0")
FIRST, SECOND = at("0000:6d:00.1"), at("0000:6d:00.2")
COUNT = f"{PHYSICAL}/sriov_numvfs"


def text(*balancers: accelerators.Dlb) -> str:
    return "\n".join(line for each in balancers for line in each.lines())


ONE = text(accelerators.Dlb(0, PHYSICAL, numa=1))
VIRTUAL = text(accelerators.Dlb(1, FIRST, physical=PHYSICAL), accelerators.Dlb(2, SECOND, physical=PHYSICAL))
SPLIT = text(accelerators.Dlb(0, PHYSICAL, virtual=(FIRST, SECOND))) + "\n" + VIRTUAL


def counted(count: str | None) -> str:
    """Return the tree of one physical function whose number of virtual ones is this text."""
    return ONE.replace(f"{COUNT} = 0", "" if count is None else f"{COUNT} = {count}")


def found(host: Host) -> Found:
    return Found.of(Dlb().discover(host))


def offered(host: Host) -> dict[str, str]:
    return {device.id: device.resource for device in found(host).devices}


def rules(host: Host) -> dict[str, str]:
    return {each.path: each.rule for each in found(host).exclusions}


@pytest.mark.parametrize("tree", [ONE])
def test_offers_a_physical_function_by_the_path_of_its_node(host: Host) -> None:
    assert found(host) == Found(
        devices=(
            Device(
                id="/dev/dlb0",
                resource="dlb.intel.com/pf",
                sysfs_path=PHYSICAL,
                edits=ContainerEdits(device_nodes=(DeviceNode("/dev/dlb0", "/on/host/dev/dlb0", "rw"),)),
                cdi_name="dlb0",
                shares=None,
                numa_nodes=(1,),
                attributes={"pciAddress": "0000:6d:00.0", "deviceId": "0x2710", "driver": "dlb2"},
            ),
        )
    )


@pytest.mark.parametrize("tree", [SPLIT])
def test_virtual_functions_hide_the_physical_one(host: Host) -> None:
    assert offered(host) == {"/dev/dlb1": "dlb.intel.com/vf", "/dev/dlb2": "dlb.intel.com/vf"}
    assert [device.attributes["physicalFunction"] for device in found(host).devices] == ["0000:6d:00.0"] * 2
    (hidden,) = found(host).exclusions
    assert (hidden.path, hidden.rule, hidden.evidence) == (
        PHYSICAL,
        "has-virtual-functions",
        "2 virtual functions are enabled",
    )
    assert hidden.remedy.startswith("use those, or write 0 to its sriov_numvfs")


def test_the_physical_function_is_hidden_exactly_while_it_has_virtual_ones(tmp_path: Path) -> None:
    materialise(ONE, tmp_path)
    host = Host(str(tmp_path))
    seen = [offered(host)]
    for count in ("2", "0"):
        change(tmp_path, COUNT, count)
        seen.append(offered(host))

    assert seen == [{"/dev/dlb0": "dlb.intel.com/pf"}, {}, {"/dev/dlb0": "dlb.intel.com/pf"}]


def test_ids_are_not_shares_and_names_are_what_cdi_allows(tmp_path: Path) -> None:
    materialise(SPLIT, tmp_path)

    for device in found(Host(str(tmp_path))).devices:
        assert (device.ids, device.exclusive) == ((device.id,), True)
        assert re.fullmatch("[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?", device.cdi_name)


@pytest.mark.parametrize(
    ("tree", "resources", "excluded"),
    [
        pytest.param(counted(None), ["dlb.intel.com/vf"], [], id="4.2 no file: vf (Go: vf)"),
        pytest.param(counted("0"), ["dlb.intel.com/pf"], [], id="4.2 0: pf (Go: pf)"),
        pytest.param(counted("\\n0\\n"), ["dlb.intel.com/pf"], [], id="4.2 0 among white space: pf (Go: pf)"),
        pytest.param(counted("-1"), [], ["unreadable"], id="4.2 -1: no number of functions (Go: vf)"),
        pytest.param(counted("1"), [], ["has-virtual-functions"], id="4.2 1: hidden (Go: hidden, silently)"),
        pytest.param(counted("4"), [], ["has-virtual-functions"], id="4.2 4: hidden (Go: hidden, silently)"),
        pytest.param(counted(""), [], ["unreadable"], id="4.2 empty: not told (Go: hidden, silently)"),
        pytest.param(counted("many"), [], ["unreadable"], id="4.2 garbage: not told (Go: hidden, silently)"),
    ],
)
def test_a_function_is_what_the_number_of_its_virtual_ones_says(
    host: Host, resources: list[str], excluded: list[str]
) -> None:
    assert list(offered(host).values()) == resources
    assert list(rules(host).values()) == excluded


@pytest.mark.parametrize("odd", ["directory", "input/output error"])
def test_a_number_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, odd: str) -> None:
    """Row 1 of 4.2, unreadable. The Go plugin: vf."""
    materialise(ONE, tmp_path)
    host = Host(str(tmp_path))
    before = found(host)
    file = Path(host.root + COUNT)
    file.unlink()
    if odd == "directory":
        file.mkdir()
    else:
        file.symlink_to("/proc/self/mem")

    assert rules(host) == {PHYSICAL: "unreadable"}
    (kept,) = found(host).after(before).devices
    assert (kept.resource, kept.health, {each.reason for each in kept.faults}) == (
        "dlb.intel.com/pf",
        Health.UNHEALTHY,
        {Reason.UNREADABLE},
    )


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(ONE.replace("/dev/dlb0 c 234:0", ""), {PHYSICAL: "no-node"}, id="no node (Go: silence)"),
        pytest.param("/dev/dlb7 c 234:7", {"/dev/dlb7": "no-device"}, id="a node of nothing (Go: vf)"),
        pytest.param("/dev/dlb c 1:3\n/dev/dlb_x c 1:3", {}, id="names that the driver does not give (Go: vf)"),
        pytest.param(
            ONE.replace("/sys/class/dlb2/dlb0 ->", "/sys/class/dlb2/other ->"),
            {PHYSICAL: "no-class-device", "/dev/dlb0": "no-device"},
            id="the driver made nothing of it (Go: vf)",
        ),
        pytest.param(
            f"/sys/bus/pci/devices/0000:6d:00.0 -> ../../..{PHYSICAL[4:]}\n"
            f"{PHYSICAL}/vendor = 0x8086\n{PHYSICAL}/device = 0x2710",
            {PHYSICAL: "driver"},
            id="no driver (Go: silence)",
        ),
        pytest.param(
            f"/sys/bus/pci/devices/0000:6d:00.1 -> ../../..{FIRST[4:]}\n"
            f"{FIRST}/vendor = 0x8086\n{FIRST}/device = 0x2711\n{FIRST}/driver -> ../../../bus/pci/drivers/vfio-pci",
            {FIRST: "driver"},
            id="given to user space (Go: silence)",
        ),
        pytest.param(
            f"/sys/bus/pci/devices/0000:6d:00.0 -> ../../..{PHYSICAL[4:]}\n"
            f"{PHYSICAL}/vendor = 0x1234\n{PHYSICAL}/device = 0x2710",
            {},
            id="another maker has the same device id",
        ),
        pytest.param("", {}, id="nothing there"),
    ],
)
def test_what_is_not_offered_says_why(host: Host, expected: dict[str, str]) -> None:
    assert found(host).devices == ()
    assert rules(host) == expected


def test_a_dev_that_cannot_be_listed_is_said(host: Host) -> None:
    Path(host.dev.path).rmdir()
    Path(host.dev.path).write_text("no directory")

    assert rules(host) == {"/dev": "unreadable"}


@pytest.mark.parametrize("tree", [SPLIT.replace("/dev/dlb1 c 234:1", "/dev/dlb1 = no device")])
def test_one_odd_function_harms_no_other(host: Host) -> None:
    assert offered(host) == {"/dev/dlb2": "dlb.intel.com/vf"}
    assert rules(host) == {PHYSICAL: "has-virtual-functions", FIRST: "unreadable"}


@pytest.mark.parametrize("tree", ["/dev/dlb0 c 234:0\n/sys/class/dlb2/dlb0 -> ../../nothing"])
def test_a_class_device_that_leads_nowhere_is_named(host: Host) -> None:
    assert rules(host) == {"/sys/class/dlb2/dlb0": "unreadable", "/dev/dlb0": "no-device"}


def test_kubelet_is_given_no_preference_and_the_section_has_no_keys_of_its_own() -> None:
    assert Dlb().policy("dlb.intel.com/pf") is None
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sharedDevNum": 2}, Dlb)


@pytest.mark.parametrize("tree", [SPLIT])
def test_both_functions_of_one_container_are_the_sum_of_their_nodes(host: Host) -> None:
    devices = Inventory.of({"dlb": found(host)}).devices

    assert [node.path for node in Dlb().allocate(devices).device_nodes] == ["/dev/dlb1", "/dev/dlb2"]
