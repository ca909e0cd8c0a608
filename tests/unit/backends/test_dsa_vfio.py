"""DSA with `driver: vfio-pci`: which whole accelerators are offered, and why others are not.

Ids of cases say what the existing Go plugin does where it is wrong or where we differ.
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.dsa import Dsa
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Health
from intel_agent.simulation.machines import SHARED, Function, Idxd, at, link, vfio
from intel_agent.sysfs import Host

FIRST, SECOND = at("0000:6a:01.0"), at("0000:e7:01.0")


def accelerator(
    directory: str = FIRST, identity: str = "8086:0b25", driver: str | None = "vfio-pci", *, group: int = 30
) -> str:
    """Return the tree of an accelerator without queues."""
    function = Function(directory, identity, driver, "088000", 1, group)
    return "\n".join([*function.lines(), *function.user_space(group), ""])


BASE = "\n".join([*vfio(), ""])
ONE = BASE + accelerator()
TWO = ONE + accelerator(SECOND, "8086:1212", group=31)


def without(tree: str, *paths: str) -> str:
    return "\n".join(line for line in tree.splitlines() if line.split(" ")[0] not in paths)


def found(host: Host, **section: object) -> Found:
    return Found.of(msgspec.convert({"driver": "vfio-pci", **section}, Dsa).discover(host))


def ids(host: Host) -> list[str]:
    return [each.id for each in found(host).devices]


def rules(host: Host, **section: object) -> dict[str, str]:
    return {each.path: each.rule for each in found(host, **section).exclusions}


@pytest.mark.parametrize("tree", [ONE])
@pytest.mark.parametrize("shares", [1, 10])
def test_offers_a_whole_accelerator_to_one_container(host: Host, shares: int) -> None:
    """`sharedDevNum` is about queues; the Go plugin warns of it."""
    assert found(host, sharedDevNum=shares) == Found(
        devices=(
            Device(
                id="0000:6a:01.0",
                resource="dsa.intel.com/vfio",
                sysfs_path=FIRST,
                edits=ContainerEdits(
                    device_nodes=tuple(
                        DeviceNode(path, f"/on/host{path}", "rw")
                        for path in ("/dev/vfio/30", "/dev/vfio/vfio", "/dev/vfio/devices/vfio30", "/dev/iommu")
                    )
                ),
                cdi_name="0000:6a:01.0",
                numa_nodes=(1,),
                attributes={"pciAddress": "0000:6a:01.0", "deviceId": "0x0b25", "driver": "vfio-pci"},
            ),
        )
    )


@pytest.mark.parametrize(
    ("tree", "offered"),
    [
        pytest.param("", [], id="no PCI"),
        pytest.param(BASE + accelerator(identity="8086:0b25"), ["0000:6a:01.0"], id="0b25"),
        pytest.param(BASE + accelerator(identity="8086:11fb"), ["0000:6a:01.0"], id="11fb"),
        pytest.param(BASE + accelerator(identity="8086:1212"), ["0000:6a:01.0"], id="1212"),
        pytest.param(BASE + accelerator(identity="8086:0cfe"), [], id="IAA"),
        pytest.param(BASE + accelerator(identity="8086:4940"), [], id="another device"),
        pytest.param(BASE + accelerator(identity="1af4:0b25"), [], id="another maker's (Go: offered)"),
        pytest.param(BASE + accelerator(at("10000:01:00.0")), ["10000:01:00.0"], id="a long domain (Go: never found)"),
        pytest.param(
            BASE + accelerator(at("0000:10:00.0"), group=40) + accelerator(at("0000:0a:00.0"), group=41),
            ["0000:0a:00.0", "0000:10:00.0"],
            id="in the order of the bus",
        ),
    ],
)
def test_accelerators_are_found_by_vendor_and_id(host: Host, offered: list[str]) -> None:
    assert (ids(host), rules(host)) == (offered, {})


DEVICE = "/sys/bus/pci/devices/0000:6a:01.0"
COMMANDS = (
    f"modprobe vfio-pci disable_denylist=1; echo vfio-pci > {DEVICE}/driver_override; "
    f"echo 0000:6a:01.0 > {DEVICE}/driver/unbind; echo 0000:6a:01.0 > /sys/bus/pci/drivers_probe"
)


@pytest.mark.parametrize(
    ("tree", "rule", "evidence", "remedy"),
    [
        pytest.param(
            BASE + accelerator(driver="idxd"), "driver", "its driver is idxd", COMMANDS, id="idxd (Go: silence)"
        ),
        pytest.param(
            BASE + accelerator(driver=None),
            "driver",
            "it has no driver",
            COMMANDS.replace(f"echo 0000:6a:01.0 > {DEVICE}/driver/unbind; ", ""),
            id="no driver (Go: the process ends)",
        ),
        pytest.param(
            BASE + accelerator(identity="8086:1212", driver="idxd"),
            "driver",
            "its driver is idxd",
            COMMANDS.replace(" disable_denylist=1", ""),
            id="later accelerators need no parameter",
        ),
        pytest.param(
            without(ONE, f"{FIRST}/iommu_group"),
            "no-iommu-group",
            "it has no iommu_group",
            "switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)",
            id="no IOMMU group (Go: the process ends)",
        ),
        pytest.param(
            ONE + link("/sys/kernel/iommu_groups/30/devices/0000:6a:02.0", FIRST),
            "shared-iommu-group",
            "IOMMU group 30 has 0000:6a:02.0, too",
            "whoever gets one gets all of them: put the card into another slot, or switch ACS on in the BIOS",
            id="a group with others (Go: offered, and the node twice)",
        ),
        pytest.param(
            without(ONE, "/dev/vfio/30", "/dev/iommu"),
            "no-node",
            "neither /dev/vfio/30 with /dev/vfio/vfio nor a cdev is there",
            "check that the agent sees the whole /dev of the host; this is looked at again by itself",
            id="no node (Go: offered, without a hint)",
        ),
    ],
)
def test_names_accelerators_that_are_not_offered(host: Host, rule: str, evidence: str, remedy: str) -> None:
    assert found(host) == Found(exclusions=(Exclusion(FIRST, rule, evidence, remedy),))


@pytest.mark.parametrize("tree", [TWO])
@pytest.mark.parametrize("file", ["device", "vendor", "driver", "iommu_group", "numa_node"])
def test_an_odd_accelerator_is_named_and_harms_no_other(host: Host, file: str) -> None:
    """The Go plugin ends, even when it is another PCI device whose id cannot be read."""
    before = found(host)
    path = Path(host.root, FIRST[1:], file)
    path.unlink()
    path.mkdir()

    assert rules(host) == {FIRST: "unreadable"}
    assert {each.id: each.health for each in found(host).after(before).devices} == {
        "0000:6a:01.0": Health.UNHEALTHY,
        "0000:e7:01.0": Health.HEALTHY,
    }


@pytest.mark.parametrize(
    "tree",
    [
        without(ONE, "/dev/vfio/30", "/dev/char/240:30", "/dev/iommu")
        + "\n/sys/kernel/iommu_groups/30/name = vfio-noiommu\n/dev/vfio/noiommu-30 c 240:30"
    ],
)
def test_without_an_iommu_the_node_has_another_name(host: Host) -> None:
    """The Go plugin gives /dev/vfio/30, which is not there."""
    (offered,) = found(host).devices

    assert [each.path for each in offered.edits.device_nodes] == ["/dev/vfio/noiommu-30", "/dev/vfio/vfio"]


BOTH = TWO + "\n".join(Idxd("dsa", 0, at("0000:6a:02.0"), [SHARED], group=50).lines())


@pytest.mark.parametrize("tree", [BOTH])
def test_the_two_drivers_exclude_each_other(host: Host) -> None:
    queues = Found.of(Dsa().discover(host))

    assert [each.resource for each in queues.devices] == ["dsa.intel.com/wq-user-shared"]
    assert queues.exclusions == tuple(
        Exclusion(
            path,
            "driver",
            "its driver is vfio-pci",
            "give it to idxd, or set devices.dsa.driver to vfio-pci, which offers such accelerators only",
        )
        for path in (FIRST, SECOND)
    )
    assert ids(host) == ["0000:6a:01.0", "0000:e7:01.0"]
    assert rules(host) == {at("0000:6a:02.0"): "driver"}


@pytest.mark.parametrize("tree", [BOTH])
def test_variables_count_the_accelerators_of_one_container(host: Host) -> None:
    """In Go their order is random, and all containers of a request get those of all."""
    backend = Dsa(driver="vfio-pci")
    first, second = found(host).devices

    assert dict(backend.allocate([second, first]).env) == {"VFIO_BDF0": "0000:6a:01.0", "VFIO_BDF1": "0000:e7:01.0"}
    assert dict(backend.allocate([second]).env) == {"VFIO_BDF0": "0000:e7:01.0"}
    assert dict(backend.allocate([replace(second, resource="dsa.intel.com/renamed")]).env) == {
        "VFIO_BDF0": "0000:e7:01.0"
    }
    assert [each.path for each in backend.allocate([first, second]).device_nodes].count("/dev/vfio/vfio") == 1


@pytest.mark.parametrize("tree", [BOTH])
def test_queues_have_no_variables_and_neither_mode_has_a_preference(host: Host) -> None:
    (queue,) = Found.of(Dsa().discover(host)).devices

    assert dict(Dsa().allocate([queue]).env) == {}
    assert {Dsa(driver=driver).policy("dsa.intel.com/vfio") for driver in ("idxd", "vfio-pci")} == {None}


@pytest.mark.parametrize("driver", ["uio", "", "vfio_pci"])
def test_other_drivers_are_refused(driver: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"driver": driver}, Dsa)
