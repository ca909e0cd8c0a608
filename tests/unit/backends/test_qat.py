"""Which virtual functions of QAT are offered, and as what.

Ids of cases say what the existing Go plugin does where it is wrong or where we differ.
"""

import os
from pathlib import Path

import msgspec
import pytest
from qat_trees import (
    ADDRESS,
    C6XX,
    FIRST,
    ONE,
    PHYSICAL,
    TWELVE,
    alone,
    bound,
    device,
    found,
    ids,
    rules,
    text,
    without,
)

from intel_agent import qat
from intel_agent.allocation import FUNCTIONS, PolicyName
from intel_agent.backends.qat import Qat
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Health, Mount
from intel_agent.simulation import qats
from intel_agent.simulation.disk import remove
from intel_agent.simulation.machines import VFIO_GROUPS, at, link
from intel_agent.sysfs import Host


@pytest.mark.parametrize("tree", [ONE])
def test_offers_a_function_by_its_group_and_its_cdev(host: Host) -> None:
    assert found(host).devices == (
        Device(
            id="0000:6b:00.1",
            resource="qat.intel.com/cy",
            sysfs_path=FIRST,
            edits=ContainerEdits(
                device_nodes=tuple(
                    DeviceNode(path, f"/on/host{path}", "rw")
                    for path in ("/dev/vfio/51", "/dev/vfio/vfio", "/dev/vfio/devices/vfio50", "/dev/iommu")
                )
            ),
            cdi_name="0000:6b:00.1",
            numa_nodes=(1,),
            attributes={
                "pciAddress": "0000:6b:00.1",
                "deviceId": "0x4941",
                "driver": "vfio-pci",
                "generation": "4xxx",
                "services": "sym;asym",
                "physicalFunction": ADDRESS,
            },
        ),
    )


@pytest.mark.parametrize(
    ("tree", "resource"),
    [
        pytest.param(ONE.replace("cfg_services = sym;asym", "cfg_services = dc"), "qat.intel.com/dc", id="dc"),
        pytest.param(
            ONE.replace("cfg_services = sym;asym", "cfg_services = "), "qat.intel.com/cy", id="debugfs (Go: no name)"
        ),
        pytest.param(
            ONE.replace("cfg_services = sym;asym", "cfg_services = ").replace("ServicesEnabled", "Other"),
            "qat.intel.com/generic",
            id="nobody tells (Go: no name, and kubelet refuses it)",
        ),
    ],
)
def test_a_resource_is_named_by_what_its_device_is_configured_for(host: Host, resource: str) -> None:
    look = found(host)

    assert [(each.resource, each.health) for each in look.devices] == [(resource, Health.HEALTHY)]
    assert [(each.path, each.rule) for each in look.exclusions] == (
        [(PHYSICAL, "services-unknown")] if resource.endswith("/generic") else []
    )


@pytest.mark.parametrize(
    ("tree", "device_id"),
    [pytest.param(alone(f"8086:{each[2:]}"), each, id=each) for each, model in qat.MODELS.items() if model.virtual],
)
def test_a_virtual_machine_has_functions_of_every_generation(host: Host, device_id: str) -> None:
    (offered,) = found(host).devices

    assert (offered.id, offered.resource) == ("0000:00:05.0", "qat.intel.com/generic")
    assert offered.attributes == {
        "pciAddress": "0000:00:05.0",
        "deviceId": device_id,
        "driver": "vfio-pci",
        "generation": qat.MODELS[device_id].generation,
    }
    assert rules(host) == {}


