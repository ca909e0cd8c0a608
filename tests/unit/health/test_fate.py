"""Who shares a fault, and what is made of it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.config import Config, Devices, Health
from intel_agent.health import fate
from intel_agent.health.condition import EVERY_KIND
from intel_agent.inventory import Found, Inventory
from intel_agent.model import SETTLED, Reason, Signs, Treatment, Verdict

from .course import BRIDGE, CARD, Course, device, event, fault

PHYSICAL = "/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.0"
VIRTUAL = tuple(device(f"{PHYSICAL[:-1]}{number}", name=f"card{number}", depends_on=(PHYSICAL,)) for number in (1, 2))
UNIT = "/sys/devices/pci0000:6a/0000:6a:01.0"
QUEUES = tuple(device(f"{UNIT}/dsa0/wq0.{number}", name=f"wq0.{number}") for number in range(3))
NEIGHBOUR = device("/sys/devices/pci0000:6a/0000:6a:01.0x", name="neighbour")
WHOLE = device("/sys/class/drm", name="all")
ALL = (device(CARD, shares=2), *VIRTUAL, *QUEUES, NEIGHBOUR, WHOLE)


@pytest.mark.parametrize(
    ("path", "hit"),
    [
        pytest.param(CARD, {"card0"}, id="a card"),
        pytest.param(BRIDGE, {"card0"}, id="what hangs on a bridge"),
        pytest.param(PHYSICAL, {"card1", "card2"}, id="virtual functions of a physical one"),
        pytest.param(PHYSICAL.rpartition("/")[0], {"card1", "card2"}, id="virtual functions of what hangs on a bridge"),
        pytest.param(VIRTUAL[0].sysfs_path, {"card1"}, id="a virtual function, alone"),
        pytest.param(UNIT, {"wq0.0", "wq0.1", "wq0.2"}, id="queues of a function"),
        pytest.param(f"{UNIT}/dsa0", {"wq0.0", "wq0.1", "wq0.2"}, id="queues of a unit"),
        pytest.param(QUEUES[1].sysfs_path, {"wq0.1"}, id="a queue, alone"),
        pytest.param(f"{CARD}/drm/card0", set[str](), id="a part is not the whole"),
    ],
)
def test_a_fault_hits_what_hangs_on_its_place(path: str, hit: set[str]) -> None:
    course = Course().look(*ALL).tell(Verdict(path, fault(Reason.WEDGED)), EVERY_KIND)
    assert {name for name, faults in course.faults.items() if faults} == hit
    assert all(course.faults[name] == {Reason.WEDGED} for name in hit)


def test_what_a_look_sees_of_a_place_hits_what_hangs_on_it() -> None:
    course = Course().look(*ALL, Signs(UNIT, frozenset({fault(Reason.HALTED)})))
    assert {name for name, faults in course.faults.items() if faults} == {"wq0.0", "wq0.1", "wq0.2"}


def test_all_shares_of_a_card_are_unhealthy() -> None:
    card = Course().look(device(shares=3)).tell(Verdict(CARD, fault(Reason.WEDGED))).judged.devices[0]
    assert (card.ids, card.health) == (("card0-0", "card0-1", "card0-2"), "Unhealthy")


def test_what_one_kind_says_is_no_matter_of_another() -> None:
    queue = device(f"{CARD}/dsa0/wq0.0", name="wq0.0")
    course = Course().look(device(), dsa=Found((queue,))).tell(Verdict(CARD, fault(Reason.WEDGED)))
    assert course.faults == {"card0": {Reason.WEDGED}, "wq0.0": set()}


def test_a_device_without_faults_is_the_same_object() -> None:
    sound = device(name="card1", path=PHYSICAL)
    course = Course().look(device(), sound).tell(Verdict(CARD, fault(Reason.WEDGED)))
    assert next(each for each in course.judged.devices if each.id == "card1") is course.seen.devices[1]


def test_signs_are_for_the_monitor_only() -> None:
    assert Course().look(device(), Signs(CARD, counts={fault(Reason.HUNG): 3})).judged.found["gpu"] == Found(
        (device(),)
    )


def config(every: Mapping[str, Treatment] | None = None, gpu: Mapping[str, Treatment] | None = None) -> Config:
    return Config(health=Health(reasons=dict(every or {})), devices=Devices(gpu=Gpu(reasons=dict(gpu or {}))))


@pytest.mark.parametrize(
    ("config", "treatment"),
    [
        pytest.param(config(), "fault", id="by default"),
        pytest.param(config({"wedged": "warning"}), "warning", id="for all kinds"),
        pytest.param(config({"hung": "ignore"}), "fault", id="another reason"),
        pytest.param(
            config({"wedged": "warning"}, {"wedged": "ignore"}), "ignore", id="the kind's section comes first"
        ),
        pytest.param(config({"wedged": "ignore"}, {"hung": "fault"}), "ignore", id="not in the kind's section"),
    ],
)
def test_a_reason_is_treated_as_configured(config: Config, treatment: Treatment) -> None:
    course = Course(config).look(device()).tell(Verdict(CARD, fault(Reason.WEDGED)))
    said = {"fault": course.faults, "warning": course.warnings}
    assert {name for name, each in said.items() if each["card0"]} == {treatment} - {"ignore"}
    assert course.healthy is (treatment != "fault")


def test_another_treatment_takes_effect_at_once() -> None:
    course = Course().look(device()).tell(Verdict(CARD, fault(Reason.WEDGED)))
    course.config = config({"wedged": "warning"})
    assert course.healthy
    course.config = config()
    assert not course.healthy


@pytest.mark.parametrize(
    ("of_a_rule", "treatment"),
    [
        pytest.param({Reason.WEDGED: "ignore"}, "ignore", id="a rule comes before the kind's section"),
        pytest.param({Reason.WEDGED: "fault"}, "fault", id="a rule may be as strict as without any"),
        pytest.param({Reason.HUNG: "fault"}, "warning", id="what the rule does not name follows the section"),
    ],
)
def test_a_rule_says_it_for_its_devices_alone(of_a_rule: Mapping[Reason, Treatment], treatment: Treatment) -> None:
    other = device(PHYSICAL, name="card1")
    course = Course(config({"wedged": "ignore"}, {"wedged": "warning"}))
    course.look(replace(device(), treatments=of_a_rule), other)
    course.tell(Verdict(CARD, fault(Reason.WEDGED))).tell(Verdict(PHYSICAL, fault(Reason.WEDGED)))
    said = {"fault": course.faults, "warning": course.warnings}
    assert {name for name, each in said.items() if each["card0"]} == {treatment} - {"ignore"}
    assert {name for name, each in said.items() if each["card1"]} == {"warning"}


def test_who_shares_a_fault_makes_of_it_what_its_own_rule_says() -> None:
    one, other = VIRTUAL
    course = Course().look(replace(one, treatments={Reason.WEDGED: "ignore"}), other)
    course.tell(Verdict(PHYSICAL, fault(Reason.WEDGED)))
    assert course.faults == {"card1": set(), "card2": {Reason.WEDGED}}


def test_no_rule_makes_a_taste_of_what_is_none() -> None:
    course = Course().look(replace(device(), treatments=dict.fromkeys(SETTLED, "ignore"))).hear(event("remove"))
    assert course.faults == {"card0": {Reason.GONE}}


def test_what_is_no_matter_of_taste_cannot_be_configured() -> None:
    course = Course(config(dict.fromkeys(SETTLED, "ignore"))).look(device()).hear(event("remove"))
    assert course.faults == {"card0": {Reason.GONE}}


def test_a_device_has_every_fault_of_a_reason() -> None:
    both = [fault(Reason.HALTED, "one"), fault(Reason.HALTED, "two")]
    assert Course().look(device(CARD, *both)).judged.devices[0].faults == {*both}


def test_one_look_tells_what_a_look_can_tell() -> None:
    seen = Inventory.of({"gpu": Found.of([device(CARD, fault(Reason.HALTED), fault(Reason.HUNG))])})
    (card,) = fate.at_first_sight(seen, Config()).devices
    assert card.faults == {fault(Reason.HALTED)}
    assert card.warnings == {fault(Reason.HUNG)}
