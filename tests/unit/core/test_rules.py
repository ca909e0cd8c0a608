"""What each key of a rule compares and each action does, by example."""

import dataclasses
import re
from dataclasses import replace

import msgspec
import pytest
from unit.core.rulewords import KIND, OVERALL, card, rule

from intel_agent.inventory import Found, Inventory
from intel_agent.model import (
    NO_EDITS,
    ContainerEdits,
    Device,
    DeviceNode,
    Exclusion,
    Fault,
    Health,
    Readings,
    Reason,
    RuleProblem,
)
from intel_agent.rules import Rule, applied, covering

# --- what each key compares ---

ARC = card(3, numa=1, driver="xe", model="Arc A770", discrete="true", pciAddress="0000:00:03.0", deviceId="0x56a0")
INTEGRATED = card(2, driver="i915", discrete="false", pciAddress="0000:00:02.0", deviceId="0x9a49")
MONITORING = replace(card(9, shares=None), id="all", resource=OVERALL, sysfs_path="/sys/class/drm")
NODE = Found((INTEGRATED, ARC, MONITORING))


@pytest.mark.parametrize(
    ("match", "ids"),
    [
        pytest.param({}, ["card2", "card3"], id="nothing is asked for"),
        ({"pciAddress": "0000:00:02.0"}, ["card2"]),
        ({"pciAddress": ["0000:00:02.0", "0000:00:03.0"]}, ["card2", "card3"]),
        ({"pciAddress": "0000:00:*"}, ["card2", "card3"]),
        pytest.param({"pciAddress": "0000:00:0"}, [], id="the whole address counts"),
        ({"deviceId": "0x56a0"}, ["card3"]),
        ({"deviceId": ["0x9A49", "0x56a0"]}, ["card2", "card3"]),
        ({"deviceId": "0x9a49, 0x1234"}, ["card2"]),
        ({"model": "Arc*"}, ["card3"]),
        pytest.param({"model": "arc*"}, [], id="letter for letter"),
        pytest.param({"model": "*"}, ["card3"], id="no model is known of the other"),
        ({"driver": ["xe", "nouveau"]}, ["card3"]),
        ({"driver": "x?"}, ["card3"]),
        ({"numaNode": 1}, ["card3"]),
        pytest.param({"numaNode": [0, 1, 2]}, ["card3"], id="of the other no node is known"),
        ({"name": "card2"}, ["card2"]),
        ({"name": "card?"}, ["card2", "card3"]),
        pytest.param({"name": "card2-0"}, [], id="a share has no name of its own"),
        pytest.param({"name": "0000:00:03.0"}, ["card3"], id="what the kernel calls it"),
        pytest.param({"name": "all"}, [], id="what stands for all is meant only by its resource"),
        ({"resource": "gpu.intel.com/xe"}, ["card3"]),
        ({"resource": "gpu.intel.com/*"}, ["card2", "card3", "all"]),
        ({"resource": OVERALL}, ["all"]),
        ({"discrete": True}, ["card3"]),
        ({"discrete": False}, ["card2"]),
        ({"attributes": {"deviceId": "0x56a?"}}, ["card3"]),
        ({"attributes": {"driver": ["xe", "i915"], "discrete": "false"}}, ["card2"]),
        ({"attributes": {"memory": "*"}}, []),
        pytest.param({"driver": "xe", "name": "card2"}, [], id="all keys must say so"),
    ],
)  # fmt: skip
def test_each_key_means_certain_devices(match: dict[str, object], ids: list[str]) -> None:
    rules = [msgspec.convert({"match": match, "preferLast": True}, Rule)]
    assert [each.id for each in applied(rules, NODE, KIND).devices if each.decided_by] == ids


# --- what each action does ---


def test_some_cards_are_shared_and_some_exclusive_one_is_reserved_and_one_hidden() -> None:
    cards = tuple(card(number, driver="xe", shares=2) for number in range(6))
    rules = [
        rule(name="card0", hide=True),
        rule(name="card1", reserve=True),
        rule(name="card2", resource="exclusive", shares=1),
        rule(name="card3", preferLast=True),
        rule(name="card4", hide=False),
        rule(shares=4, resource="flex", preferLast=True, reasons={"hung": "fault"}),
    ]
    reserved = Fault(Reason.RESERVED, "configuration", "devices.gpu.rules[1] keeps it from containers")

    assert applied(rules, Found(cards), KIND) == Found(
        (
            replace(cards[1], faults=frozenset({reserved}), decided_by="devices.gpu.rules[1]"),
            replace(cards[2], resource="gpu.intel.com/exclusive", shares=1, decided_by="devices.gpu.rules[2]"),
            replace(cards[3], prefer_last=True, decided_by="devices.gpu.rules[3]"),
            replace(cards[4], decided_by="devices.gpu.rules[4]"),
            replace(
                cards[5],
                resource="gpu.intel.com/flex",
                shares=4,
                prefer_last=True,
                treatments={Reason.HUNG: "fault"},
                decided_by="devices.gpu.rules[5]",
            ),
        ),
        (
            Exclusion(
                path=cards[0].sysfs_path,
                rule="hidden",
                evidence="devices.gpu.rules[0] hides card0 of gpu.intel.com/xe",
                remedy="change devices.gpu.rules[0] if containers should get it",
            ),
        ),
    )