@pytest.mark.parametrize(
    ("tree", "capability"),
    [
        pytest.param(
            text(qats.Qat(PHYSICAL, f"8086:{ids_[0]}", f"8086:{ids_[1]}", driver, "dc", 1)), capability, id=driver
        )
        for driver, ids_, capability in (
            ("dh895xcc", ("0435", "0443"), "generic"),
            ("c4xxx", ("18a0", "18a1"), "generic"),
            ("c3xxx", ("19e2", "19e3"), "generic"),
            ("c6xx", ("37c8", "37c9"), "generic"),
            ("d15xx", ("6f54", "6f55"), "generic"),
            ("4xxx", ("4940", "4941"), "dc"),
            ("4xxx", ("4942", "4943"), "dc"),
            ("4xxx", ("4944", "4945"), "dc"),
            ("420xx", ("4946", "4947"), "dc"),
            ("6xxx", ("4948", "4949"), "dc"),
        )
    ],
)
def test_only_devices_of_the_later_generations_have_services(host: Host, capability: str) -> None:
    assert [each.resource for each in found(host).devices] == [f"qat.intel.com/{capability}"]
    assert rules(host) == {}


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param("", id="no PCI"),
        pytest.param(alone("1af4:4941"), id="another maker's (Go: offered)"),
        pytest.param(alone("8086:1592"), id="another device"),
    ],
)
def test_says_nothing_where_there_is_no_function(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize("tree", [ONE.replace(f"{FIRST}/device = 0x4941", f"{FIRST}/device = 0x1889")])
def test_a_function_of_a_physical_one_that_is_no_qat_is_not_offered(host: Host) -> None:
    """The Go plugin offers whatever is behind a virtfn link, as generic."""
    assert found(host).devices == ()


@pytest.mark.parametrize("tree", [TWELVE])
def test_the_number_of_functions_is_limited_in_the_order_of_their_numbers(host: Host) -> None:
    """Go counts virtfn0, virtfn1, virtfn10."""
    look = found(host, maxNumDevices=3)

    assert [each.id for each in look.devices] == ["0000:6b:00.1", "0000:6b:00.2", "0000:6b:00.3"]
    assert len(look.exclusions) == 9
    assert look.exclusions[0] == Exclusion(
        at("0000:6b:00.4", "0000:6a:01.0"),
        "max-num-devices",
        "3 functions of lower addresses are offered",
        "raise devices.qat.maxNumDevices",
    )


@pytest.mark.parametrize("tree", [bound(TWELVE, FIRST, "4xxxvf")])
def test_functions_that_cannot_be_offered_do_not_count(host: Host) -> None:
    assert ids(host, maxNumDevices=2) == ["0000:6b:00.2", "0000:6b:00.3"]


@pytest.mark.parametrize("tree", [text(device(1), device(1, directory=at("0000:10:00.0"), group=70))])
def test_functions_come_in_the_order_of_the_bus(host: Host) -> None:
    assert ids(host) == ["0000:10:00.1", "0000:6b:00.1"]


@pytest.mark.parametrize("tree", [text(device(1), C6XX)])
@pytest.mark.parametrize(
    ("drivers", "offered"),
    [
        (["4xxxvf"], ["0000:6b:00.1"]),
        ("c6xxvf", ["0000:b1:00.1"]),
        ("c6xxvf,4xxxvf", ["0000:6b:00.1", "0000:b1:00.1"]),
        (" c6xxvf , 4xxxvf ", ["0000:6b:00.1", "0000:b1:00.1"]),
        (["6xxxvf"], []),
    ],
    ids=["list", "text", "comma list", "blanks (Go: refused)", "none of them"],
)
def test_only_functions_of_the_named_drivers_are_offered(host: Host, drivers: object, offered: list[str]) -> None:
    look = found(host, kernelVfDrivers=drivers)

    assert [each.id for each in look.devices] == offered
    assert {each.rule for each in look.exclusions} <= {"not-listed"}
    assert {each.path.rpartition("/")[2] for each in look.exclusions if not each.path.endswith(".0")} == {
        "0000:6b:00.1",
        "0000:b1:00.1",
    } - {*offered}


KNOWN = "dh895xccvf, c4xxxvf, c3xxxvf, c6xxvf, d15xxvf, 4xxxvf, 420xxvf, 6xxxvf"


@pytest.mark.parametrize(
    ("drivers", "problem"),
    [
        ("c6xxxvf", f"'c6xxxvf': no driver of virtual functions; there are {KNOWN}"),
        ("c6xxvf:d15xxvf", f"'c6xxvf:d15xxvf': no driver of virtual functions; there are {KNOWN}"),
        ("4xxxvf,", f"'': no driver of virtual functions; there are {KNOWN}"),
        ("", f"'': no driver of virtual functions; there are {KNOWN}"),
    ],
)
def test_unknown_drivers_are_named(drivers: object, problem: str) -> None:
    assert msgspec.convert({"kernelVfDrivers": drivers}, Qat).problems() == {"kernelVfDrivers": problem}


@pytest.mark.parametrize(
    "section",
    [
        {"dpdkDriver": "uio"},
        {"kernelVfDrivers": ["c6xxxvf"]},
        {"kernelVfDrivers": []},
        {"maxNumDevices": 0},
        {"maxNumDevices": -1},
        {"preferredAllocationPolicy": ""},
        {"sharedDevNum": 2},
    ],
)
def test_values_out_of_range_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Qat)


