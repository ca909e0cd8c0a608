"""What the driver of a QAT device counts, and what it means for the functions."""

from pathlib import Path

import pytest
from qat_trees import ADDRESS, C6XX, ONE, PHYSICAL, TWO, found, text, without
from unit.backends.judging import HOLD, Judging

from intel_agent.backends.qat import Qat
from intel_agent.model import Reason
from intel_agent.simulation.disk import change
from intel_agent.sysfs import Host

DEBUG = f"/sys/kernel/debug/qat_4xxx_{ADDRESS}/heartbeat"
RAS = f"{PHYSICAL}/qat_ras"


def counts(host: Host) -> dict[Reason, int]:
    (signs,) = found(host).signs
    assert signs.faults == frozenset()
    return {fault.reason: count for fault, count in signs.counts.items()}


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(
            ONE, {Reason.FATAL_ERRORS: 0, Reason.NONFATAL_ERRORS: 0, Reason.HALTED: 0}, id="fourth generation"
        ),
        pytest.param(text(C6XX), {Reason.HALTED: 0}, id="older ones count no errors"),
        pytest.param(
            without(ONE, f"{DEBUG}/queries_failed"),
            {Reason.FATAL_ERRORS: 0, Reason.NONFATAL_ERRORS: 0},
            id="a kernel without the heartbeat, or no debugfs",
        ),
        pytest.param(
            without(ONE, f"{RAS}/errors_fatal", f"{RAS}/errors_nonfatal").replace("qat/state = up", "qat/state = down"),
            {Reason.FATAL_ERRORS: 0, Reason.NONFATAL_ERRORS: 0, Reason.HALTED: 0},
            id="what is down has forgotten everything",
        ),
        pytest.param(
            ONE.replace("queries_failed = 0\\n\\x00\\c", "queries_failed = no number"),
            {Reason.FATAL_ERRORS: 0, Reason.NONFATAL_ERRORS: 0},
            id="no number in debugfs",
        ),
    ],
)
def test_what_the_driver_counts_is_read(host: Host, expected: dict[Reason, int]) -> None:
    assert counts(host) == expected


@pytest.mark.parametrize("tree", [ONE])
def test_the_counts_are_those_of_the_physical_function(host: Host) -> None:
    assert [each.path for each in found(host).signs] == [PHYSICAL]


@pytest.mark.parametrize("tree", [ONE])
def test_a_count_in_debugfs_ends_with_a_zero_byte(host: Host) -> None:
    Path(f"{host.root}{DEBUG}/queries_failed").write_bytes(b"12\n\0")

    assert counts(host)[Reason.HALTED] == 12


@pytest.mark.parametrize("tree", [ONE])
def test_a_heartbeat_that_cannot_be_read_is_no_fault(host: Host) -> None:
    file = Path(f"{host.root}{DEBUG}/queries_failed")
    file.unlink()
    file.mkdir()

    assert Reason.HALTED not in counts(host)


@pytest.mark.parametrize("tree", [ONE])
def test_an_error_count_that_is_no_number_makes_the_functions_unreadable(host: Host) -> None:
    change(Path(host.root), f"{RAS}/errors_fatal", "many")

    assert {each.rule for each in found(host).exclusions} == {"unreadable"}


SOUND = {"0000:6b:00.1": set[Reason](), "0000:6b:00.2": set[Reason]()}


@pytest.mark.parametrize("tree", [TWO])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param(f"{RAS}/errors_fatal", Reason.FATAL_ERRORS, id="a fatal error"),
        pytest.param(f"{DEBUG}/queries_failed", Reason.HALTED, id="a heartbeat that failed"),
    ],
)
def test_functions_share_what_is_counted_until_the_device_is_started_again(
    host: Host, path: str, reason: Reason
) -> None:
    node = Judging(host, Qat())
    change(Path(host.root), path, "3")
    assert node.look(0) == SOUND  # it happened before anybody looked
    change(Path(host.root), path, "4")
    assert node.look(1) == {name: {reason} for name in SOUND}
    assert node.look(1e6) == {name: {reason} for name in SOUND}
    change(Path(host.root), path, "0")
    assert node.look(1e6 + 1) == {name: {reason} for name in SOUND}
    assert node.look(1e6 + 1 + HOLD) == SOUND


@pytest.mark.parametrize("tree", [TWO])
def test_a_reset_takes_the_functions_away_and_its_end_brings_them_back_sound(host: Host) -> None:
    node = Judging(host, Qat())
    node.look(0)
    change(Path(host.root), f"{RAS}/errors_fatal", "1")
    node.look(1)
    change(Path(host.root), f"{PHYSICAL}/qat/state", "down")
    assert node.look(2) == {}
    change(Path(host.root), f"{RAS}/errors_fatal", "0")
    change(Path(host.root), f"{PHYSICAL}/qat/state", "up")
    node.look(3)
    assert node.look(3 + HOLD) == SOUND


@pytest.mark.parametrize("tree", [TWO])
def test_other_errors_are_a_warning(host: Host) -> None:
    node = Judging(host, Qat())
    node.look(0)
    change(Path(host.root), f"{RAS}/errors_nonfatal", "1")
    assert node.look(1) == SOUND
    assert node.warnings == {name: {Reason.NONFATAL_ERRORS} for name in SOUND}