def test_what_a_rule_does_not_name_stays() -> None:
    node = DeviceNode("/dev/a", "/dev/a")
    halted = frozenset({Fault(Reason.HALTED, "sysfs", "it stopped")})
    whole = Device("a", "x/y", "/sys/a", ContainerEdits((node,)), "b", 2, (1,), {"driver": "d"}, halted, ("/sys/b",))
    whole = replace(whole, warnings=halted, depends_on=("/sys/c",), readings=Readings(lanes=8))
    (seen,) = applied([rule(hide=False)], Found((whole,)), KIND).devices
    plain = Device("", "", "", NO_EDITS, "")
    given = {"prefer_last", "treatments", "decided_by"}
    fields = {each.name for each in dataclasses.fields(Device) if each.init} - given

    assert seen == replace(whole, decided_by="devices.gpu.rules[0]")
    assert seen.readings == whole.readings  # no part of what makes devices equal
    assert all(getattr(whole, name) != getattr(plain, name) for name in fields)  # or the line above proves nothing


def test_a_reserved_device_keeps_its_other_faults() -> None:
    halted = Fault(Reason.HALTED, "sysfs", "it stopped")
    (seen,) = applied([rule(reserve=True)], Found((replace(ARC, faults=frozenset({halted})),)), KIND).devices

    assert {each.reason for each in seen.faults} == {Reason.HALTED, Reason.RESERVED}
    assert seen.health is Health.UNHEALTHY


def test_rules_that_do_nothing_say_why() -> None:
    rules = [
        rule(name="card?", preferLast=True),
        rule(driver="xe", hide=True),
        rule(driver="nouveau", hide=True),
        rule(of_resource=OVERALL, shares=2),
    ]

    assert applied(rules, NODE, KIND).rule_problems == (
        RuleProblem(
            "devices.gpu.rules[1]",
            "decides on no device: what it matches, devices.gpu.rules[0] matches before",
        ),
        RuleProblem("devices.gpu.rules[2]", "matches no device of this node"),
        RuleProblem("devices.gpu.rules[3]", "shares: all cannot be shared"),
    )
    assert applied(rules, Found(), KIND).rule_problems == ()


def test_a_device_that_cannot_be_shared_gets_the_rest_of_the_rule() -> None:
    exclusive = [card(number, shares=None) for number in range(5)]
    seen = applied([rule(shares=2, resource="mine")], Found(tuple(exclusive)), KIND)

    assert [(each.resource, each.shares) for each in seen.devices] == [("gpu.intel.com/mine", None)] * 5
    assert seen.rule_problems == (
        RuleProblem("devices.gpu.rules[0]", "shares: card0, card1, card2 and 2 more cannot be shared"),
    )


def test_an_id_that_two_devices_have_after_a_rule_belongs_to_the_first() -> None:
    one, other = card(1), replace(card(2, driver="xe"), id="card1")
    seen = applied([rule(resource="both")], Found((one, other)), KIND)

    assert [each.sysfs_path for each in seen.devices] == [one.sysfs_path]
    assert [(each.path, each.rule) for each in seen.exclusions] == [(other.sysfs_path, "duplicate-id")]
    assert Inventory.of({"gpu": seen}).found["gpu"] == seen


@pytest.mark.parametrize(
    ("rules", "place", "earlier"),
    [
        ([rule(hide=True), rule(driver="xe", hide=True)], 1, 0),
        ([rule(driver="x*", hide=True), rule(driver=["xe", "x?"], name="card0", hide=True)], 1, 0),
        ([rule(driver="xe", hide=True), rule(attributes={"driver": "xe"}, hide=True)], 1, 0),
        ([rule(driver="x?", hide=True), rule(driver="x*", hide=True)], 1, None),
        ([rule(driver="xe", name="card0", hide=True), rule(driver="xe", hide=True)], 1, None),
        ([rule(driver="xe", hide=True), rule(driver=["xe", "i915"], hide=True)], 1, None),
        pytest.param(
            [rule(hide=True), rule(of_resource=OVERALL, hide=True)], 1, None, id="what stands for all is another thing"
        ),
        ([rule(hide=True), rule(of_resource="gpu.intel.com/xe", hide=True)], 1, 0),
    ],
)
def test_a_rule_behind_a_wider_one_is_covered(rules: list[Rule], place: int, earlier: int | None) -> None:
    assert covering(rules, place, KIND.overall) == earlier


def test_patterns_have_no_other_signs_than_star_and_question_mark() -> None:
    odd = card(1, model=re.escape("[a-z]+(x)"))
    assert applied([rule(model=odd.attributes["model"], hide=True)], Found((odd,)), KIND).devices == ()
    assert applied([rule(model="*[a-z]*", hide=True)], Found((card(1, model="b"),)), KIND).devices != ()