def test_by_default_every_generation_is_offered() -> None:
    assert Qat().kernel_vf_drivers == qat.KERNEL_DRIVERS


@pytest.mark.parametrize("tree", [ONE])
def test_the_heartbeat_is_not_tested(host: Host) -> None:
    """Who reads it makes the driver look at the firmware, and with auto_reset may reset the device."""
    for path in Path(host.root, "sys/kernel/debug").glob("*/heartbeat/status"):
        path.unlink()
        os.mkfifo(path)  # whoever opens it waits for ever

    assert ids(host) == ["0000:6b:00.1"]


@pytest.mark.parametrize(
    "tree",
    [
        bound(ONE, FIRST, "igb_uio")
        + f"\n{FIRST}/uio/uio3/name = igb_uio\n/dev/uio3 c 240:3\n{link('/sys/class/uio/uio3', f'{FIRST}/uio/uio3')}"
    ],
)
def test_igb_uio_gives_its_node_and_the_functions_directory(host: Host) -> None:
    (offered,) = found(host, dpdkDriver="igb_uio").devices

    directory = "/sys/class/uio/uio3/device"
    assert offered.edits == ContainerEdits(
        device_nodes=(DeviceNode("/dev/uio3", "/on/host/dev/uio3", "rw"),),
        mounts=(Mount(directory, f"/on/host{directory}", read_only=False),),
    )
    assert rules(host) == {FIRST: "driver"}


@pytest.mark.parametrize(("tree", "rule"), [(ONE, "driver"), (bound(ONE, FIRST, "igb_uio"), "no-uio")])
def test_with_igb_uio_others_are_not_offered(host: Host, rule: str) -> None:
    assert (ids(host, dpdkDriver="igb_uio"), rules(host, dpdkDriver="igb_uio")) == ([], {FIRST: rule})


NO_IOMMU = f"/sys/kernel/iommu_groups/51/name = vfio-noiommu\n/dev/vfio/noiommu-51 c {VFIO_GROUPS}:51"


@pytest.mark.parametrize(
    "tree", [without(ONE, "/dev/vfio/51", f"/dev/char/{VFIO_GROUPS}:51", "/dev/iommu") + "\n" + NO_IOMMU]
)
def test_without_an_iommu_the_node_has_another_name(host: Host) -> None:
    (offered,) = found(host).devices

    assert [each.path for each in offered.edits.device_nodes] == ["/dev/vfio/noiommu-51", "/dev/vfio/vfio"]


@pytest.mark.parametrize("tree", [TWELVE])
def test_a_function_that_goes_changes_no_other(host: Host) -> None:
    """In Go the variables of all later ones change, so that their whole resource is sent anew."""
    before = found(host).devices
    remove(Path(host.root), at("0000:6b:00.2", "0000:6a:01.0"))

    assert found(host).devices == tuple(each for each in before if each.id != "0000:6b:00.2")


@pytest.mark.parametrize("tree", [TWELVE])
def test_variables_count_the_functions_of_one_container(host: Host) -> None:
    by_id = {each.id: each for each in found(host).devices}
    backend = Qat()

    one = backend.allocate([by_id["0000:6b:01.2"]])
    two = backend.allocate([by_id["0000:6b:01.0"], by_id["0000:6b:00.2"]])

    assert dict(one.env) == {"QAT0": "0000:6b:01.2"}
    assert dict(two.env) == {"QAT0": "0000:6b:00.2", "QAT1": "0000:6b:01.0"}
    assert [each.path for each in two.device_nodes] == [
        "/dev/vfio/58",
        "/dev/vfio/vfio",
        "/dev/vfio/devices/vfio57",
        "/dev/iommu",
        "/dev/vfio/52",
        "/dev/vfio/devices/vfio51",
    ]


@pytest.mark.parametrize("policy", ["none", "balanced", "packed"])
def test_the_policy_is_one_for_functions(policy: PolicyName) -> None:
    backend = msgspec.convert({"preferredAllocationPolicy": policy}, Qat)

    assert backend.policy("qat.intel.com/cy") is FUNCTIONS[policy]


def test_without_a_policy_kubelet_is_still_told_to_ask() -> None:
    """As the Go plugin: its answer is then the ids as they come."""
    assert Qat().policy("qat.intel.com/dc") is FUNCTIONS["none"]
