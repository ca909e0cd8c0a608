"""An administrator's word about devices."""

from dataclasses import replace
from pathlib import Path

import pytest

from intel_agent.errors import AgentError
from intel_agent.health import marks
from intel_agent.health.marks import Mark
from intel_agent.inventory import Found, Inventory
from intel_agent.model import Reason, Verdict

from .course import CARD, Course, device, event, fault

UNIT = "/sys/devices/pci0000:6a/0000:6a:01.0"
QUEUES = tuple(device(f"{UNIT}/dsa0/wq0.{number}", name=f"wq0.{number}", shares=2) for number in range(2))
ELSEWHERE = device("/sys/devices/pci0000:ba/0000:bb:00.0", name="twin")
TWIN = replace(device("/sys/devices/pci0000:ba/0000:bc:00.0", name="twin"), resource="qat.intel.com/twin")
NODE = Inventory.of({"gpu": Found((device(), ELSEWHERE)), "dsa": Found(QUEUES), "qat": Found((TWIN,))})


@pytest.mark.parametrize(
    ("name", "places"),
    [
        pytest.param("card0", [("gpu", CARD)], id="an id"),
        pytest.param("gpu.intel.com/xe/card0", [("gpu", CARD)], id="with its resource"),
        pytest.param("wq0.1-1", [("dsa", QUEUES[1].sysfs_path)], id="a share stands for its device"),
        pytest.param("0000:3b:00.0", [("gpu", CARD)], id="a PCI address"),
        pytest.param("0000:6a:01.0", [("dsa", UNIT)], id="a PCI address, of all that belongs to it"),
        pytest.param(UNIT, [("dsa", UNIT)], id="a path of all that belongs to it"),
        pytest.param(QUEUES[0].sysfs_path, [("dsa", QUEUES[0].sysfs_path)], id="a path"),
    ],
)
def test_a_device_has_many_names(name: str, places: list[marks.Place]) -> None:
    assert marks.places(NODE, name) == places


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("card7", "'card7' is no device here: give an id, a PCI address", id="nothing"),
        pytest.param("", "'' is no device here", id="no name"),
        pytest.param("twin", "'twin' may be any of: ", id="several"),
    ],
)
def test_a_name_must_mean_one_device(name: str, problem: str) -> None:
    with pytest.raises(AgentError, match=problem):
        marks.places(NODE, name)


def test_unhealthy_is_unhealthy() -> None:
    course = Course(marks={("gpu", CARD): Mark("unhealthy", "loud")}).look(device())
    assert course.faults == {"card0": {Reason.MARKED}}
    assert [each.detail for each in course.judged.devices[0].faults] == ["loud"]


def test_healthy_makes_warnings_of_faults() -> None:
    course = Course(marks={("gpu", CARD): Mark("healthy")}).look(device(CARD, fault(Reason.HALTED)))
    course.tell(Verdict(CARD, fault(Reason.WEDGED)))
    assert course.healthy
    assert course.warnings == {"card0": {Reason.HALTED, Reason.WEDGED}}


def test_a_device_that_leaves_is_not_there_whoever_says_so() -> None:
    course = Course(marks={("gpu", CARD): Mark("healthy")}).look(device()).hear(event("remove"))
    assert course.faults == {"card0": {Reason.GONE}}


def test_a_mark_is_for_all_that_is_below_it_and_the_nearest_counts() -> None:
    words = {("gpu", UNIT): Mark("unhealthy"), ("gpu", QUEUES[1].sysfs_path): Mark("healthy")}
    assert Course(marks=words).look(*QUEUES).faults == {"wq0.0": {Reason.MARKED}, "wq0.1": set()}


def test_a_mark_is_for_one_kind() -> None:
    assert Course(marks={("dsa", CARD): Mark("unhealthy")}).look(device()).healthy


def test_healthy_forgets_what_was_told_and_not_what_is_seen() -> None:
    course = Course().look(device(CARD, fault(Reason.HALTED))).tell(Verdict(CARD, fault(Reason.WEDGED)))
    course.record = course.record.forgiven(CARD)
    assert course.faults == {"card0": {Reason.HALTED}}


def test_marks_are_kept(tmp_path: Path) -> None:
    words = {("gpu", CARD): Mark("unhealthy", "loud"), ("dsa", UNIT): Mark("healthy")}
    directory = str(tmp_path / "state")
    assert marks.read(directory) == {}
    marks.write(directory, words)
    assert marks.read(directory) == words
    assert (tmp_path / "state" / marks.FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"{", b'{"version": 2, "marks": []}', b'{"version": 1, "marks": [1]}', b" " * (marks.LIMIT + 1)]
)
def test_a_file_that_is_no_good_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / marks.FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        marks.read(str(tmp_path))
