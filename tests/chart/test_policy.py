"""What the admission policy allows the agent to do to nodes, asked of the API server's own judge."""

import copy
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .helm import Helm, Object, built

AGENT = "system:serviceaccount:accelerators:intel-agent"
OURS = {"key": "intel.com/agent-not-ready", "effect": "NoSchedule"}
OTHERS = {"key": "example.com/reserved", "value": "yes", "effect": "NoExecute"}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "one", "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/keep"]},
    "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "x://1", "taints": [OURS, OTHERS]},
}
FOREIGN = ["the agent may change no node but its own"]
TAINT = ["the agent may change no taint but intel.com/agent-not-ready, and only remove it"]
ELSE = ["the agent may change nothing of its node but a taint"]


def after(**parts: Any) -> dict[str, Any]:
    """Return the node with the keys of `spec` or `metadata` replaced; `None` means that they are gone."""
    node: dict[str, Any] = copy.deepcopy(NODE)
    for place in ("spec", "metadata"):
        changed = {**node[place], **parts.get(place, {})}
        node[place] = {key: value for key, value in changed.items() if value is not None}
    return node


def asked(node: Object, *, user: str = AGENT, on: str | None = "one", before: Object = NODE) -> dict[str, Any]:
    extra = {} if on is None else {"authentication.kubernetes.io/node-name": [on]}
    return {"user": user, "extra": extra, "before": before, "after": node}


READY = after(spec={"taints": [OTHERS]})
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "removes its taint": (asked(READY), []),
    "removes all taints": (asked(after(spec={"taints": None})), TAINT),
    "removes the only taint": (asked(after(spec={"taints": None}), before=after(spec={"taints": [OURS]})), []),
    "changes nothing": (asked(after()), []),
    "of another node": (asked(READY, on="two"), FOREIGN),
    "with a token that is bound to no node": (asked(READY, on=None), FOREIGN),
    "somebody else changes anything": (asked(after(spec={"taints": None}), user="admin", on=None), []),
    "another account of the namespace": (asked(READY, user="system:serviceaccount:accelerators:other", on="two"), []),
    "adds a taint": (asked(after(spec={"taints": [OURS, OTHERS, {"key": "x", "effect": "NoExecute"}]})), TAINT),
    "changes its taint": (asked(after(spec={"taints": [{**OURS, "effect": "NoExecute"}, OTHERS]})), TAINT),
    "changes another taint": (asked(after(spec={"taints": [OURS, {**OTHERS, "value": "no"}]})), TAINT),
    "makes the node unschedulable": (asked(after(spec={"unschedulable": True})), ELSE),
    "changes the provider's id": (asked(after(spec={"providerID": "x://2"})), ELSE),
    "changes the pods' addresses": (asked(after(spec={"podCIDR": "10.1.0.0/24"})), ELSE),
    "adds a label": (asked(after(metadata={"labels": {"a": "b", "e": "f"}})), ELSE),
    "removes labels": (asked(after(metadata={"labels": None})), ELSE),
    "changes an annotation": (asked(after(metadata={"annotations": {"c": "e"}})), ELSE),
    "removes a finalizer": (asked(after(metadata={"finalizers": None})), ELSE),
    "becomes an owner": (
        asked(after(metadata={"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]})),
        ELSE,
    ),
    "everything at once": (
        asked(after(spec={"taints": None, "unschedulable": True}), on="two"),
        [*FOREIGN, *TAINT, *ELSE],
    ),
}


@functools.cache
def verdicts(home: Path) -> dict[str, list[str]]:
    """Return what the judge says of every case, in one go."""
    policy = Helm("helm4", home).render("--set", "startupTaint.enabled=true").one("ValidatingAdmissionPolicy")
    question = {"policy": policy, "updates": [update for update, _ in CASES.values()]}
    answer = subprocess.run(
        [built("policy") / "policy"], input=json.dumps(question), check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(zip(CASES, json.loads(answer.stdout), strict=True))


@pytest.mark.chart
@pytest.mark.parametrize("case", CASES)
def test_the_agent_may_take_its_own_taint_from_its_own_node(
    case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert verdicts(tmp_path_factory.getbasetemp())[case] == CASES[case][1]
