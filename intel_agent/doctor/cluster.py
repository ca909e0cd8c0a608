"""Checks of what the cluster knows of the node: whether that can be seen, and the labels of Node Feature Discovery.

Source: the chart's files/node-feature-rules.yaml.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Accelerator, Node
from intel_agent.userspace import UIO_DRIVERS, VFIO_DRIVERS

LABELS = "intel.feature.node.kubernetes.io/"
KINDS = frozenset({"gpu", "gaudi", "npu", "qat", "sgx", "dsa", "iaa", "dlb"})
"""Kinds whose label is called like them."""
CARDS: Mapping[str, str] = MappingProxyType({"0x09c4": "fpga-arria10", "0x0b2b": "fpga-stratix10"})
"""Labels of FPGAs, by PCI device."""

_DISCOVERY = "feature.node.kubernetes.io/"
"""What the labels of Node Feature Discovery itself begin with."""
_BY_HAND = VFIO_DRIVERS | UIO_DRIVERS


def unseen(node: Node) -> Iterator[Finding]:
    if node.registered is not None and node.registered.problem is not None:
        problem = "not looked at: kubelet's version, and the labels of Node Feature Discovery"
        remedy = "look yourself: kubectl get node NODE --show-labels --output wide"
        yield Finding(Severity.NOTE, "node object", problem, node.registered.problem, remedy)


def labels(node: Node) -> Iterator[Finding]:
    if node.registered is None:
        return
    has = node.registered.labels
    if not any(name.startswith((LABELS, _DISCOVERY)) for name in has):
        return  # Node Feature Discovery does not look at this node
    made = {name.removeprefix(LABELS) for name, value in has.items() if name.startswith(LABELS) and value == "true"}
    wanted = _wanted(node)
    if missing := sorted(wanted - made):
        yield Finding(
            Severity.WARNING if made else Severity.NOTE,
            "labels",
            f"no label says that there is {', '.join(missing)}: pods that select nodes by it do not come here",
            f"not among the node's labels: {', '.join(LABELS + each for each in missing)}",
            "Helm value nodeFeatureRules.enabled: true; if it is so, the log of nfd-master says more",
        )
    if idle := sorted(each for each in made & (KINDS | {*CARDS.values()}) if not _offers(node, each)):
        yield Finding(
            Severity.WARNING,
            "labels",
            f"labels say that there is {', '.join(idle)}, of which nothing is offered: pods come here and fail",
            ", ".join(f"{LABELS}{each}: true" for each in idle),
            "see what is said of the section; a label made by hand: kubectl label node NODE LABEL-",
        )


def _wanted(node: Node) -> set[str]:
    """Return which labels the chart's rules give to a node with what is offered here."""
    found = {label for each in node.accelerators for label in _labels(each) if _offers(node, label)}
    return found | {"sgx"} if _offers(node, "sgx") else found


def _labels(accelerator: Accelerator) -> Iterator[str]:
    """Yield the label of an accelerator; the rules ask for the driver that the kind has, too."""
    if accelerator.driver is None or accelerator.driver in _BY_HAND:
        return
    if accelerator.kind.name in KINDS:
        yield accelerator.kind.name
    elif (card := CARDS.get(accelerator.identity.device)) is not None:
        yield card


def _offers(node: Node, label: str) -> bool:
    """Return whether a kind, or that of the card which is called so, offers something."""
    found = node.inventory.found.get(label if label in KINDS else "fpga")
    return found is not None and bool(found.devices)
