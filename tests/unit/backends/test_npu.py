"""Which NPUs are offered, and why others are not.

Ids of cases say what the existing Go plugin does where that differs. Its own trees are at the end.
"""

from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.npu import Npu
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Event, Health, Reason, Verdict
from intel_agent.simulation.disk import change, materialise
from intel_agent.simulation.tree import node
from intel_agent.sysfs import Host

PCI = "/sys/devices/pci0000:00"


def npu(
    number: int = 0,
    *,
    vendor: str = "0x8086",
    device: str = "0x7d1d",
    driver: str | None = "intel_vpu",
    numa_node: int = -1,
) -> str:
    """Return the tree of one NPU: `accel<N>` is function 0000:00:0<N + 1>.0."""
    address = f"0000:00:0{number + 1}.0"
    binding = f"{PCI}/{address}/driver -> ../../../bus/pci/drivers/{driver}" if driver else ""
    return f"""
/sys/class/accel/accel{number} -> ../../devices/pci0000:00/{address}/accel/accel{number}
{PCI}/{address}/accel/accel{number}/dev = 261:{number}
{PCI}/{address}/vendor = {vendor}
{PCI}/{address}/device = {device}
{PCI}/{address}/class = 0x120000
{PCI}/{address}/numa_node = {numa_node}
{binding}
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
/dev/accel/accel{number} c 261:{number}
"""


def bare(driver: str | None, device: str = "0x7d1d", pci_class: str = "0x120000", vendor: str = "0x8086") -> str:
    """Return a function that no driver made an accelerator of."""
    binding = f"""
{PCI}/0000:00:0b.0/driver -> ../../../bus/pci/drivers/{driver}
/sys/bus/pci/drivers/{driver}/0000:00:0b.0 -> ../../../../devices/pci0000:00/0000:00:0b.0
"""
    return f"""
{PCI}/0000:00:0b.0/vendor = {vendor}
{PCI}/0000:00:0b.0/device = {device}
{PCI}/0000:00:0b.0/class = {pci_class}
{binding if driver else ""}
/sys/bus/pci/devices/0000:00:0b.0 -> ../../../devices/pci0000:00/0000:00:0b.0
"""


def found(host: Host, **section: object) -> Found:
    return Found.of(msgspec.convert(section, Npu).discover(host))


def rules(host: Host) -> dict[str, str]:
    return {each.path.removeprefix(f"{PCI}/"): each.rule for each in found(host).exclusions}


@pytest.mark.parametrize("tree", [npu(numa_node=1)])
def test_offers_the_node_as_often_as_it_may_be_shared(host: Host) -> None:
    assert found(host, sharedDevNum=10) == Found(
        devices=(
            Device(
                id="accel0",
                resource="npu.intel.com/accel",
                sysfs_path=f"{PCI}/0000:00:01.0",
                edits=ContainerEdits(
                    device_nodes=(DeviceNode("/dev/accel/accel0", "/on/host/dev/accel/accel0", "rw"),)
                ),
                cdi_name="accel0",
                shares=10,
                numa_nodes=(1,),
                attributes={
                    "pciAddress": "0000:00:01.0",
                    "deviceId": "0x7d1d",
                    "driver": "intel_vpu",
                    "model": "Core Ultra Series 2 (H)",
                },
            ),
        )
    )


@pytest.mark.parametrize("tree", [npu(0) + npu(1)])
def test_has_the_ids_that_kubelet_knows_from_the_go_plugin(host: Host) -> None:
    assert [each.ids for each in found(host, sharedDevNum=2).devices] == [
        ("accel0-0", "accel0-1"),
        ("accel1-0", "accel1-1"),
    ]
    assert Npu().policy("npu.intel.com/accel") is None


@pytest.mark.parametrize("tree", [npu(device="0xabcd")], ids=["(Go: not offered, a warning every 5 s)"])
def test_what_the_npus_driver_has_bound_is_an_npu_whatever_its_id(host: Host) -> None:
    (device,) = found(host).devices

    assert device.id == "accel0"
    assert device.attributes == {"pciAddress": "0000:00:01.0", "deviceId": "0xabcd", "driver": "intel_vpu"}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(npu(device="0xffff", driver=None), {"0000:00:01.0": "unknown-device"}, id="an id of no NPU"),
        pytest.param(npu(device="0xffff", driver="other"), {"0000:00:01.0": "unknown-device"}, id="nor its driver"),
        pytest.param(npu(driver="other"), {"0000:00:01.0": "driver"}, id="another driver (Go: offered)"),
        pytest.param(npu(vendor="0x1da3", device="0x1020", driver="habanalabs"), {}, id="Gaudi is not mentioned"),
        pytest.param(npu(vendor="0x1022", device="0x1502", driver="amdxdna"), {}, id="nor are other makers"),
        pytest.param(
            npu().replace("/dev/accel/accel0 c 261:0", ""), {"0000:00:01.0": "no-node"}, id="no node (Go: silence)"
        ),
        pytest.param(
            npu().replace(f"{PCI}/0000:00:01.0/device = 0x7d1d", ""), {"0000:00:01.0": "unreadable"}, id="no id"
        ),
        pytest.param(npu(device="0x7D1D"), {"0000:00:01.0": "unreadable"}, id="upper case (Go: not offered)"),
        pytest.param(npu(vendor="Intel"), {"0000:00:01.0": "unreadable"}, id="a vendor that is no id"),
        pytest.param(bare(None), {"0000:00:0b.0": "driver"}, id="no driver (Go: silence)"),
        pytest.param(bare("vfio-pci"), {"0000:00:0b.0": "driver"}, id="given to user space (Go: silence)"),
        pytest.param(bare("intel_vpu"), {"0000:00:0b.0": "no-accel"}, id="the driver failed (Go: silence)"),
        pytest.param(bare("intel_vpu", device="0xabcd"), {"0000:00:0b.0": "no-accel"}, id="the same with a new id"),
        pytest.param(bare(None, device="0x09c4"), {}, id="an FPGA has the same class"),
        pytest.param(bare(None, vendor="0x1da3"), {}, id="so has Gaudi"),
        pytest.param(bare(None, pci_class="0x030000"), {}, id="a GPU has another one"),
        pytest.param(bare("nvme"), {}, id="what another driver has is not looked at"),
    ],
)
def test_what_is_not_offered_says_why(host: Host, expected: dict[str, str]) -> None:
    assert found(host).devices == ()
    assert rules(host) == expected


