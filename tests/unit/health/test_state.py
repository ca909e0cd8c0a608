"""What an agent leaves to the next one."""

from dataclasses import replace
from pathlib import Path

import pytest

from intel_agent import statefile
from intel_agent.health import state
from intel_agent.health.record import Record
from intel_agent.model import Reason, Signs, Verdict

from .course import CARD, HOLD, Course, device, fault

WEDGED = Verdict(CARD, fault(Reason.WEDGED), outlasts_driver=True)
RICH = (
    Course()
    .look(device(CARD, fault(Reason.HALTED)), Signs(CARD, counts={fault(Reason.FATAL_ERRORS): 3}))
    .tell(WEDGED)
    .tell(Verdict(CARD, fault(Reason.RECOVERING), seconds=60, then=fault(Reason.NOT_RECOVERED)))
    .look(device(), Signs(CARD, counts={fault(Reason.FATAL_ERRORS): 4}))
    .record
)


def test_the_next_agent_knows_what_this_one_knew(tmp_path: Path) -> None:
    directory = str(tmp_path / "run")
    state.write(directory, "boot", RICH)
    assert state.read(directory, "boot") == RICH
    assert (tmp_path / "run" / state.FILE).stat().st_mode & 0o777 == 0o600


def test_a_boot_ends_everything(tmp_path: Path) -> None:
    state.write(str(tmp_path), "boot", RICH)
    assert state.read(str(tmp_path), "another") == Record()


def test_the_first_agent_knows_nothing(tmp_path: Path) -> None:
    assert state.read(str(tmp_path), "boot") == Record()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{", id="half a file"),
        pytest.param(b"[]", id="something else"),
        pytest.param(b'{"version": 2, "boot": "boot"}', id="of a later agent"),
        pytest.param(b'{"version": 1, "boot": "boot", "conditions": 7, "counts": []}', id="damaged"),
        pytest.param(
            b'{"version":1,"boot":"boot","conditions":[[["gpu","/sys/x","telepathy",true],{"faults":[],"since":0,"acts":0}]],"counts":[]}',
            id="a reason that this agent does not know",
        ),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b" " * (statefile.LIMIT + 1), id="too long"),
    ],
)
def test_a_file_that_is_no_good_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / state.FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        state.read(str(tmp_path), "boot")


def test_this_boot_has_an_id() -> None:
    assert statefile.boot() == statefile.boot() != ""


def test_a_device_that_was_ill_is_ill_after_a_restart_and_recovers_in_the_same_time(tmp_path: Path) -> None:
    course = Course().look(device(CARD, fault(Reason.HALTED))).look(device()).wait(HOLD - 5)
    state.write(str(tmp_path), "boot", course.record)
    after = replace(course, record=state.read(str(tmp_path), "boot"), seen=Course().seen).look(device())
    assert not after.wait(4.999).healthy
    assert after.wait(0.001).healthy
