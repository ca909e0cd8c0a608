"""What the admission policies allow the agent, asked of the API server's own judge."""

import copy
import functools
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .helm import Helm, Object, built

AGENT = "system:serviceaccount:accelerators:intel-agent"
BOUND = "authentication.kubernetes.io/node-name"
OURS = {"key": "intel.com/agent-not-ready", "effect": "NoSchedule"}
OTHERS = {"key": "example.com/reserved", "value": "yes", "effect": "NoExecute"}
TYPE = "IntelDeviceUnhealthy"
CONDITIONS = [{"type": "Ready", "status": "True"}, {"type": TYPE, "status": "False", "reason": "DevicesHealthy"}]
NODE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "one", "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/keep"]},
    "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "x://1", "taints": [OURS, OTHERS]},
    "status": {
        "capacity": {"cpu": "8"},
        "allocatable": {"cpu": "7"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
        "images": [{"names": ["registry.example/a@sha256:00"], "sizeBytes": 5}] * 50,
        "conditions": CONDITIONS,
    },
}
EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "train.1", "namespace": "default"},
    "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "train", "uid": "u"},
    "reason": "DeviceUnhealthy",
    "type": "Warning",
    "message": "card0 is unhealthy",
    "source": {"component": "intel-agent", "host": "one"},
    "reportingComponent": "intel-agent",
    "reportingInstance": "one",
}


