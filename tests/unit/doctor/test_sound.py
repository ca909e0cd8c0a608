"""Sound nodes give no findings."""

import pytest

from intel_agent.simulation.tree import names

from .conftest import Doctor
from .nodes import Broken


@pytest.mark.parametrize("machine", names())
def test_a_sound_machine_has_no_findings(machine: str, doctor: Doctor) -> None:
    outcome = doctor(Broken(says=(), machine=machine))

    assert [each for each in outcome.findings if each["severity"] != "note"] == []
    assert (outcome.code, outcome.report["sound"], outcome.report["couldNotLook"]) == (0, True, [])


def test_every_accelerator_is_listed_with_what_is_made_of_it(doctor: Doctor) -> None:
    outcome = doctor(Broken(says=()))

    assert [(each["address"], each["id"], each["what"], each["driver"]) for each in outcome.report["accelerators"]] == [
        ("0000:3b:00.0", "8086:56c0", "Data Center GPU Flex 170", "xe"),
        ("0000:6a:01.0", "8086:0b25", "DSA accelerator", "idxd"),
        ("0000:6a:02.0", "8086:0cfe", "IAA accelerator", "idxd"),
        ("0000:bb:00.0", "8086:56c0", "Data Center GPU Flex 170", "i915"),
    ]
    assert [each["offeredAs"] for each in outcome.report["accelerators"]] == [
        ["gpu.intel.com/xe"],
        ["dsa.intel.com/wq-user-shared", "dsa.intel.com/wq-user-dedicated"],
        ["iaa.intel.com/wq-user-shared", "iaa.intel.com/wq-user-dedicated"],
        ["gpu.intel.com/i915"],
    ]
