"""When the node should have the taint, and how it gets it."""

import msgspec
import pytest

from intel_agent.cluster.node import Operations, Tainted, having, without
from intel_agent.config import Devices, FaultTaint
from intel_agent.model import NO_EDITS, Device, Fault, Reason
from intel_agent.reactions.health import NodeHealth, Unhealthy
from intel_agent.reactions.taint import tainted

CARD = Device("card0", "gpu.intel.com/xe", "/sys/a", NO_EDITS, "card0", 2)
WEDGED = Fault(Reason.WEDGED, "kernel", "the driver gave up")
HOT = Fault(Reason.OVERHEATED, "hwmon", "105 degrees")
ILL = NodeHealth((Unhealthy("gpu", CARD, (HOT, WEDGED)),), 3)
UNREADABLE = Fault(Reason.UNREADABLE, "sysfs", "permission denied")
UNKNOWN = NodeHealth((Unhealthy("gpu", CARD, (UNREADABLE,)),), 3)
WELL = NodeHealth((), 3)


@pytest.mark.parametrize(
    ("section", "health", "expected"),
    [
        pytest.param(FaultTaint(), WELL, False, id="well"),
        pytest.param(FaultTaint(), ILL, True, id="ill"),
        pytest.param(FaultTaint(kinds=("npu", "gpu")), ILL, True, id="of this kind"),
        pytest.param(FaultTaint(kinds=("npu",)), ILL, False, id="of another kind"),
        pytest.param(FaultTaint(reasons=("wedged",)), ILL, True, id="one of its reasons"),
        pytest.param(FaultTaint(reasons=("marked",)), ILL, False, id="for another reason"),
        pytest.param(FaultTaint(), NodeHealth((), 0, {"npu": "a"}), None, id="unknown"),
        pytest.param(FaultTaint(), NodeHealth(ILL.unhealthy, 1, {"npu": "a"}), True, id="unknown, but ill"),
        pytest.param(FaultTaint(), UNKNOWN, None, id="unreadable"),
        pytest.param(FaultTaint(kinds=("npu",)), UNKNOWN, False, id="another kind is unreadable"),
        pytest.param(FaultTaint(reasons=("unreadable",)), UNKNOWN, True, id="unreadable, which is a reason"),
        pytest.param(FaultTaint(reasons=("wedged",)), UNKNOWN, False, id="unreadable, for another reason"),
        pytest.param(
            FaultTaint(), NodeHealth((*UNKNOWN.unhealthy, *ILL.unhealthy), 3), True, id="one is unreadable, one is ill"
        ),
        pytest.param(FaultTaint(kinds=("gpu",)), NodeHealth((), 0, {"npu": "a"}), False, id="another kind is unknown"),
        pytest.param(FaultTaint(kinds=("npu",)), NodeHealth((), 0, {"npu": "a"}), None, id="this kind is unknown"),
    ],
)
def test_it_is_wanted_for_what_counts_and_stays_while_that_is_unknown(
    section: FaultTaint, health: NodeHealth, *, expected: bool | None
) -> None:
    assert tainted(section, health) is expected


def test_every_kind_can_be_named() -> None:
    kinds = Devices.__struct_fields__
    assert msgspec.convert({"kinds": kinds}, FaultTaint).kinds == kinds


KEY = "intel.com/device-unhealthy"
OURS = {"key": KEY, "effect": "NoSchedule"}
HARD = {"key": KEY, "effect": "NoExecute", "timeAdded": "2026-01-31T12:00:00Z"}
OTHER = {"key": "example.com/other", "value": "a", "effect": "NoSchedule"}
AS_IT_IS = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def node(*taints: dict[str, str]) -> Tainted:
    return msgspec.convert({"metadata": {"resourceVersion": "7"}, "spec": {"taints": taints}}, Tainted)


def removal(place: int, taint: dict[str, str]) -> Operations:
    path = f"/spec/taints/{place}"
    return [{"op": "test", "path": path, "value": taint}, {"op": "remove", "path": path}]


@pytest.mark.parametrize(
    ("taints", "operations"),
    [
        pytest.param((), [AS_IT_IS, {"op": "add", "path": "/spec/taints", "value": [OURS]}], id="none"),
        pytest.param((OTHER,), [AS_IT_IS, {"op": "add", "path": "/spec/taints/-", "value": OURS}], id="another"),
        pytest.param((OTHER, OURS), [], id="there already"),
        pytest.param(({**OURS, "value": "by hand"},), [], id="there, with a value"),
        pytest.param((HARD, OTHER, OURS), removal(0, HARD), id="there, and with another effect"),
        pytest.param(
            (OTHER, HARD),
            [AS_IT_IS, *removal(1, HARD), {"op": "add", "path": "/spec/taints/-", "value": OURS}],
            id="another effect",
        ),
    ],
)
def test_one_taint_with_the_key_is_left(taints: tuple[dict[str, str], ...], operations: Operations) -> None:
    assert having(KEY, "NoSchedule", node(*taints)) == operations


def test_all_with_the_key_go_and_no_other() -> None:
    assert without(KEY, (HARD, OTHER, OURS)) == [*removal(2, OURS), *removal(0, HARD)]
