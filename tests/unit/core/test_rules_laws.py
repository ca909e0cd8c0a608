"""Laws over any rules: what a rule means is said here a second time, as plainly as it can be."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from unit.core.rulewords import KIND, OVERALL

from intel_agent.inventory import Found
from intel_agent.model import NO_EDITS, Device
from intel_agent.rules import HIDDEN_RULE, Match, Rule, applied, covering

PATTERNS = st.sampled_from(["a", "b", "ab", "a*", "*b", "?", "*", "a?", "**", "?*", "a.", "["])
VALUES = st.sampled_from(["a", "b", "ab", "abb", "b\na", "?", "[", "a."])
TEXTS = st.lists(PATTERNS, min_size=1, max_size=2).map(tuple)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "model": TEXTS,
        "driver": PATTERNS,
        "numaNode": st.lists(st.integers(0, 2), min_size=1, max_size=2),
        "discrete": st.booleans(),
        "attributes": st.dictionaries(st.sampled_from(["model", "unit"]), TEXTS | PATTERNS, max_size=2),
        "name": st.sampled_from(["card1", "card*", "*:0?.0", "all"]),
        "resource": st.sampled_from(["gpu.intel.com/xe", "*", "*/monitoring", "*/?e"]),
        "pciAddress": st.sampled_from(["0000:00:01.0", "0000:00:*"]),
        "deviceId": st.sampled_from(["0x0001", "0x0001,0x0002"]),
    },
)
ACTIONS: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [
        {"hide": True},
        {"hide": False},
        {"reserve": True},
        {"preferLast": True},
        {"reasons": {"hung": "ignore"}},
        {"shares": 1},
        {"shares": 3},
        {"resource": "xe"},
        {"resource": "other", "shares": 2, "preferLast": True},
    ]
)


@st.composite
def rules_of_any_kind(draw: st.DrawFn) -> Rule:
    return msgspec.convert({"match": draw(MATCHES), **draw(ACTIONS)}, Rule)


RULES = rules_of_any_kind()
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "model": VALUES,
        "driver": VALUES,
        "unit": VALUES,
        "discrete": st.sampled_from(["true", "false", "maybe"]),
        "pciAddress": st.sampled_from(["0000:00:01.0", "0000:00:02.0"]),
        "deviceId": st.sampled_from(["0x0001", "0x0002"]),
    },
)
DEVICES = st.builds(
    Device,
    id=st.sampled_from(["card0", "card1", "card1-0", "all"]),
    resource=st.sampled_from(["gpu.intel.com/i915", "gpu.intel.com/xe", OVERALL]),
    sysfs_path=st.sampled_from([f"/sys/devices/0000:00:0{number}.0" for number in range(3)]),
    edits=st.just(NO_EDITS),
    cdi_name=st.just("card"),
    shares=st.sampled_from([None, 1, 2]),
    numa_nodes=st.sampled_from([(), (0,), (1,), (0, 1)]),
    attributes=ATTRIBUTES,
)


def numbered(devices: list[Device]) -> Found:
    """Return a look whose devices have numbers that no rule changes."""
    return Found.of(replace(each, cdi_name=str(number)) for number, each in enumerate(devices))


LOOKS = st.lists(DEVICES, max_size=6).map(numbered)


def fits(pattern: str, value: str) -> bool:
    """Compare letter for letter; `*` stands for any letters, `?` for one."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return fits(pattern[1:], value) or (bool(value) and fits(pattern, value[1:]))
    return bool(value) and pattern[0] in {"?", value[0]} and fits(pattern[1:], value[1:])


def asked(match: Match) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what is looked at and what it has to be, from the rule's text."""
    written: Mapping[str, object] = msgspec.to_builtins(match)
    for key, value in written.items():
        match key, value:
            case "attributes", dict():
                yield from ((name, texts(each)) for name, each in value.items())  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]  # of a document
            case "deviceId", str():
                yield key, tuple(value.split(","))
            case _:
                yield key, texts(value)


def texts(value: object) -> tuple[str, ...]:
    match value:
        case bool():
            return (str(value).lower(),)
        case list() | tuple():
            return tuple(str(each) for each in value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]  # of a document
        case _:
            return (str(value),)


