"""Why functions of QAT are not offered, or are and must not be used.

Ids of cases say what the existing Go plugin does where it is wrong or where we differ.
"""

import os
from pathlib import Path

import pytest
from qat_trees import ADDRESS, C6XX, FIRST, ONE, OTHER, PHYSICAL, TWO, bound, device, found, ids, rules, text, without

from intel_agent.inventory import Found
from intel_agent.model import Exclusion, Health, Reason
from intel_agent.simulation.disk import change
from intel_agent.simulation.machines import at, link
from intel_agent.sysfs import Host, Look

DEVICES = "/sys/bus/pci/devices"
HAND_OVER = (
    f"modprobe vfio-pci; echo vfio-pci > {DEVICES}/0000:6b:00.1/driver_override; "
    f"echo 0000:6b:00.1 > {DEVICES}/0000:6b:00.1/driver/unbind; echo 0000:6b:00.1 > /sys/bus/pci/drivers_probe"
)
TO_KERNEL = (
    f"modprobe $(cat {DEVICES}/{ADDRESS}/modalias); echo > {DEVICES}/{ADDRESS}/driver_override; "
    f"echo {ADDRESS} > /sys/bus/pci/drivers_probe"
)


@pytest.mark.parametrize(
    ("tree", "rule", "evidence", "remedy"),
    [
        pytest.param(
            bound(ONE, FIRST, "4xxxvf"), "driver", "its driver is 4xxxvf", HAND_OVER, id="kernel driver (Go: binds it)"
        ),
        pytest.param(
            bound(ONE, FIRST, None),
            "driver",
            "it has no driver",
            HAND_OVER.replace(f"echo 0000:6b:00.1 > {DEVICES}/0000:6b:00.1/driver/unbind; ", ""),
            id="no driver (Go: binds it)",
        ),
        pytest.param(
            without(ONE, f"{FIRST}/iommu_group"),
            "no-iommu-group",
            "it has no iommu_group",
            "switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)",
            id="no IOMMU group (Go: the process ends)",
        ),
        pytest.param(
            ONE + "\n" + link("/sys/kernel/iommu_groups/51/devices/0000:6b:00.2", FIRST),
            "shared-iommu-group",
            "IOMMU group 51 has 0000:6b:00.2, too",
            "whoever gets one gets all of them: put the card into another slot, or switch ACS on in the BIOS",
            id="a group with others (Go: one group for two containers)",
        ),
        pytest.param(
            without(ONE, "/dev/vfio/51", "/dev/iommu"),
            "no-node",
            "neither /dev/vfio/51 with /dev/vfio/vfio nor a cdev is there",
            "check that the agent sees the whole /dev of the host; this is looked at again by itself",
            id="no node (Go: offered)",
        ),
        pytest.param(
            ONE.replace("qat/state = up", "qat/state = down"),
            "down",
            f"its physical function {ADDRESS} is down",
            f"echo up > {DEVICES}/{ADDRESS}/qat/state",
            id="physical function down (Go: offered)",
        ),
        pytest.param(
            bound(ONE, PHYSICAL, None),
            "physical-driver",
            f"its physical function {ADDRESS} has no driver",
            TO_KERNEL,
            id="physical function without driver (Go: offered as generic)",
        ),
    ],
)
def test_names_functions_that_are_not_offered(host: Host, rule: str, evidence: str, remedy: str) -> None:
    reason = Reason.DISABLED if rule == "down" else Reason.GONE
    assert found(host).devices == ()
    assert found(host).exclusions == (Exclusion(FIRST, rule, evidence, remedy, reason),)


@pytest.mark.parametrize("tree", [bound(text(C6XX), at("0000:b1:00.1"), "c6xxvf")])
def test_the_older_generations_need_a_parameter_of_vfio(host: Host) -> None:
    (exclusion,) = found(host).exclusions

    assert exclusion.remedy.startswith("modprobe vfio-pci disable_denylist=1; ")


BARE = text(device(0))


