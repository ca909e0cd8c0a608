"""What is said of a card besides how it is offered: model, memory, integrated or discrete. What is not known is absent.

Ids of cases say what the labeler of the existing Go plugin does where it is wrong.
"""

import os
from pathlib import Path

import pytest

from intel_agent.simulation.disk import materialise
from intel_agent.sysfs import Host

from .cards import CARD, FIRST, card, found, ids, rules

UNKNOWN = "0x0fff"
GIB = 1 << 30


def attribute(host: Host, name: str) -> str | None:
    (device,) = found(host).devices
    return device.attributes.get(name)


@pytest.mark.parametrize(
    ("tree", "model", "family", "discrete"),
    [
        pytest.param(card(1), "Data Center GPU Flex 170", "Data Center GPU Flex", "true", id="Flex"),
        pytest.param(card(1, device="0x0bd5"), "Data Center GPU Max 1550", "Data Center GPU Max", "true", id="Max"),
        pytest.param(card(1, device="0x0bd7"), None, "Data Center GPU Max", "true", id="Max, no name agreed on"),
        pytest.param(card(1, device="0xe20b"), "Arc B580", "Arc B-Series", "true", id="B-series"),
        pytest.param(card(1, device="0x46a6"), None, "Alder Lake-P", "false", id="integrated, in a virtual machine"),
        pytest.param(card(1, "0000:00:02.0", device="0x46a6"), None, "Alder Lake-P", "false", id="integrated"),
        pytest.param(card(1, "0000:00:02.0"), "Data Center GPU Flex 170", "Data Center GPU Flex", "true", id="0:2.0"),
        pytest.param(card(1, "0000:00:02.0", device=UNKNOWN), None, None, None, id="unknown at integrated ones' place"),
        pytest.param(card(1, device=UNKNOWN), None, None, None, id="unknown in a slot"),
        pytest.param(
            card(1, device=UNKNOWN) + f"{FIRST}/hwmon/hwmon4/name = xe", None, None, "true", id="unknown with sensors"
        ),
        pytest.param(
            card(1, device=UNKNOWN) + f"{FIRST}/hwmon/hwmon4/name = i915_gt0", None, None, "true", id="those of a tile"
        ),
        pytest.param(
            card(1, device=UNKNOWN) + f"{FIRST}/hwmon/hwmon4/name = max31785", None, None, None, id="another's sensors"
        ),
        pytest.param(
            card(1, device=UNKNOWN) + f"{FIRST}/tile0/physical_vram_size_bytes = {8 * GIB}",
            None,
            None,
            "true",
            id="unknown with memory of its own",
        ),
    ],
)
def test_knows_a_card_by_its_id_or_by_what_only_discrete_ones_have(
    host: Host, model: str | None, family: str | None, discrete: str | None
) -> None:
    assert (attribute(host, "model"), attribute(host, "family"), attribute(host, "discrete")) == (
        model,
        family,
        discrete,
    )


I915 = card(1, driver="i915")
LMEM = f"{FIRST}/drm/card1/lmem_total_bytes"


