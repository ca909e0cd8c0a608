"""What every policy promises, and the examples of the existing Go plugin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.allocation import PolicyName, device_of, preferred
from intel_agent.model import NO_EDITS, Device

POLICIES = st.sampled_from(["none", "balanced", "packed"])
IDS = st.lists(st.builds("card{}-{}".format, st.integers(0, 12), st.integers(0, 12)) | st.text(max_size=8), max_size=30)


@given(POLICIES, IDS, IDS, st.integers(-2, 40))
def test_never_raises_and_never_answers_half(
    policy: PolicyName, available: list[str], must: list[str], size: int
) -> None:
    answer = preferred(policy, available, must, size)

    assert answer in ([], preferred(policy, available, must, size))
    assert len(answer) in {0, size}
    assert len(set(answer)) == len(answer)
    assert set(answer) <= set(available)
    assert not answer or set(must) <= set(answer)


@given(POLICIES, IDS.filter(bool), st.data())
def test_answers_every_request_that_makes_sense(policy: PolicyName, available: list[str], data: st.DataObject) -> None:
    distinct = sorted(set(available))
    must = data.draw(st.lists(st.sampled_from(distinct), unique=True))
    size = data.draw(st.integers(max(len(must), 1), len(distinct)))
    answer = preferred(policy, available, must, size)

    assert len(answer) == size
    assert answer[: len(must)] == must


@given(st.sampled_from(["balanced", "packed"]), st.permutations([f"card{n}-{i}" for n in (1, 2, 10) for i in range(3)]))
def test_order_of_the_request_does_not_matter(policy: PolicyName, available: list[str]) -> None:
    assert preferred(policy, available, [], 5) == preferred(policy, sorted(available), [], 5)


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
    assert preferred(policy, available, must, size) == expected


@pytest.mark.parametrize("name", ["card0", "card4294967295", "wq-user-dedicated-wq4294967295.127", "sgx-provision"])
def test_ids_round_trip_and_fit_a_label(name: str) -> None:
    device = Device(name, "x/y", "/sys/x", NO_EDITS, name, shares=10_000)

    assert {device_of(each) for each in device.ids} == {name}
    assert max(map(len, device.ids)) <= 63