@pytest.mark.parametrize(
    ("tree", "rule", "evidence", "remedy"),
    [
        pytest.param(
            BARE,
            "no-virtual-functions",
            "none of its 16 virtual functions is enabled",
            f"echo 16 > {DEVICES}/{ADDRESS}/sriov_numvfs; then give them to vfio-pci",
            id="none enabled",
        ),
        pytest.param(bound(BARE, PHYSICAL, None), "physical-driver", "it has no driver", TO_KERNEL, id="no driver"),
        pytest.param(
            bound(BARE, PHYSICAL, "vfio-pci"),
            "physical-driver",
            "its driver is vfio-pci",
            TO_KERNEL.replace(
                "/driver_override; ", f"/driver_override; echo {ADDRESS} > {DEVICES}/{ADDRESS}/driver/unbind; "
            ),
            id="another driver",
        ),
        pytest.param(
            without(BARE, f"{PHYSICAL}/sriov_totalvfs", f"{PHYSICAL}/sriov_numvfs"),
            "no-sriov",
            "it cannot have virtual functions",
            "switch SR-IOV on in the BIOS; a virtual machine is given virtual functions, not this one",
            id="no SR-IOV",
        ),
    ],
)
def test_names_devices_without_virtual_functions(host: Host, rule: str, evidence: str, remedy: str) -> None:
    """The Go plugin says nothing."""
    assert found(host) == Found(exclusions=(Exclusion(PHYSICAL, rule, evidence, remedy),))


@pytest.mark.parametrize("tree", [TWO])
@pytest.mark.parametrize(
    "file",
    [
        pytest.param("device", id="device (Go: the process ends)"),
        pytest.param("vendor", id="vendor"),
        pytest.param("driver", id="driver (Go: binds it again and again)"),
        pytest.param("iommu_group", id="iommu_group (Go: the process ends)"),
        pytest.param("physfn", id="physfn (Go: generic)"),
        pytest.param("numa_node", id="numa_node (Go: no hint)"),
    ],
)
def test_an_odd_function_is_named_and_harms_no_other(host: Host, file: str) -> None:
    before = found(host)
    path = Path(host.root, FIRST[1:], file)
    path.unlink()
    path.mkdir()

    assert rules(host) == {FIRST: "unreadable"}
    assert {each.id: each.health for each in found(host).after(before).devices} == {
        "0000:6b:00.1": Health.UNHEALTHY,
        "0000:6b:00.2": Health.HEALTHY,
    }


UNITS = text(device(2), OTHER)


@pytest.mark.parametrize("tree", [UNITS])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("qat/state", "resetting", id="state (Go: as if it were not there)"),
        pytest.param("qat/cfg_services", "dc!", id="cfg_services (Go: qat.intel.com/dc!)"),
        pytest.param("qat/cfg_services", "asym;sym;decomp;dcc", id="more than a name can have"),
    ],
)
def test_an_odd_device_makes_its_own_functions_unreadable(host: Host, file: str, content: str) -> None:
    before = found(host)
    change(Path(host.root), f"{PHYSICAL}/{file}", content)

    assert rules(host) == dict.fromkeys(
        [PHYSICAL, FIRST, FIRST.replace("00.1", "00.2")],
        "unreadable",
    )
    after = found(host).after(before).devices
    assert {each.id: (each.resource, each.health) for each in after} == {
        "0000:e8:00.1": ("qat.intel.com/cy", Health.HEALTHY),
        "0000:6b:00.1": ("qat.intel.com/cy", Health.UNHEALTHY),
        "0000:6b:00.2": ("qat.intel.com/cy", Health.UNHEALTHY),
    }


@pytest.mark.parametrize("tree", [UNITS])
@pytest.mark.parametrize(
    ("quarantined", "file"), [(PHYSICAL, "qat/state"), (PHYSICAL, "sriov_numvfs"), (FIRST, "numa_node")]
)
def test_what_is_in_quarantine_is_not_touched(host: Host, quarantined: str, file: str) -> None:
    path = f"{host.root}{quarantined}/{file}"
    os.unlink(path)
    os.mkfifo(path)  # whoever opens it waits for ever
    host = host.looking(Look(quarantined={quarantined: "a read has not come back for 5 s"}))

    assert "0000:e8:00.1" in ids(host)
    assert rules(host)[FIRST] == "unreadable"
