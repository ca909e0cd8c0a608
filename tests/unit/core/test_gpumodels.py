"""The table of GPUs does not contradict itself, and names what others' rules name."""

import re

import pytest

from intel_agent.gpumodels import DISCRETE, INTEGRATED, NAMES, model

TABLES = {**DISCRETE, **INTEGRATED}


def test_every_id_is_of_one_family() -> None:
    ids = [each for family in TABLES.values() for each in family.split()]

    assert len(ids) == len(set(ids))
    assert [each for each in ids if not re.fullmatch("[0-9a-f]{4}", each)] == []
    assert set(NAMES) <= set(ids)


def test_no_family_is_both() -> None:
    assert not DISCRETE.keys() & INTEGRATED.keys()
    assert {each.discrete for ids in DISCRETE.values() for id_ in ids.split() if (each := model(f"0x{id_}"))} == {True}


A_SERIES = (
    "56a6 56a5 56a1 56a0 5694 5693 5692 5691 5690 56b3 56b2 56a4 56a3 5697 5696 5695 56b1 56b0 56a2 56ba 56bc 56bd 56bb"
)


@pytest.mark.parametrize(
    ("family", "ids"),
    [
        ("Data Center GPU Max", "0bda 0bd5 0bd9 0bdb 0bd7 0bd6 0bd0"),
        ("Data Center GPU Flex", "56c0 56c1"),
        ("Arc A-Series", A_SERIES),
    ],
)
def test_agrees_with_the_labels_of_the_existing_plugin(family: str, ids: str) -> None:
    assert {each.family for id_ in ids.split() if (each := model(f"0x{id_}"))} == {family}


def test_nothing_is_said_of_other_ids() -> None:
    assert model("0x0fff") is None
    assert model("56c0") is None
