"""What the chart has for each kind: its section, what pods mount for it, and the label of nodes that have it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from e2e.kinds import SECTIONS

from intel_agent import pci
from intel_agent.backends import Backend
from intel_agent.config import Devices
from intel_agent.simulation.tree import node, parse

from .helm import Helm
from .nodefeatures import FEATURE, RULES, Processor, judged, pci_devices

KINDS = Devices.__struct_fields__

MODULES: Mapping[str, tuple[frozenset[str], ...]] = {
    "gpu": (frozenset({"i915"}), frozenset({"xe"})),
    "npu": (frozenset({"intel_vpu"}),),
    "gaudi": (frozenset({"habanalabs"}),),
    "dsa": (frozenset({"idxd"}),),
    "iaa": (frozenset({"idxd"}),),
    "dlb": (frozenset({"dlb2"}),),
    "fpga-arria10": (frozenset({"dfl_pci"}), frozenset({"intel_fpga_pci"})),
    "fpga-stratix10": (frozenset({"dfl_pci"}), frozenset({"intel_fpga_pci"})),
    "qat": (frozenset({"intel_qat", "vfio_pci"}),),
}
"""The modules of which one group has to be loaded, by label. SGX has none; NFD itself labels nodes for `nic`."""

DRIVERS = frozenset(module for groups in MODULES.values() for group in groups for module in group)

UNLABELLED = frozenset({"09c5", "0b2c", "0b30", "bcbd", "bcbf", "bcc0", "bcc1", "bcce", "bccf"})
"""Virtual functions of FPGA cards, FPGAs inside of processors, and cards of neither family."""


def of_kinds(labels: Mapping[str, str]) -> set[str]:
    """Return which kinds a node is labelled to have."""
    prefix = f"{FEATURE}/"
    return {key.removeprefix(prefix) for key, each in labels.items() if key.startswith(prefix) and each == "true"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_arrives_whole_and_changes_nothing_else(helm: Helm, tmp_path: Path, kind: str) -> None:
    section = {**SECTIONS.get(kind, {}), "cdi": "both"}
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"devices": {kind: section}}))
    before, after = helm.render(), helm.render("--values", values)
    assert yaml.safe_load(after.file)["devices"] == json.loads(json.dumps({kind: section}))
    changed = {each["kind"] for each in after if each not in before}
    assert changed == ({"ConfigMap", "DaemonSet"} if kind == "nic" else {"ConfigMap"})


@pytest.mark.chart
@pytest.mark.parametrize("label", MODULES)
def test_a_label_needs_the_hardware_and_one_of_its_drivers(label: str) -> None:
    devices = pci_devices(parse(node("fpga" if label == "fpga-stratix10" else "everything")))
    drivers = frozenset[str]().union(*MODULES[label])

    assert label not in of_kinds(judged(devices, DRIVERS - drivers).labels)
    assert label not in of_kinds(judged([], DRIVERS).labels)
    for group in MODULES[label]:
        assert label in of_kinds(judged(devices, group).labels)
        for module in group:
            assert label not in of_kinds(judged(devices, group - {module}).labels)


@pytest.mark.chart
def test_a_node_with_everything_has_the_labels_of_all_kinds() -> None:
    machines = [*pci_devices(parse(node("everything"))), *pci_devices(parse(node("fpga")))]
    labels = of_kinds(judged(machines, DRIVERS, Processor()).labels)

    assert labels == {*MODULES, "sgx"}
    assert {label.partition("-")[0] for label in labels} == {*KINDS} - {"nic"}


@pytest.mark.chart
@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        pytest.param(Processor(), {"sgx"}, id="all of it"),
        pytest.param(Processor(instructions=("SGX",)), set[str](), id="no flexible launch control"),
        pytest.param(Processor(enabled="false"), set[str](), id="off in the firmware"),
        pytest.param(Processor(configuration=()), set[str](), id="not in the kernel"),
    ],
)
def test_sgx_is_a_label_and_an_amount_of_memory(processor: Processor, expected: set[str]) -> None:
    answer = judged([], [], processor)

    assert of_kinds(answer.labels) == expected
    # NFD's master looks up what comes behind the @.
    assert answer.resources == ({"sgx.intel.com/epc": "@cpu.security.sgx.epc"} if expected else {})


def physical(backend: Backend, vendor: str, pci_class: str) -> Iterator[str]:
    """Yield the ids of all physical functions that a kind knows, as NFD writes them."""
    for number in range(1 << 16):
        found = backend.recognised(pci.Identity(vendor, f"0x{number:04x}", f"0x{pci_class}00"))
        if found is not None and not found.name.startswith("virtual function"):
            yield f"{number:04x}"


@pytest.mark.parametrize("kind", ["npu", "qat", "dsa", "iaa", "dlb", "fpga"])
def test_rules_have_the_ids_that_the_agent_knows(kind: str) -> None:
    terms = [
        term["matchExpressions"]
        for rule in RULES
        if rule["name"].removeprefix("intel.").partition("-")[0] == kind
        for term in rule["matchFeatures"]
        if term["feature"] == "pci.device"
    ]
    (vendor,), (pci_class,) = ({each for term in terms for each in term[key]["value"]} for key in ("vendor", "class"))
    ruled = Counter(each for term in terms for each in term["device"]["value"])
    known = physical(getattr(Devices(), kind), f"0x{vendor}", pci_class)

    assert ruled == Counter(set(known) - UNLABELLED)
