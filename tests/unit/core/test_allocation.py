"""What every policy promises, and the examples of the existing Go plugins."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.allocation import FUNCTIONS, SHARES, Policy, PolicyName, device_of, preferred, preferring
from intel_agent.model import NO_EDITS, Device

POLICIES = st.sampled_from([*SHARES.values(), *FUNCTIONS.values()])
CARDS = st.builds("card{}-{}".format, st.integers(0, 12), st.integers(0, 12))
ADDRESSES = st.builds("0000:{:02x}:{:02x}.{}".format, st.integers(0, 20), st.integers(0, 2), st.integers(0, 7))
IDS = st.lists(CARDS | ADDRESSES | st.text(max_size=8), max_size=30)


@given(POLICIES, IDS, IDS, st.integers(-2, 40))
def test_never_raises_and_never_answers_half(policy: Policy, available: list[str], must: list[str], size: int) -> None:
    answer = preferred(policy, available, must, size)

    assert answer in ([], preferred(policy, available, must, size))
    assert len(answer) in {0, size}
    assert len(set(answer)) == len(answer)
    assert set(answer) <= set(available)
    assert not answer or set(must) <= set(answer)


@given(POLICIES, IDS.filter(bool), st.data())
def test_answers_every_request_that_makes_sense(policy: Policy, available: list[str], data: st.DataObject) -> None:
    distinct = sorted(set(available))
    must = data.draw(st.lists(st.sampled_from(distinct), unique=True))
    size = data.draw(st.integers(max(len(must), 1), len(distinct)))
    answer = preferred(policy, available, must, size)

    assert len(answer) == size
    assert answer[: len(must)] == must


@given(POLICIES, IDS, IDS, st.integers(-2, 40), st.sets(st.sampled_from([f"card{n}-0" for n in range(12)])))
def test_what_is_preferred_last_is_given_only_when_there_are_too_few_others(
    policy: Policy, available: list[str], must: list[str], size: int, last: set[str]
) -> None:
    answer = preferring(policy, available, must, size, last)
    others = {each for each in available if each not in last}

    assert bool(answer) == bool(preferred(policy, available, must, size))
    assert len(answer) == len(set(answer))
    assert len(answer) in {0, size}
    assert set(answer) <= set(available)
    assert not answer or set(must) <= set(answer)
    assert not last & set(answer) - set(must) or others <= set(answer)


@given(POLICIES, IDS, IDS, st.integers(-2, 40))
def test_without_anything_to_give_last_the_policy_decides(
    policy: Policy, available: list[str], must: list[str], size: int
) -> None:
    assert preferring(policy, available, must, size, ()) == preferred(policy, available, must, size)


@pytest.mark.parametrize(
    ("policy", "size", "expected"),
    [
        ("none", 2, ["card1-0", "card2-0"]),
        ("packed", 2, ["card1-0", "card1-1"]),
        ("none", 5, ["card1-0", "card1-1", "card2-0", "card2-1", "card0-0"]),
        ("balanced", 6, ["card1-0", "card1-1", "card2-0", "card2-1", "card0-0", "card0-1"]),
    ],
)
def test_a_card_that_is_preferred_last_comes_after_the_others(
    policy: PolicyName, size: int, expected: list[str]
) -> None:
    ids = [f"card{number}-{share}" for number in range(3) for share in range(2)]
    assert preferring(SHARES[policy], ids, [], size, {"card0-0", "card0-1"}) == expected


@given(st.sampled_from([SHARES, FUNCTIONS]), st.sampled_from(["balanced", "packed"]), st.data())
def test_order_of_the_request_does_not_matter(
    policies: Mapping[PolicyName, Policy], name: PolicyName, data: st.DataObject
) -> None:
    ids = [f"card{n}-{i}" for n in (1, 2, 10) for i in range(3)]
    ids = ids if policies is SHARES else [f"0000:{bus}:00.{i}" for bus in ("0a", "10", "9b") for i in range(3)]
    available = data.draw(st.permutations(ids))

    assert preferred(policies[name], available, [], 5) == preferred(policies[name], sorted(available), [], 5)


MANY = [
    *("card0-4", "card0-2", "card1-1", "card2-3", "card2-4", "card2-1", "card1-0", "card1-4", "card3-4", "card1-2"),
    *("card0-1", "card2-0", "card2-2", "card1-3", "card3-0", "card3-3", "card0-3", "card0-0", "card3-1", "card3-2"),
]
TENTH = ["card10-0", "card2-0", "card2-1", "card2-10", "card2-2", "card10-1"]


@pytest.mark.parametrize(
    ("policy", "available", "must", "size", "expected"),
    [
        ("none", MANY, [], 4, ["card0-4", "card1-1", "card2-3", "card3-4"]),
        ("balanced", MANY, [], 4, ["card0-0", "card1-0", "card2-0", "card3-0"]),
        ("packed", MANY, [], 4, ["card0-0", "card0-1", "card0-2", "card0-3"]),
        ("none", ["card0-1", "card0-2", "card0-3", "card1-1"], [], 3, ["card0-1", "card1-1", "card0-2"]),
        ("none", ["card1-1", "card0-3", "card1-0", "card0-1"], [], 3, ["card1-1", "card0-3", "card1-0"]),
        pytest.param(
            "balanced",
            TENTH,
            [],
            6,
            ["card2-0", "card2-1", "card2-2", "card10-0", "card2-10", "card10-1"],
            id="card2 before card10 (Go: text order)",
        ),
        pytest.param(
            "packed",
            TENTH,
            [],
            6,
            ["card2-0", "card2-1", "card2-2", "card2-10", "card10-0", "card10-1"],
            id="card2 before card10, share 2 before 10 (Go: text order)",
        ),
        pytest.param("packed", MANY, ["card2-1"], 3, ["card2-1", "card2-0", "card2-2"], id="packed on what is taken"),
        pytest.param("none", MANY, ["card2-1"], 2, ["card2-1", "card0-4"], id="another card than what is taken"),
        pytest.param("balanced", MANY, ["card0-0"], 2, ["card0-0", "card1-0"], id="must-include (Go: ignored)"),
        pytest.param("balanced", MANY, [], 0, [], id="size 0 (Go: panics)"),
        pytest.param("none", MANY, [], 0, [], id="size 0 (Go: one of each card)"),
        pytest.param("none", MANY[:5], [], 6, [], id="more than there is (Go: an error)"),
        pytest.param("packed", MANY, ["card9-0"], 2, [], id="what must be included is not available"),
        pytest.param("packed", MANY, ["card0-0", "card0-1"], 1, [], id="more must be included than asked for"),
        pytest.param("none", ["all"], [], 1, ["all"], id="monitoring"),
        pytest.param("none", ["all"], ["all"], 1, ["all"], id="nothing left to choose"),
    ],
)
def test_prefers(policy: PolicyName, available: list[str], must: list[str], size: int, expected: list[str]) -> None:
    assert preferred(SHARES[policy], available, must, size) == expected


FIRST = ["0000:03:00.4", "0000:04:00.1", "0000:05:00.3", "0000:05:00.4"]
TWENTY = [*FIRST, *sorted({f"0000:0{bus}:00.{part}" for bus in range(3, 7) for part in range(5)} - {*FIRST})]
PACKED = [f"0000:03:00.{part}" for part in range(4)]
BALANCED = [f"0000:0{bus}:00.0" for bus in range(3, 7)]


@pytest.mark.parametrize(
    ("policy", "available", "must", "size", "expected"),
    [
        pytest.param("none", TWENTY, [], 4, FIRST, id="none: as they come"),
        pytest.param("packed", TWENTY, [], 4, PACKED, id="packed: one device after the other"),
        pytest.param("balanced", TWENTY, [], 4, BALANCED, id="balanced: one function of each device"),
        pytest.param("balanced", TWENTY, [], 5, [*BALANCED, "0000:03:00.1"], id="balanced: then the second ones"),
        pytest.param("none", TWENTY, ["0000:06:00.4"], 2, ["0000:06:00.4", FIRST[0]], id="none, included (Go: not)"),
        pytest.param("packed", TWENTY, ["0000:06:00.4"], 2, ["0000:06:00.4", PACKED[0]], id="packed (Go: not)"),
        pytest.param("balanced", TWENTY, ["0000:06:00.0"], 3, [BALANCED[3], *BALANCED[:2]], id="balanced (Go: not)"),
        pytest.param("none", TWENTY, [], 32, [], id="more than there is (Go: an error)"),
        pytest.param(
            "balanced", ["qat", "0000:03:00.0"], [], 2, ["0000:03:00.0", "qat"], id="no address (Go: has no answer)"
        ),
    ],
)
def test_prefers_among_functions(
    policy: PolicyName, available: list[str], must: list[str], size: int, expected: list[str]
) -> None:
    assert preferred(FUNCTIONS[policy], available, must, size) == expected


@pytest.mark.parametrize("name", ["card0", "card4294967295", "wq-user-dedicated-wq4294967295.127", "sgx-provision"])
def test_ids_round_trip_and_fit_a_label(name: str) -> None:
    device = Device(name, "x/y", "/sys/x", NO_EDITS, name, shares=10_000)

    assert {device_of(each) for each in device.ids} == {name}
    assert max(map(len, device.ids)) <= 63
