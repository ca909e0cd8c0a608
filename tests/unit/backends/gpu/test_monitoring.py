"""What monitors get."""

from pathlib import Path

import msgspec
import pytest

from intel_agent.allocation import SHARES
from intel_agent.backends.gpu import Gpu
from intel_agent.model import ContainerEdits, Device, Exclusion
from intel_agent.sysfs import Host

from .cards import CARD, FIRST, SEE_DEV, TWO, card, found, ids, node, spoil

CONTROLLER = f"""
{FIRST}/xe.mei-gscfi.256/mei/mei0/dev = 241:0
{FIRST}/xe.mei-gsc.256/mei/mei1/dev = 241:1
{FIRST}/xe.mei-gsc.256/mei/power/control = auto
/dev/mei0 c 241:0
"""


@pytest.mark.parametrize("tree", [TWO + CONTROLLER])
def test_monitoring_sees_all_cards_and_their_controllers(host: Host) -> None:
    seen = found(host, Gpu(enable_monitoring=True, shared_dev_num=2))

    assert seen.devices[2:] == (
        Device(
            id="all",
            resource="gpu.intel.com/monitoring",
            sysfs_path="/sys/class/drm",
            edits=ContainerEdits(
                device_nodes=tuple(
                    node(name) for name in ("dri/card1", "dri/renderD129", "dri/card2", "dri/renderD130", "mei0")
                )
            ),
            cdi_name="monitoring",
            attributes={"cards": "card1,card2"},
        ),
    )
    assert seen.exclusions == (
        Exclusion(f"{FIRST}/xe.mei-gsc.256/mei/mei1", "node-missing", "/dev/mei1 is not there", SEE_DEV),
    )


@pytest.mark.parametrize("tree", [TWO + CONTROLLER])
def test_a_controller_that_cannot_be_read_costs_only_itself(host: Host) -> None:
    spoil(Path(host.root, "dev/mei0"), "directory")
    seen = found(host, Gpu(enable_monitoring=True))

    assert [each.id for each in seen.devices] == ["card1", "card2", "all"]
    assert [(each.path, each.rule) for each in seen.exclusions] == [(FIRST, "controller")]


@pytest.mark.parametrize("tree", [card(1, driver="vfio-pci")])
def test_there_is_nothing_to_monitor_without_a_card(host: Host) -> None:
    assert ids(host, Gpu(enable_monitoring=True)) == []


@pytest.mark.parametrize("tree", [TWO + CONTROLLER])
def test_monitors_of_one_driver_see_its_cards_and_their_controllers(host: Host) -> None:
    gpu = msgspec.convert({"enableMonitoring": True, "monitoringMode": "split", "sharedDevNum": 2}, Gpu)

    assert found(host, gpu).devices[2:] == (
        Device(
            id="all",
            resource="gpu.intel.com/i915_monitoring",
            sysfs_path="/sys/bus/pci/drivers/i915",
            edits=ContainerEdits(device_nodes=(node("dri/card2"), node("dri/renderD130"))),
            cdi_name="i915_monitoring",
            attributes={"cards": "card2"},
        ),
        Device(
            id="all",
            resource="gpu.intel.com/xe_monitoring",
            sysfs_path="/sys/bus/pci/drivers/xe",
            edits=ContainerEdits(device_nodes=(node("dri/card1"), node("dri/renderD129"), node("mei0"))),
            cdi_name="xe_monitoring",
            attributes={"cards": "card1"},
        ),
    )


@pytest.mark.parametrize("tree", [card(1) + card(2)])
def test_there_are_monitors_of_those_drivers_only_that_have_cards(host: Host) -> None:
    gpu = Gpu(enable_monitoring=True, monitoring_mode="split")

    assert [each.resource for each in found(host, gpu).devices if each.id == "all"] == ["gpu.intel.com/xe_monitoring"]


@pytest.mark.parametrize("tree", [TWO])
def test_the_mode_alone_offers_no_monitoring(host: Host) -> None:
    assert ids(host, Gpu(monitoring_mode="split")) == ["card1", "card2"]


@pytest.mark.parametrize("mode", ["single", "split"])
@pytest.mark.parametrize("tree", [CARD])
def test_monitors_have_no_preference_to_express_and_no_numa_node(host: Host, mode: str) -> None:
    gpu = msgspec.convert({"enableMonitoring": True, "monitoringMode": mode}, Gpu)
    monitor = found(host, gpu).devices[-1]

    assert (monitor.ids, monitor.numa_nodes, monitor.exclusive) == (("all",), (), True)
    assert gpu.policy(monitor.resource) == SHARES["none"]
