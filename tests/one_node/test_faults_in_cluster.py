"""What the cluster hears of a marked card and does about it, with the rights and the policies that are shipped."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest
from e2e.cluster import Cluster
from e2e.kubelet import NODE
from e2e.machine import OFFER, XE
from e2e.pods import container
from e2e.waiting import eventually

from .release import NAME, VALUES, Release

CARD = "0000:4d:00.0"
"""The card that xe drives."""
TYPE = "IntelDeviceUnhealthy"
KEY = "intel.com/device-unhealthy"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
SECONDS = 20.0
"""How long a change may take to the node object."""

FEATURES: Mapping[str, Any] = {
    **VALUES,
    "health": {**VALUES["health"], "recoverySeconds": 1},
    "kubernetesEvents": {"enabled": True},
    "nodeCondition": {"enabled": True},
    "faultTaint": {"enabled": True, "reasons": ["marked"]},
}

PATH = f"/api/v1/nodes/{NODE}"
Patch = Mapping[str, object]
REFUSED: Mapping[str, tuple[str, str, Patch]] = {
    "another condition": (
        f"the agent may change no condition but {TYPE}",
        f"{PATH}/status",
        {"status": {"conditions": [{"type": "Odd", "status": "True"}]}},
    ),
    "the capacity": (
        "the agent may change nothing of its node's status but a condition",
        f"{PATH}/status",
        {"status": {"capacity": {"example.com/a": "1"}}},
    ),
    "a label by way of the status": (
        "the agent may change nothing of its node's status but a condition",
        f"{PATH}/status",
        {"metadata": {"labels": {"a": "b"}}},
    ),
    "a taint that is not its own": (
        "the agent may change no other taints of its node",
        PATH,
        {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}},
    ),
    "its taint with another effect": (
        "the agent may change no other taints of its node",
        PATH,
        {"spec": {"taints": [{"key": KEY, "effect": "NoExecute"}]}},
    ),
}


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition of the node."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class Taint(msgspec.Struct, frozen=True):
    """A taint of the node."""

    key: str
    effect: str


class Spec(msgspec.Struct, frozen=True):
    """What the node should be."""

    taints: tuple[Taint, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """What the node is."""

    conditions: tuple[Condition, ...] = ()


class Node(msgspec.Struct, frozen=True):
    """The node object."""

    spec: Spec = Spec()
    status: Status = Status()


def node(cluster: Cluster) -> Node:
    return msgspec.json.decode(cluster.api.request("GET", f"/api/v1/nodes/{NODE}"), type=Node)


def condition(cluster: Cluster) -> Condition | None:
    return next((each for each in node(cluster).status.conditions if each.type == TYPE), None)


def taints(cluster: Cluster) -> set[tuple[str, str]]:
    return {(each.key, each.effect) for each in node(cluster).spec.taints}


def until_said(cluster: Cluster, status: str, *, tainted: bool) -> Condition:
    def said() -> bool:
        known = condition(cluster)
        has = {(KEY, "NoSchedule")} if tainted else set[tuple[str, str]]()
        return known is not None and known.status == status and taints(cluster) == has

    eventually(said, f"{TYPE}={status}, tainted {tainted}", within=SECONDS)
    found = condition(cluster)
    assert found is not None
    return found


@pytest.fixture(scope="module", autouse=True)
def installed(release: Release, cluster: Cluster) -> Iterator[None]:
    release.install(FEATURES)
    release.offered(OFFER)
    yield
    release.uninstall()
    gone = [{"$patch": "delete", "type": TYPE}]
    patch = msgspec.json.encode({"status": {"conditions": gone}}).decode()
    release.kubectl("patch", "node", NODE, "--subresource=status", "--type=strategic", f"--patch={patch}")
    assert condition(cluster) is None


@pytest.fixture
def token(release: Release) -> str:
    """Give the token of the agent's pod, which is bound to the pod and its node."""
    return release.exec("python3", "-c", f"print(open('{TOKEN}').read())").strip()


def mark(release: Release, word: str) -> None:
    release.exec("intel-agent", "mark", CARD, word, *(["--reason", "loud fan"] if word == "unhealthy" else []))


def test_condition_and_taint_come_with_a_fault_and_go_with_it(release: Release, cluster: Cluster) -> None:
    well = until_said(cluster, "False", tainted=False)
    assert well.reason == "DevicesHealthy"
    kubelets = {each.type: each.status for each in node(cluster).status.conditions if each.type != TYPE}
    assert kubelets["Ready"] == "True"
    mark(release, "unhealthy")
    ill = until_said(cluster, "True", tainted=True)
    assert ill.reason == "DevicesUnhealthy"
    assert f"of {XE} ({CARD}): marked" in ill.message
    assert {each.type: each.status for each in node(cluster).status.conditions if each.type != TYPE} == kubelets
    assert ill.last_transition_time >= well.last_transition_time
    assert ill.message in release.kubectl("describe", "node", NODE)
    mark(release, "auto")
    until_said(cluster, "False", tainted=False)


def test_they_outlive_the_agent_and_its_successor_goes_on(release: Release, cluster: Cluster) -> None:
    mark(release, "unhealthy")
    ill = until_said(cluster, "True", tainted=True)
    before = release.pod
    release.kubectl("--namespace", NAME, "delete", "pod", before.metadata.name)
    release.replaced(before)
    assert (condition(cluster), taints(cluster)) == (ill, {(KEY, "NoSchedule")})
    mark(release, "auto")
    until_said(cluster, "False", tainted=False)
    release.offered(OFFER, within=40)


