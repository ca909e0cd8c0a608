"""What the driver of Gaudi cards calls their state, and what it counts (drivers/accel/habanalabs)."""

from pathlib import Path

import pytest
from unit.backends.judging import HOLD, Judging

from intel_agent.backends.gaudi import Gaudi
from intel_agent.inventory import Found
from intel_agent.model import Fault, Reason
from intel_agent.simulation import accelerators
from intel_agent.simulation.disk import change, materialise
from intel_agent.simulation.machines import at
from intel_agent.sysfs import Host

PCI = at("0000:33:00.0", "0000:32:00.0")
ONE = "".join(f"{line}\n" for line in accelerators.Gaudi(0, PCI).lines())
STATUS = f"{PCI}/status"


def found(host: Host) -> Found:
    return Found.of(Gaudi().discover(host))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("Operational", None),
        ("operational", None),
        ("In reset", Reason.RESETTING),
        ("In device creation", Reason.RESETTING),
        ("In reset after device release", Reason.RESETTING),
        ("Disabled", Reason.HALTED),
        ("Needs reset", Reason.HALTED),
        ("Malfunction", Reason.HALTED),
    ],
)
def test_a_card_has_what_the_driver_calls_it(tmp_path: Path, status: str, reason: Reason | None) -> None:
    materialise(ONE.replace(f"{STATUS} = Operational", f"{STATUS} = {status}"), tmp_path)

    (device,) = found(Host(str(tmp_path))).devices

    assert [each.reason for each in device.faults] == [reason] * (reason is not None)


def test_a_fault_says_what_the_driver_said(tmp_path: Path) -> None:
    materialise(ONE.replace(f"{STATUS} = Operational", f"{STATUS} = Needs reset"), tmp_path)
    detail = "the driver calls it 'Needs reset': the kernel log says why, and whether a hard reset or a reboot helps"

    assert found(Host(str(tmp_path))).devices[0].faults == {Fault(Reason.HALTED, "sysfs", detail)}


def test_a_reset_that_does_not_end_has_failed(tmp_path: Path) -> None:
    """It is a warning at first: Gaudi2 goes through one whenever a program ends."""
    materialise(ONE, tmp_path)
    node = Judging(Host(str(tmp_path)), Gaudi())
    change(tmp_path, STATUS, "In reset")
    ((name, faults),) = node.look(0).items()
    assert (faults, node.warnings) == (set(), {name: {Reason.RESETTING}})
    change(tmp_path, STATUS, "In reset after device release")
    assert node.look(299) == {name: set()}
    assert node.look(300) == {name: {Reason.NOT_RECOVERED}}
    change(tmp_path, STATUS, "Operational")
    assert node.look(301) == {name: {Reason.NOT_RECOVERED}}
    assert (node.look(301 + HOLD), node.warnings) == ({name: set()}, {name: set()})


def test_a_card_that_its_driver_had_to_reset_is_named(tmp_path: Path) -> None:
    materialise(ONE.replace("hard_reset_cnt = 0", "hard_reset_cnt = 2"), tmp_path)
    node = Judging(Host(str(tmp_path)), Gaudi())
    ((name, _),) = node.look(0).items()
    assert node.warnings == {name: set()}
    change(tmp_path, f"{PCI}/hard_reset_cnt", "3")
    assert (node.look(1), node.warnings) == ({name: set()}, {name: {Reason.HUNG}})
    assert (node.look(1 + HOLD), node.warnings) == ({name: set()}, {name: set()})


def test_a_count_of_resets_that_is_no_number_makes_the_card_unreadable(tmp_path: Path) -> None:
    materialise(ONE.replace("hard_reset_cnt = 0", "hard_reset_cnt = often"), tmp_path)

    assert [each.rule for each in found(Host(str(tmp_path))).exclusions] == ["unreadable"]


def test_a_card_becomes_healthy_again(tmp_path: Path) -> None:
    """Habana's plugin never calls a card healthy again; and it looks for the ill one by the wrong name."""
    materialise(ONE, tmp_path)
    node = Judging(Host(str(tmp_path)), Gaudi())
    ((name, _),) = node.look(0).items()
    change(tmp_path, STATUS, "Needs reset")
    assert node.look(1) == {name: {Reason.HALTED}}
    change(tmp_path, STATUS, "Operational")
    assert node.look(2) == {name: {Reason.HALTED}}
    assert node.look(2 + HOLD) == {name: set()}


@pytest.mark.parametrize("stopped", ["Needs reset", "Disabled"])
@pytest.mark.parametrize("reset", ["In reset", "In device creation", "In reset after device release"])
def test_a_card_that_was_stopped_is_so_until_its_reset_has_ended(tmp_path: Path, stopped: str, reset: str) -> None:
    """Its recovery has to last from then on, however long the reset took."""
    materialise(ONE.replace(f"{STATUS} = Operational", f"{STATUS} = {stopped}"), tmp_path)
    node = Judging(Host(str(tmp_path)), Gaudi())
    ((name, faults),) = node.look(0).items()
    assert faults == {Reason.HALTED}
    change(tmp_path, STATUS, reset)
    assert node.look(1) == {name: {Reason.HALTED}}
    assert node.look(2 * HOLD) == {name: {Reason.HALTED}}
    change(tmp_path, STATUS, "Operational")
    assert node.look(2 * HOLD + 1) == {name: {Reason.HALTED}}
    assert node.look(3 * HOLD) == {name: {Reason.HALTED}}
    assert node.look(3 * HOLD + 1) == {name: set()}