@pytest.mark.parametrize(
    ("tree", "mebibytes"),
    [
        pytest.param(CARD, None, id="xe does not tell (Go: 0)"),
        pytest.param(CARD + f"{FIRST}/tile0/physical_vram_size_bytes = {16 * GIB}", "16384", id="xe, one tile"),
        pytest.param(
            CARD + "".join(f"{FIRST}/tile{tile}/physical_vram_size_bytes = {64 * GIB}\n" for tile in (0, 1)),
            "131072",
            id="xe, two tiles",
        ),
        pytest.param(
            CARD + f"{FIRST}/tile0/physical_vram_size_bytes = {GIB}\n{FIRST}/tile1/gt1/gtidle/name = gt1-rc",
            None,
            id="xe, one of two tiles tells",
        ),
        pytest.param(CARD + f"{FIRST}/tile0/physical_vram_size_bytes = 0", None, id="xe without memory of its own"),
        pytest.param(CARD + f"{LMEM} = {GIB}", None, id="another driver's file"),
        pytest.param(I915, None, id="i915 does not tell (Go: 0)"),
        pytest.param(I915 + f"{LMEM} = {14 * GIB}\n{FIRST}/drm/card1/gt/gt0/id = 0", "14336", id="i915, one tile"),
        pytest.param(I915 + f"{LMEM} = {14 * GIB}", "14336", id="i915, no tiles named"),
        pytest.param(
            I915 + f"{LMEM} = {14 * GIB}\n" + "".join(f"{FIRST}/drm/card1/gt/gt{tile}/id = 0\n" for tile in (0, 1)),
            None,
            id="i915, two tiles (Go: two times the size, whether that is of both or of one)",
        ),
        pytest.param(
            card(1, driver="i915", device="0x0bda") + f"{LMEM} = not read", None, id="i915 would keep a Max awake"
        ),
        pytest.param(
            CARD + f"{FIRST}/resource = 0x0 0x3ffffffff 0x14220c", None, id="a region of the bus is no memory"
        ),
    ],
)
def test_says_how_much_memory_a_card_has_where_the_driver_does(host: Host, mebibytes: str | None) -> None:
    assert attribute(host, "memoryMib") == mebibytes


@pytest.mark.parametrize(
    ("tree", "tiles"),
    [
        pytest.param(CARD, None, id="not told (Go: 1)"),
        pytest.param(CARD + "".join(f"{FIRST}/tile{tile}/gt0/id = 0\n" for tile in range(11)), "11", id="xe, many"),
        pytest.param(I915 + f"{FIRST}/drm/card1/gt/gt1/id = 1", None, id="a media engine of i915 (Go: a tile)"),
    ],
)
def test_says_how_many_tiles_a_card_has_where_the_driver_does(host: Host, tiles: str | None) -> None:
    assert attribute(host, "tiles") == tiles


@pytest.mark.parametrize("size", ["-1", "0x10", "16 GiB", ""])
@pytest.mark.parametrize("where", ["tile0/physical_vram_size_bytes", "drm/card1/lmem_total_bytes"])
def test_a_size_that_is_none_is_named(where: str, size: str, tmp_path: Path) -> None:
    driver = "xe" if where.startswith("tile") else "i915"
    materialise(card(1, driver=driver) + card(2) + f"{FIRST}/{where} = {size}", tmp_path)
    host = Host(str(tmp_path), "/on/host")

    assert ids(host) == ["card2"]
    assert rules(host) == {FIRST: "unreadable"}


WAKING = (
    "config",
    "current_link_speed",
    "current_link_width",
    "max_link_speed",
    "max_link_width",
    "resource2_resize",
    "auto_link_downgrade_status",
    "lb_fan_control_version",
    "hwmon/hwmon0/temp2_input",
    "hwmon/hwmon0/energy1_input",
    "tile0/gt0/freq0/act_freq",
    "tile0/gt0/freq0/throttle/status",
    "tile0/gt0/gtidle/idle_residency_ms",
    "tile0/memory/freq0/max_freq",
    "drm/card1/error",
    "drm/card1/gt/gt0/throttle_reason_status",
    "drm/card1/gt_act_freq_mhz",
)
"""Files of a card whose reading resumes it."""


@pytest.mark.parametrize("driver", ["i915", "xe"])
@pytest.mark.parametrize("device", ["0x56c0", "0x0bda", UNKNOWN])
def test_nothing_is_opened_that_wakes_a_sleeping_card(driver: str, device: str, tmp_path: Path) -> None:
    sleeping = f"{FIRST}/power/runtime_status = suspended\n{FIRST}/hwmon/hwmon0/name = {driver}\n"
    materialise(card(1, driver=driver, device=device) + sleeping, tmp_path)
    for name in WAKING:
        file = tmp_path / f"{FIRST[1:]}/{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(file)  # whoever opens it waits until the test is over

    assert ids(Host(str(tmp_path))) == ["card1"]