EVICTION: dict[str, Any] = {
    "apiVersion": "policy/v1",
    "kind": "Eviction",
    "metadata": {"name": "train", "namespace": "default"},
    "deleteOptions": {"preconditions": {"uid": "u"}},
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a policy is about: the end of its name, the feature that brings it, and the resource."""

    policy: str
    features: str
    resource: str
    subresource: str = ""


TAINTS = Subject("", "startupTaint.enabled=true", "nodes")
FAULT_TAINT = Subject("", "faultTaint.enabled=true,faultTaint.effect=NoExecute", "nodes")
BOTH_TAINTS = Subject("", "startupTaint.enabled=true,faultTaint.enabled=true", "nodes")
CONDITION = Subject("-condition", "nodeCondition.enabled=true", "nodes", "status")
EVICTIONS = Subject("-eviction", "eviction.enabled=true", "pods", "eviction")
SOME_EVICTIONS = Subject("-eviction", "eviction.enabled=true,eviction.namespaces={train,test}", "pods", "eviction")
NO_EVICTIONS = Subject("-eviction", "eviction.enabled=true,eviction.dryRun=true", "pods", "eviction")
EVENTS = Subject("-events", "kubernetesEvents.enabled=true", "events")


def changed(before: Mapping[str, Any], **parts: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the object with keys of its parts replaced; `None` means that they are gone."""
    made: dict[str, Any] = copy.deepcopy(dict(before))
    for place, part in parts.items():
        if isinstance(part, str):
            made[place] = part
        else:
            new: dict[str, Any] = {**made.get(place, {}), **part}
            made[place] = {key: value for key, value in new.items() if value is not None}
    return made


def after(**parts: Any) -> dict[str, Any]:
    return changed(NODE, **parts)


def asked(node: Object, *, user: str = AGENT, on: str | None = "one", before: Object | None = NODE) -> dict[str, Any]:
    extra = {} if on is None else {BOUND: [on]}
    name, namespace = node["metadata"]["name"], node["metadata"].get("namespace", "")
    return {"user": user, "extra": extra, "before": before, "after": node, "name": name, "namespace": namespace}


def made(event: Object, *, user: str = AGENT, on: str | None = "one") -> dict[str, Any]:
    return asked(event, user=user, on=on, before=None)


Cases = dict[str, tuple[dict[str, Any], list[str]]]

FOREIGN = ["the agent may change no node but its own"]
TAINT = ["the agent may change no other taints of its node, and only remove intel.com/agent-not-ready"]
ELSE = ["the agent may change nothing of its node but taints"]
READY = after(spec={"taints": [OTHERS]})
OF_TAINTS: Cases = {
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

FAULT = {"key": "intel.com/device-unhealthy", "effect": "NoExecute"}
SOFT = {**FAULT, "effect": "NoSchedule"}
FAULTS = "only add intel.com/device-unhealthy:{} and remove intel.com/device-unhealthy"
OTHER_TAINT = [f"the agent may change no other taints of its node, and {FAULTS.format('NoExecute')}"]


def tainted(*taints: Mapping[str, str]) -> dict[str, Any]:
    return after(spec={"taints": list(taints) or None})


OF_THE_FAULT_TAINT: Cases = {
    "adds its taint": (asked(tainted(OURS, OTHERS, FAULT)), []),
    "adds it first": (asked(tainted(FAULT), before=tainted()), []),
    "removes its taint": (asked(tainted(OTHERS), before=tainted(FAULT, OTHERS)), []),
    "removes its taint of before": (asked(tainted(FAULT), before=tainted({**SOFT, "value": "old"})), []),
    "of another node": (asked(tainted(OURS, OTHERS, FAULT), on="two"), FOREIGN),
    "with another effect": (asked(tainted(OURS, OTHERS, SOFT)), OTHER_TAINT),
    "with a value": (asked(tainted(OURS, OTHERS, {**FAULT, "value": "x"})), OTHER_TAINT),
    "adds another taint": (asked(tainted(OURS, OTHERS, {**FAULT, "key": "x"})), OTHER_TAINT),
    "removes another taint": (asked(tainted(OURS, FAULT)), OTHER_TAINT),
    "makes the node unschedulable": (asked(after(spec={"unschedulable": True})), ELSE),
}
BOTH = [
    "the agent may change no other taints of its node, and only remove intel.com/agent-not-ready, "
    + FAULTS.format("NoSchedule")
]
OF_BOTH_TAINTS: Cases = {
    "swaps its taints": (asked(tainted(OTHERS, SOFT)), []),
    "adds its own back": (asked(tainted(OURS, OTHERS), before=tainted(OTHERS)), BOTH),
    "removes another": (asked(tainted(SOFT)), BOTH),
}

OTHER_CONDITION = [f"the agent may change no condition but {TYPE}"]
STATUS = ["the agent may change nothing of its node's status but a condition"]
READY_CONDITION, OUR_CONDITION = CONDITIONS


def saying(*conditions: Mapping[str, str], **status: Any) -> dict[str, Any]:
    return after(status={"conditions": list(conditions) or None, **status})


ILL = {"type": TYPE, "status": "True", "reason": "DevicesUnhealthy", "message": "1 of 2"}
OF_THE_CONDITION: Cases = {
    "says that a device is unhealthy": (asked(saying(READY_CONDITION, ILL)), []),
    "says it first": (asked(saying(ILL, READY_CONDITION), before=saying(READY_CONDITION)), []),
    "says it of a node without conditions": (asked(saying(ILL), before=saying()), []),
    "says nothing any more": (asked(saying(READY_CONDITION)), []),
    "changes nothing": (asked(after()), []),
    "of another node": (asked(saying(READY_CONDITION, ILL), on="two"), FOREIGN),
    "with a token that is bound to no node": (asked(saying(READY_CONDITION, ILL), on=None), FOREIGN),
    "kubelet changes its own": (asked(saying({**READY_CONDITION, "status": "False"}), user="kubelet", on=None), []),
    "changes another condition": (
        asked(saying({**READY_CONDITION, "status": "False"}, OUR_CONDITION)),
        OTHER_CONDITION,
    ),
    "removes another condition": (asked(saying(OUR_CONDITION)), OTHER_CONDITION),
    "adds another condition": (asked(saying(*CONDITIONS, {"type": "Odd", "status": "True"})), OTHER_CONDITION),
    "changes the capacity": (asked(saying(*CONDITIONS, capacity={"cpu": "9"})), STATUS),
    "changes what can be had": (asked(saying(*CONDITIONS, allocatable={"cpu": "9"})), STATUS),
    "changes the addresses": (asked(saying(*CONDITIONS, addresses=None)), STATUS),
    "changes the images": (asked(saying(*CONDITIONS, images=[])), STATUS),
    "attaches a volume": (
        asked(saying(*CONDITIONS, volumesAttached=[{"name": "a", "devicePath": "b"}])),
        STATUS,
    ),
    "adds a label": (asked(after(metadata={"labels": {"a": "b", "e": "f"}})), STATUS),
    "changes an annotation": (asked(after(metadata={"annotations": {"c": "e"}})), STATUS),
}

SPEAKER = ["the agent may speak for no node but its own"]
NAME = ["the agent may make Events in its own name about its devices, and no others"]
ABOUT = ["the agent may make Events about pods and its own node, and nothing else"]
PLAIN = ["the agent may make Events without labels, annotations, finalizers and owners"]
NODE_ONE = {"apiVersion": "v1", "kind": "Node", "namespace": None, "name": "one", "uid": "one"}
OF_EVENTS: Cases = {
    "tells a pod": (made(EVENT), []),
    "tells its node": (made(changed(EVENT, involvedObject=NODE_ONE)), []),
    "tells that it is over": (made(changed(EVENT, reason="DeviceHealthy", type="Normal")), []),
    "tells another node": (made(changed(EVENT, involvedObject={**NODE_ONE, "name": "two"})), ABOUT),
    "tells a Deployment": (made(changed(EVENT, involvedObject={"apiVersion": "apps/v1", "kind": "Deployment"})), ABOUT),
    "tells a Secret": (made(changed(EVENT, involvedObject={"kind": "Secret"})), ABOUT),
    "tells nobody": (made(changed(EVENT, involvedObject={"kind": None})), ABOUT),
    "for another node": (made(EVENT, on="two"), SPEAKER),
    "says that it is another node": (made(changed(EVENT, source={"host": "two"})), SPEAKER),
    "reports as another node": (made(changed(EVENT, reportingInstance="two")), SPEAKER),
    "with a token that is bound to no node": (made(EVENT, on=None), SPEAKER),
    "in kubelet's name": (made(changed(EVENT, source={"component": "kubelet"})), NAME),
    "reports in kubelet's name": (made(changed(EVENT, reportingComponent="kubelet")), NAME),
    "for another reason": (made(changed(EVENT, reason="Evicted")), NAME),
    "with a label": (made(changed(EVENT, metadata={"labels": {"a": "b"}})), PLAIN),
    "somebody else": (made(changed(EVENT, reason="Evicted"), user="admin", on=None), []),
    "everything at once": (
        made(changed(EVENT, reason="Evicted", involvedObject={"kind": "Secret"}), on="two"),
        [*SPEAKER, *NAME, *ABOUT],
    ),
}

HOW = ["the agent must name the pod by its uid, and leave it its time to end"]
WHERE = ["the agent may evict pods of all namespaces but kube-system"]
OTHER_WHERE = ["the agent may evict pods of train, test"]


def eviction(namespace: str = "default", **options: Any) -> dict[str, Any]:
    return changed(EVICTION, metadata={"namespace": namespace}, deleteOptions=options)


OF_EVICTIONS: Cases = {
    "evicts": (made(eviction()), []),
    "tries it out": (made(eviction(dryRun=["All"])), []),
    "with a token that is bound to no node": (
        made(eviction(), on=None),
        ["only an agent that runs on a node may evict"],
    ),
    "whatever pod has the name": (made(eviction(preconditions=None)), HOW),
    "whatever pod has the name and a version": (made(eviction(preconditions={"resourceVersion": "1"})), HOW),
    "without options": (made(changed(EVICTION, deleteOptions={"preconditions": None})), HOW),
    "at once": (made(eviction(gracePeriodSeconds=0)), HOW),
    "in kube-system": (made(eviction("kube-system")), WHERE),
    "somebody else": (made(eviction("kube-system", preconditions=None), user="admin", on=None), []),
}
OF_SOME_EVICTIONS: Cases = {
    "in a namespace that is named": (made(eviction("test")), []),
    "in another one": (made(eviction()), OTHER_WHERE),
}
OF_NO_EVICTIONS: Cases = {
    "tries it out": (made(eviction(dryRun=["All"])), []),
    "evicts": (made(eviction()), ["the agent may only try out evictions"]),
}

ALL = {
    EVICTIONS: OF_EVICTIONS,
    SOME_EVICTIONS: OF_SOME_EVICTIONS,
    NO_EVICTIONS: OF_NO_EVICTIONS,
    TAINTS: OF_TAINTS,
    FAULT_TAINT: OF_THE_FAULT_TAINT,
    BOTH_TAINTS: OF_BOTH_TAINTS,
    CONDITION: OF_THE_CONDITION,
    EVENTS: OF_EVENTS,
}


@functools.cache
def verdicts(home: Path, subject: Subject) -> dict[str, list[str]]:
    """Return what the judge says of every case, in one go."""
    rendered = Helm("helm4", home).render("--set", subject.features)
    name = f"accelerators-intel-agent{subject.policy}"
    (policy,) = (
        each for each in rendered if each["kind"] == "ValidatingAdmissionPolicy" and each["metadata"]["name"] == name
    )
    of = {"resource": subject.resource, "subresource": subject.subresource}
    question = {"policy": policy, "requests": [{**request, **of} for request, _ in ALL[subject].values()]}
    answer = subprocess.run(
        [built("policy") / "policy"], input=json.dumps(question), check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(zip(ALL[subject], json.loads(answer.stdout), strict=True))


@pytest.mark.chart
@pytest.mark.parametrize(
    ("subject", "case"),
    [pytest.param(subject, case, id=f"{subject.features}: {case}") for subject, cases in ALL.items() for case in cases],
)
def test_the_agent_may_do_this_and_not_that(
    subject: Subject, case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert verdicts(tmp_path_factory.getbasetemp(), subject)[case] == ALL[subject][case][1]
