"""Every broken node gets the right cause and the right remedy, and nothing else is said of it."""

from collections.abc import Mapping

import pytest

from . import cluster, engines, graphics, surroundings
from .conftest import Doctor
from .nodes import Broken

NODES: Mapping[str, Broken] = {**graphics.NODES, **engines.NODES, **surroundings.NODES, **cluster.NODES}


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in NODES.items()])
def test_the_right_cause_and_remedy_are_named(broken: Broken, doctor: Doctor) -> None:
    outcome = doctor(broken)

    wanted = {each.check for each in broken.says if each.severity == "note"}
    told = [each for each in outcome.findings if each["severity"] != "note" or each["check"] in wanted]
    assert [(each["check"], each["severity"], each["subject"]) for each in told] == [
        (each.check, each.severity, each.about) for each in broken.says
    ], told
    for finding, says in zip(told, broken.says, strict=True):
        assert says.problem in finding["problem"]
        assert says.evidence in finding["evidence"]
        assert says.remedy in finding["remedy"]
    assert outcome.report["couldNotLook"] == []
    assert outcome.code == (0 if all(each.severity == "note" for each in broken.says) else 1)


def test_there_are_enough_of_them() -> None:
    assert len(NODES) >= 60
