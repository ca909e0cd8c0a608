"""Which labels nodes with GPUs get from the chart's rules, asked of Node Feature Discovery's own judge."""

import functools
from collections import Counter
from collections.abc import Iterable

import pytest

from intel_agent.gpumodels import DISCRETE
from intel_agent.simulation.tree import node, parse

from .nodefeatures import FEATURE, RULES, judged, pci_devices

GPU = "gpu.intel.com"


def labels(devices: Iterable[dict[str, str]], *modules: str) -> dict[str, str]:
    """Return the labels of a node with these PCI functions and kernel modules."""
    return dict(judged(devices, modules).labels)


@functools.cache
def gpu_server() -> dict[str, str]:
    return labels(pci_devices(parse(node("gpu-server"))), "i915", "xe")


@pytest.mark.chart
def test_a_gpu_server_says_which_cards_it_has_and_how_many() -> None:
    prefix = f"{GPU}/device-id."
    ids = {key.removeprefix(prefix): value for key, value in gpu_server().items() if key.startswith(prefix)}

    assert ids == {
        **dict.fromkeys(
            (
                f"{each}.present"
                for each in (
                    "0300-e20b",
                    "0300-e211",
                    "0380-0bda",
                    "0380-56c0",
                    "0380-56c1",
                    "0380-e212",
                    "0380-e223",
                )
            ),
            "true",
        ),
        "0300-e20b.count": "1",
        "0300-e211.count": "1",
        "0380-0bda.count": "1",
        "0380-56c0.count": "1",
        "0380-56c1.count": "1",
        "0380-e212.count": "3",
        "0380-e223.count": "4",
    }


@pytest.mark.chart
def test_the_kind_has_its_label() -> None:
    assert gpu_server()[f"{FEATURE}/gpu"] == "true"


def cards(device: str, count: int, pci_class: str = "0380") -> list[dict[str, str]]:
    return [{"class": pci_class, "vendor": "8086", "device": device}] * count


@pytest.mark.chart
@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (cards("0bda", 4), {"family": "Max_Series", "product": "Max_1100", "device.count": "4"}),
        (cards("0bd5", 2), {"family": "Max_Series", "product": "Max_1550", "device.count": "2"}),
        (cards("0bd9", 1), {"family": "Max_Series"}),
        (cards("56c0", 3), {"family": "Flex_Series", "product": "Flex_170", "device.count": "3"}),
        (cards("56c1", 1), {"family": "Flex_Series", "product": "Flex_140", "device.count": "1"}),
        (cards("56a0", 1, "0300"), {"family": "A_Series"}),
        (cards("e20b", 1, "0300"), {"family": "B_Series"}),
        (cards("46a6", 1, "0300"), {}),
    ],
)
def test_a_family_and_a_product_have_their_labels(devices: list[dict[str, str]], expected: dict[str, str]) -> None:
    found = {key.removeprefix(f"{GPU}/"): value for key, value in labels(devices).items()}

    assert {key: value for key, value in found.items() if not key.startswith("device-id.")} == expected


@pytest.mark.chart
def test_each_id_is_counted_by_itself() -> None:
    """The rule of the existing plugins counts all GPUs of a class under the first one's id."""
    found = labels([*cards("56c1", 2), *cards("56c0", 1), *cards("46a6", 1, "0300"), *cards("2000", 9, "0200")])

    assert {key: value for key, value in found.items() if key.endswith(".count") and "device-id" in key} == {
        f"{GPU}/device-id.0380-56c1.count": "2",
        f"{GPU}/device-id.0380-56c0.count": "1",
        f"{GPU}/device-id.0300-46a6.count": "1",
    }


@pytest.mark.chart
def test_a_node_without_gpus_has_none_of_these_labels() -> None:
    assert labels([{"class": "0300", "vendor": "1a03", "device": "2000"}], "i915", "xe") == {}


@pytest.mark.parametrize(
    ("rule", "family"),
    [
        ("intel.gpu.max", "Data Center GPU Max"),
        ("intel.gpu.arc-a", "Arc A-Series"),
        ("intel.gpu.arc-b", "Arc B-Series"),
    ],
)
def test_a_family_has_the_ids_that_the_agent_knows(rule: str, family: str) -> None:
    (found,) = (each for each in RULES if each["name"] == rule)
    (term,) = found["matchFeatures"]

    assert Counter(term["matchExpressions"]["device"]["value"]) == Counter(DISCRETE[family].split())
