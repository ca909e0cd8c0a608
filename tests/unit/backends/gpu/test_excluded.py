"""Which cards are not offered, and what is said of them."""

import os
from pathlib import Path

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.inventory import Found
from intel_agent.model import Exclusion
from intel_agent.sysfs import Host

from .cards import AGAIN, CARD, FIRST, TWO, card, found, ids, rules

BIND = f"bind it to i915 or xe for containers, to vfio-pci or xe-vfio-pci for virtual machines; {AGAIN}"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(
            card(1, driver="vfio-pci"),
            Exclusion(
                FIRST,
                "no-iommu-group",
                "it has no iommu_group",
                "switch the IOMMU on (BIOS: VT-d; kernel command line: intel_iommu=on)",
            ),
            id="driver vfio-pci (Go: a resource gpu.intel.com/vfio-pci)",
        ),
        pytest.param(
            card(1, driver="fbdrv"),
            Exclusion(FIRST, "driver", "driver 'fbdrv'", BIND),
            id="another driver (Go: a resource gpu.intel.com/fbdrv)",
        ),
        pytest.param(
            card(1, driver=None),
            Exclusion(FIRST, "driver", "no driver", BIND),
            id="no driver link (Go: offered as i915)",
        ),
        pytest.param(
            CARD + f"{FIRST}/sriov_numvfs = 7",
            Exclusion(
                FIRST,
                "has-virtual-functions",
                "7 virtual functions are enabled",
                f"use those, or write 0 to its sriov_numvfs; {AGAIN}",
            ),
            id="physical function",
        ),
    ],
)
def test_names_what_is_not_offered(host: Host, expected: Exclusion) -> None:
    assert found(host) == Found(exclusions=(expected,))


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param("", id="no graphics at all"),
        pytest.param(card(1, vendor="0x1002", driver="amdgpu"), id="another maker's card"),
        pytest.param(
            "/sys/devices/platform/vgem/drm/card0/dev = 226:0\n"
            "/sys/class/drm/card0 -> ../../devices/platform/vgem/drm/card0",
            id="a card without hardware",
        ),
        pytest.param(
            f"{FIRST}/vendor = 0x8086\n{FIRST}/simple-framebuffer.0/drm/card0/dev = 226:0\n"
            "/sys/class/drm/card0 -> ../../devices/pci0000:00/0000:01:00.0/simple-framebuffer.0/drm/card0",
            id="the firmware's framebuffer below an Intel function",
        ),
        pytest.param("/sys/class/drm/version = drm 1.1.0 20060810\n/sys/class/drm/cardinal = ?", id="no cards"),
    ],
)
def test_says_nothing_of_what_is_not_of_its_kind(host: Host) -> None:
    assert found(host, Gpu(enable_monitoring=True)) == Found()


BARE = f"""
{FIRST}/class = 0x038000
{FIRST}/vendor = 0x8086
/sys/bus/pci/devices/0000:01:00.0 -> ../../../devices/pci0000:00/0000:01:00.0
"""


@pytest.mark.parametrize(
    ("tree", "rule", "evidence"),
    [
        pytest.param(BARE, "driver", "no driver", id="no driver"),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/uio_pci_generic",
            "driver",
            "driver 'uio_pci_generic'",
            id="a driver for something else",
        ),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/fbdrv", "driver", "driver 'fbdrv'", id="another driver"
        ),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/xe",
            "no-card",
            "driver xe made no card of it",
            id="the driver gave up",
        ),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/xe\n{FIRST}/survivability_mode = type: Boot",
            "survivability",
            "it is in survivability mode",
            id="drivers/gpu/drm/xe/xe_survivability_mode.c",
        ),
    ],
)
def test_names_gpus_that_no_driver_made_a_card_of(host: Host, rule: str, evidence: str) -> None:
    assert [(each.path, each.rule, each.evidence) for each in found(host).exclusions] == [(FIRST, rule, evidence)]


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(BARE.replace("0x8086", "0x1002"), id="another maker's display"),
        pytest.param(BARE.replace("0x038000", "0x020000"), id="a network card"),
        pytest.param(BARE.replace(f"{FIRST}/class = 0x038000", ""), id="no class"),
    ],
)
def test_says_nothing_of_other_functions(host: Host) -> None:
    assert found(host) == Found()


def network(count: int) -> str:
    """Return the tree of virtual functions of a network card, all with one driver."""
    return "".join(
        f"""
/sys/devices/pci0000:00/0000:03:00.{number}/class = 0x020000
/sys/devices/pci0000:00/0000:03:00.{number}/driver -> ../../../bus/pci/drivers/iavf
/sys/bus/pci/devices/0000:03:00.{number} -> ../../../devices/pci0000:00/0000:03:00.{number}
/sys/bus/pci/drivers/iavf/0000:03:00.{number} -> ../../../../devices/pci0000:00/0000:03:00.{number}
"""
        for number in range(count)
    )


@pytest.mark.parametrize("tree", [network(4) + BARE])
def test_one_function_of_a_driver_tells_that_it_has_no_gpus(host: Host) -> None:
    for number in (1, 2, 3):
        os.unlink(f"{host.root}/sys/devices/pci0000:00/0000:03:00.{number}/class")
        os.mkfifo(f"{host.root}/sys/devices/pci0000:00/0000:03:00.{number}/class")  # opening it would take for ever

    assert rules(host) == {FIRST: "driver"}


@pytest.mark.parametrize("tree", [TWO + BARE.replace(f"{FIRST}/vendor = 0x8086", "")])
def test_a_card_is_not_named_as_missing(host: Host) -> None:
    assert rules(host) == {}


@pytest.mark.parametrize("tree", [TWO])
def test_a_bus_that_cannot_be_listed_costs_no_card(host: Host) -> None:
    Path(host.root, "sys/bus/pci").mkdir(parents=True)
    Path(host.root, "sys/bus/pci/devices").write_text("")

    assert ids(host) == ["card1", "card2"]
    assert rules(host) == {"/sys/bus/pci/devices": "unreadable"}