def meant(match: Match, device: Device) -> bool:
    """Say for one device what a rule says of all at once."""
    if device.resource == OVERALL and match.resource is msgspec.UNSET:
        return False
    has = {
        **{key: (value,) for key, value in device.attributes.items()},
        "name": (device.id, device.sysfs_path.rpartition("/")[2]),
        "resource": (device.resource,),
        "numaNode": tuple(map(str, device.numa_nodes)),
    }
    return all(
        any(fits(pattern, value) for pattern in patterns for value in has.get(key, ()))
        for key, patterns in asked(match)
    )


def first(rules: list[Rule], device: Device) -> str | None:
    return next((f"devices.gpu.rules[{place}]" for place, each in enumerate(rules) if meant(each.match, device)), None)


@given(st.lists(RULES, max_size=4), LOOKS)
def test_the_first_rule_that_matches_decides(rules: list[Rule], found: Found) -> None:
    seen = applied(rules, found, KIND)
    before = {each.cdi_name: each for each in found.devices}
    hiding = [each.evidence for each in seen.exclusions if each.rule == HIDDEN_RULE]

    assert all(each.decided_by == first(rules, before[each.cdi_name]) for each in seen.devices)
    assert hiding == [
        f"{setting} hides {each.id} of {each.resource}"
        for each in found.devices
        if (setting := first(rules, each)) and rules[int(setting[-2])].hide is True
    ]


@given(st.lists(RULES, max_size=4), LOOKS)
def test_what_no_rule_matches_is_the_same_object_and_rules_change_it_no_more(rules: list[Rule], found: Found) -> None:
    seen = applied(rules, found, KIND)
    untouched = [each for each in seen.devices if each.decided_by is None]

    known = {id(each) for each in found.devices}
    assert all(id(each) in known for each in untouched)
    assert list(applied(rules, Found(tuple(untouched)), KIND).devices) == untouched
    assert applied([], found, KIND) == found


@given(st.lists(RULES, max_size=4), LOOKS)
def test_hidden_and_offered_are_what_was_found(rules: list[Rule], found: Found) -> None:
    seen = applied(rules, found, KIND)
    new = [*seen.exclusions]
    for each in found.exclusions:  # one by one: what is new may say the same
        new.remove(each)

    assert sorted([each.sysfs_path for each in seen.devices] + [each.path for each in new]) == sorted(
        each.sysfs_path for each in found.devices
    )
    assert {each.rule for each in new} <= {HIDDEN_RULE, "duplicate-id"}
    assert seen.exclusions[: len(found.exclusions)] == found.exclusions


@given(st.lists(RULES, max_size=4), LOOKS)
def test_ids_stay_unique_and_devices_in_order(rules: list[Rule], found: Found) -> None:
    seen = applied(rules, found, KIND)
    ids = [(each.resource, name) for each in seen.devices for name in each.ids]
    places = [int(each.cdi_name) for each in seen.devices]

    assert len(ids) == len(set(ids))
    assert places == sorted(places)


@given(st.lists(RULES, max_size=4), LOOKS)
def test_a_resource_stays_in_the_domain_of_its_kind(rules: list[Rule], found: Found) -> None:
    assert {each.resource.partition("/")[0] for each in applied(rules, found, KIND).devices} <= {"gpu.intel.com"}


@given(st.lists(RULES, min_size=1, max_size=4), st.lists(DEVICES, max_size=6))
def test_a_rule_that_is_covered_never_decides(rules: list[Rule], devices: list[Device]) -> None:
    for place in range(len(rules)):
        if (earlier := covering(rules, place, KIND.overall)) is not None:
            assert earlier < place
            assert all(meant(rules[earlier].match, each) for each in devices if meant(rules[place].match, each))


@given(st.lists(RULES, max_size=4), LOOKS)
def test_a_rule_that_does_nothing_is_told(rules: list[Rule], found: Found) -> None:
    seen = applied(rules, found, KIND)
    deciding = {first(rules, each) for each in found.devices}
    idle = {f"devices.gpu.rules[{place}]" for place in range(len(rules))} - deciding if found.devices else set[str]()

    assert {each.setting for each in seen.rule_problems if not each.problem.startswith("shares: ")} == idle
