"""What FPGA cards note of their own errors, and whom it concerns."""

import shutil
from pathlib import Path

import msgspec
import pytest
from unit.backends.fpgas import DFL, ENGINE, OPAE, PORT, TWO, found
from unit.backends.judging import HOLD, Judging

from intel_agent.backends.fpga import Fpga
from intel_agent.model import Reason
from intel_agent.simulation.disk import change
from intel_agent.sysfs import Host

FME = f"{ENGINE['dfl']}/errors"
AFU = f"{PORT}/errors"
FIRST, SECOND, THIRD, WHOLE, OTHER = "dfl-port.0", "dfl-port.1", "dfl-port.2", "dfl-fme.0", "dfl-fme.1"
FATAL, NONFATAL, NOTED = {Reason.FATAL_ERRORS}, {Reason.NONFATAL_ERRORS}, {Reason.ERROR_REGISTER}
UNREADABLE = {Reason.UNREADABLE}


def judging(host: Host, mode: str) -> Judging:
    return Judging(host, msgspec.convert({"mode": mode}, Fpga))


@pytest.mark.parametrize("tree", [TWO])
@pytest.mark.parametrize(
    ("register", "mode", "faults", "warnings"),
    [
        pytest.param((f"{FME}/catfatal_errors", "0x1"), "af", {FIRST: FATAL, SECOND: FATAL}, {}, id="fatal: the card"),
        pytest.param((f"{FME}/catfatal_errors", "0x800"), "region", {WHOLE: FATAL}, {}, id="fatal: the region"),
        pytest.param((f"{FME}/nonfatal_errors", "0x2"), "af", {}, {FIRST: NONFATAL, SECOND: NONFATAL}, id="not fatal"),
        pytest.param((f"{FME}/fme_errors", "0x1"), "region", {}, {WHOLE: NOTED}, id="engine"),
        pytest.param((f"{FME}/pcie0_errors", "0x1"), "af", {}, {FIRST: NOTED, SECOND: NOTED}, id="link"),
        pytest.param((f"{FME}/pcie1_errors", "0xffffffffffffffff"), "region", {}, {WHOLE: NOTED}, id="the other link"),
        pytest.param((f"{AFU}/errors", "0x2000"), "af", {FIRST: FATAL}, {}, id="a port: itself alone"),
        pytest.param((f"{AFU}/errors", "0x2000"), "regiondevel", {WHOLE: FATAL}, {}, id="a port: its region"),
        pytest.param((f"{AFU}/first_error", "0x1"), "af", {}, {}, id="the first of those is no other"),
        pytest.param((f"{FME}/inject_errors", "0x1"), "af", {}, {}, id="what is to be injected is not there yet"),
        pytest.param((f"{AFU}/errors", "many"), "af", {FIRST: UNREADABLE}, {}, id="no number"),
        pytest.param(
            (f"{FME}/catfatal_errors", "0x1ffffffffffffffff"),
            "af",
            {FIRST: UNREADABLE, SECOND: UNREADABLE},
            {},
            id="too long",
        ),
    ],
)
def test_an_error_concerns_those_who_have_what_it_is_of(
    host: Host,
    register: tuple[str, str],
    mode: str,
    faults: dict[str, set[Reason]],
    warnings: dict[str, set[Reason]],
) -> None:
    node = judging(host, mode)
    sound = {each: set[Reason]() for each in ((FIRST, SECOND, THIRD) if mode == "af" else (WHOLE, OTHER))}
    assert (node.look(0), node.warnings) == (sound, sound)
    change(Path(host.root), *register)
    assert (node.look(1), node.warnings) == (sound | faults, sound | warnings)
    change(Path(host.root), register[0], "0x0")
    node.look(2)
    assert (node.look(2 + HOLD), node.warnings) == (sound, sound)


@pytest.mark.parametrize("tree", [OPAE, DFL])
def test_a_driver_without_such_files_says_nothing_bad(host: Host) -> None:
    registers = [each for each in Path(host.root, "sys/devices").glob("**/errors") if each.is_dir()]
    assert len(registers) == 3
    for each in registers:
        shutil.rmtree(each)

    assert all(each.faults == frozenset() for each in found(host).signs)
    assert len(found(host).devices) == 2