def test_events_are_allowed_by_the_policy_that_comes_with_them(release: Release, cluster: Cluster) -> None:
    cluster.run("holder", container({XE: 1}))

    def told() -> set[str]:
        where = "--output=jsonpath={.items[*].reason}"
        selector = "--field-selector=involvedObject.name=holder"
        return set(release.kubectl("get", "events", selector, where).split())

    mark(release, "unhealthy")
    eventually(lambda: "DeviceUnhealthy" in told(), "Event of the fault", within=SECONDS)
    mark(release, "auto")
    eventually(lambda: "DeviceHealthy" in told(), "Event of the recovery", within=SECONDS)
    cluster.delete("holder")


def refusal(cluster: Cluster, token: str, path: str, body: Patch, *, method: str = "PATCH") -> str:
    """Return what the API server answers the agent's token, once its policies are in force."""
    content = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"

    def answer(query: str = "") -> str:
        try:
            cluster.api.request(method, path + query, body, content=content, token=token)
        except HTTPError as refused:
            with refused:
                return refused.read().decode()
        return ""

    eventually(lambda: answer("?dryRun=All"), "refusal of a dry run", within=SECONDS)
    return answer()


@pytest.mark.parametrize(("answer", "path", "patch"), [pytest.param(*each, id=what) for what, each in REFUSED.items()])
def test_the_token_of_the_pod_changes_nothing_else_of_its_node(
    cluster: Cluster, token: str, answer: str, path: str, patch: Patch
) -> None:
    assert answer in refusal(cluster, token, path, patch)


def test_the_token_of_the_pod_says_nothing_of_another_node(cluster: Cluster, token: str) -> None:
    cluster.api.request("POST", "/api/v1/nodes", {"metadata": {"name": "other"}})
    patch = {"status": {"conditions": [{"type": TYPE, "status": "True"}]}}
    answer = refusal(cluster, token, "/api/v1/nodes/other/status", patch)
    cluster.api.request("DELETE", "/api/v1/nodes/other")
    assert "the agent may change no node but its own" in answer


def test_the_token_of_the_pod_makes_no_other_events(cluster: Cluster, token: str) -> None:
    event = {
        "metadata": {"name": "odd", "namespace": "default"},
        "involvedObject": {"kind": "Secret", "namespace": "default", "name": "a"},
        "reason": "Evicted",
    }
    answer = refusal(cluster, token, "/api/v1/namespaces/default/events", event, method="POST")
    assert "the agent may speak for no node but its own" in answer


EVICTION: Mapping[str, object] = {
    **FEATURES,
    "eviction": {
        "enabled": True,
        "reasons": ["marked"],
        "afterSeconds": 2,
        "perMinute": 100,
        "namespaces": ["default"],
    },
}


def said(release: Release, event: str) -> list[str]:
    """Return the pods that the agent's log names with the event."""
    return [str(line["pod"]) for line in release.log() if line["event"] == event]


def test_a_pod_with_a_marked_card_is_evicted_once_its_disruption_budget_allows_it(
    release: Release, cluster: Cluster, token: str
) -> None:
    cluster.run("protected", container({XE: 1}))
    release.kubectl("label", "pod", "protected", "app=protected")
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "protected"}}}
    cluster.api.request("POST", budgets, {"metadata": {"name": "protected"}, "spec": spec})
    healthy = "--output=jsonpath={.status.currentHealthy}"
    eventually(lambda: release.kubectl("get", "pdb", "protected", healthy) == "1", "the budget", within=SECONDS)
    release.upgrade(EVICTION)
    mark(release, "unhealthy")
    eventually(lambda: "default/protected" in said(release, "eviction.postponed"), "the budget's no", within=60)
    assert cluster.pod("protected").status.phase == "Running"
    cluster.api.request("DELETE", f"{budgets}/protected")
    eventually(lambda: not cluster.api.exists(f"{cluster.PODS}/protected"), "the eviction", within=90)
    assert said(release, "pod.evicted") == ["default/protected"]
    mark(release, "auto")
    until_said(cluster, "False", tainted=False)
    pod = release.pod.metadata
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": NAME},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    where = f"/api/v1/namespaces/{NAME}/pods/{pod.name}/eviction"
    answer = refusal(cluster, token, where, eviction, method="POST")
    assert "cannot create resource" in answer  # its role is bound where it may evict
    assert "pods/eviction" in answer


def test_without_the_right_it_is_said_once_and_devices_are_served(release: Release, cluster: Cluster) -> None:
    """The last one: Helm changes no role that somebody else has changed."""
    role = f"{NAME}-{NAME}"
    rules = release.kubectl("get", "clusterrole", role, "--output=jsonpath={.rules}")
    release.kubectl("patch", "clusterrole", role, "--type=merge", '--patch={"rules":[]}')
    mark(release, "unhealthy")

    def refused() -> bool:
        lines = [str(line["problem"]) for line in release.log() if line["event"] == "cluster.unavailable"]
        return any("403 Forbidden" in each for each in lines)

    eventually(refused, "refusal", within=SECONDS)
    eventually(lambda: cluster.node_status.amounts(XE) == (2, 0), "the fault at kubelet", within=SECONDS)
    release.kubectl("patch", "clusterrole", role, "--type=merge", f'--patch={{"rules":{rules}}}')
    eventually(lambda: taints(cluster) == {(KEY, "NoSchedule")}, "the taint", within=60)
    mark(release, "auto")
    until_said(cluster, "False", tainted=False)
    release.offered(OFFER, within=40)