@pytest.mark.parametrize("tree", [npu(0, device="0x7d1 ") + npu(1)], ids=["(Go: skips it with a warning)"])
def test_one_odd_npu_harms_no_other(host: Host) -> None:
    assert [each.id for each in found(host).devices] == ["accel1"]
    assert rules(host) == {"0000:00:01.0": "unreadable"}


@pytest.mark.parametrize("tree", [""], ids=["(Go: the process ends)"])
def test_a_node_without_accelerators_has_nothing_to_say(host: Host) -> None:
    assert found(host) == Found()


VIRTUAL = """
/sys/class/accel/accel0 -> ../../devices/virtual/accel/accel0
/sys/devices/virtual/accel/accel0/device/status = Operational
"""


@pytest.mark.parametrize("tree", [VIRTUAL])
def test_an_accelerator_that_belongs_to_no_pci_function_is_another_kinds(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize("tree", [npu()])
def test_an_npu_that_cannot_be_read_any_more_stays_as_unhealthy(host: Host) -> None:
    before = found(host)
    change(Path(host.root), f"{PCI}/0000:00:01.0/device", "\\xff")

    (device,) = found(host).after(before).devices
    assert (device.id, device.health) == ("accel0", Health.UNHEALTHY)


def test_the_laptop_has_one(tmp_path: Path) -> None:
    materialise(node("laptop"), tmp_path)

    (device,) = found(Host(str(tmp_path))).devices
    assert (device.id, device.numa_nodes, device.attributes["pciAddress"]) == ("accel0", (), "0000:00:0b.0")


@pytest.mark.parametrize("section", [{"sharedDevNum": 0}, {"sharedDevNum": 10_001}, {"sharedDevNumber": 1}])
def test_values_out_of_range_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Npu)


def go(number: int, *, vendor: str | None = "0x8086", device: str | None = None, node: bool = True) -> str:
    """Return an accelerator as the Go plugin's tests make it: nothing but ids and a node, no driver."""
    function = f"{PCI}/0000:00:0{number}.0"
    return "\n".join(
        (
            f"/sys/class/accel/accel{number} -> ../../devices/pci0000:00/0000:00:0{number}.0/accel/accel{number}",
            f"{function}/accel/accel{number}/",
            "" if vendor is None else f"{function}/vendor = {vendor}",
            "" if device is None else f"{function}/device = {device}",
            f"/dev/accel/accel{number} c 261:{number}" if node else "",
            "",
        )
    )


@pytest.mark.parametrize(
    ("tree", "ids"),
    [
        pytest.param("", [], id="no sysfs mounted"),
        pytest.param(go(0, vendor=None), [], id="no device installed"),
        pytest.param(go(0, node=False), [], id="missing dev node"),
        pytest.param(go(0, device="0xffff"), [], id="unknown device"),
        pytest.param(go(0, device="0x7e4c"), ["accel0-0"], id="ID with line end"),
        pytest.param(go(0, device="0x643e"), ["accel0-0"], id="one device"),
        pytest.param(go(0, device="0x643e") + go(1, device="0xad1d"), ["accel0-0", "accel1-0"], id="two devices"),
        pytest.param(go(0, device="0xb03e"), ["accel0-0"], id="PTL"),
    ],
)
def test_offers_what_the_go_plugin_offers_on_its_own_trees(host: Host, ids: list[str]) -> None:
    assert [each for device in found(host).devices for each in device.ids] == ids


FUNCTION = "/devices/pci0000:00/0000:00:0b.0"


def said(action: str = "change", subsystem: str = "pci", **keys: str) -> list[Verdict]:
    return list(Npu().diagnose(Event(action, subsystem, FUNCTION, keys)))


def test_an_npu_that_hung_and_was_started_again_is_named() -> None:
    """drivers/accel/ivpu/ivpu_pm.c: the message comes after each try, and does not say how it went."""
    (verdict,) = said(IVPU_PM_EVENT="IVPU_RECOVER")

    assert verdict.fault is not None
    assert (verdict.path, verdict.fault.reason, verdict.passed) == (f"/sys{FUNCTION}", Reason.HUNG, True)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(said(), id="no key of health"),
        pytest.param(said(IVPU_PM_EVENT="IVPU_SLEEP"), id="another event of a later kernel"),
        pytest.param(said(subsystem="accel", IVPU_PM_EVENT="IVPU_RECOVER"), id="another subsystem"),
        pytest.param(said(action="add", IVPU_PM_EVENT="IVPU_RECOVER"), id="another action"),
        pytest.param(said(SYNTH_ARG_IVPU_PM_EVENT="IVPU_RECOVER"), id="forged by way of the file uevent"),
    ],
)
def test_other_messages_mean_nothing(message: list[Verdict]) -> None:
    assert message == []
