"""Rights in the API: each is there when a feature needs it, each is needed, and none goes further than it has to."""

from collections.abc import Iterator, Mapping

import msgspec
import pytest
from e2e.cluster import Cluster
from e2e.kubelet import NODE
from e2e.machine import I915, OFFER, XE
from e2e.waiting import eventually

from .release import NAME, VALUES, RefusedError, Release

KEY = "intel.com/agent-not-ready"
OTHER = "example.com/other"
ROLE = f"{NAME}-{NAME}"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"

OVERRIDES = [{"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 3}}}]
FEATURES = {**VALUES, "nodeOverrides": OVERRIDES, "startupTaint": {"enabled": True}}
THREE: Mapping[str, frozenset[str]] = {
    **OFFER,
    I915: frozenset(f"card{card}-{share}" for card in (0, 1) for share in range(3)),
    XE: frozenset(f"card2-{share}" for share in range(3)),
}

WITHOUT_OTHER = [{"op": "remove", "path": "/spec/taints/0"}]
REFUSED = {
    "a label": (
        "agent may change nothing of its node but taints",
        [{"op": "add", "path": "/metadata/labels/a", "value": "b"}],
    ),
    "cordoning": (
        "agent may change nothing of its node but taints",
        [{"op": "add", "path": "/spec/unschedulable", "value": True}],
    ),
    "another taint": (f"agent may change no other taints of its node, and only remove {KEY}", WITHOUT_OTHER),
    "a new taint": (
        f"agent may change no other taints of its node, and only remove {KEY}",
        [{"op": "add", "path": "/spec/taints/-", "value": {"key": KEY, "effect": "NoExecute"}}],
    ),
}
"""What the policy says to changes of the agent's own node."""


@pytest.fixture(scope="module", autouse=True)
def _installed(release: Release) -> Iterator[None]:
    """Install with both features, on a node that has the label and was born with the taint."""
    release.kubectl("label", "node", NODE, "type=flex")
    taint(release, f"{OTHER}=:PreferNoSchedule", f"{KEY}=:NoSchedule")
    release.install(FEATURES)
    release.offered(THREE)
    yield
    release.uninstall()
    release.kubectl("label", "node", NODE, "type-")
    taint(release, f"{OTHER}-")


@pytest.fixture
def token(release: Release) -> str:
    """Give the token of the agent's pod, which is bound to the pod and its node."""
    return release.exec("python3", "-c", f"print(open('{TOKEN}').read())").strip()


@pytest.fixture
def until_in_force(release: Release, token: str) -> None:
    """Wait until the API server knows the policy: it takes up new ones in the background."""
    label = REFUSED["a label"][1]

    def in_force() -> bool:
        try:
            release.kubectl(f"--token={token}", *patching(NODE, label), "--dry-run=server")
        except RefusedError:
            return True
        return False

    eventually(in_force, "policy", within=20)


def taint(release: Release, *changes: str) -> None:
    release.kubectl("taint", "node", NODE, *changes)


def taints(release: Release) -> set[str]:
    return set(release.kubectl("get", "node", NODE, "--output=jsonpath={.spec.taints[*].key}").split())


def patching(node: str, patch: object) -> list[str]:
    return ["patch", "node", node, "--type=json", f"--patch={msgspec.json.encode(patch).decode()}"]


def test_the_taint_goes_when_everything_is_registered(release: Release) -> None:
    eventually(lambda: taints(release) == {OTHER}, "end of the taint", within=10)


def test_the_release_has_no_right_without_the_features(release: Release, cluster: Cluster) -> None:
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ROLE}"
    policy = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{ROLE}"
    assert cluster.api.exists(role)
    assert cluster.api.exists(policy)
    release.upgrade(VALUES)
    release.rolled_out()
    release.offered(OFFER)
    assert not cluster.api.exists(role)
    assert not cluster.api.exists(policy)
    with pytest.raises(RefusedError, match="No such file or directory"):
        release.exec("python3", "-c", f"open('{TOKEN}')")
    release.upgrade(FEATURES)
    release.rolled_out()
    release.offered(THREE)


@pytest.mark.parametrize(
    ("left", "problem"),
    [
        pytest.param(["patch"], f"GET /api/v1/nodes/{NODE}: 403 Forbidden", id="get"),
        pytest.param(["get"], f"PATCH /api/v1/nodes/{NODE}: 403 Forbidden", id="patch"),
    ],
)
def test_each_right_is_needed(release: Release, left: list[str], problem: str) -> None:
    verbs = [{"op": "replace", "path": "/rules/0/verbs", "value": left}]
    release.kubectl("patch", "clusterrole", ROLE, "--type=json", f"--patch={msgspec.json.encode(verbs).decode()}")
    taint(release, f"{KEY}=:NoSchedule")
    before = release.pod
    release.kubectl("--namespace", NAME, "delete", "pod", before.metadata.name)
    release.replaced(before)
    eventually(lambda: problem in log(release), "refusal", within=20)
    assert taints(release) == {OTHER, KEY}
    verbs[0]["value"] = ["get", "patch"]
    release.kubectl("patch", "clusterrole", ROLE, "--type=json", f"--patch={msgspec.json.encode(verbs).decode()}")
    eventually(lambda: taints(release) == {OTHER}, "end of the taint", within=60)
    release.offered(THREE, within=40)


def log(release: Release) -> str:
    return release.kubectl("--namespace", NAME, "logs", release.pod.metadata.name)


@pytest.mark.usefixtures("until_in_force")
@pytest.mark.parametrize(("answer", "patch"), [pytest.param(*each, id=what) for what, each in REFUSED.items()])
def test_the_token_of_the_pod_is_no_use_for(release: Release, token: str, answer: str, patch: object) -> None:
    with pytest.raises(RefusedError) as refused:
        release.kubectl(f"--token={token}", *patching(NODE, patch))
    assert answer in str(refused.value)


@pytest.mark.usefixtures("until_in_force")
def test_the_token_of_the_pod_removes_the_taint_of_its_own_node_only(
    release: Release, cluster: Cluster, token: str
) -> None:
    ours = {"key": KEY, "effect": "NoSchedule"}
    cluster.api.request("POST", "/api/v1/nodes", {"metadata": {"name": "other"}, "spec": {"taints": [ours]}})
    removal = [{"op": "remove", "path": "/spec/taints"}]
    with pytest.raises(RefusedError, match="the agent may change no node but its own"):
        release.kubectl(f"--token={token}", *patching("other", removal))
    cluster.api.request("DELETE", "/api/v1/nodes/other")
    taint(release, f"{KEY}=:NoSchedule")
    everything = [{"op": "replace", "path": "/spec/taints", "value": [{"key": OTHER, "effect": "PreferNoSchedule"}]}]
    release.kubectl(f"--token={token}", *patching(NODE, everything))
    assert taints(release) == {OTHER}


@pytest.mark.parametrize(
    "question", ["list nodes", "watch nodes", "delete nodes", "update nodes", "get secrets", "list pods", "create pods"]
)
def test_the_account_may_not(release: Release, question: str) -> None:
    account = f"system:serviceaccount:{NAME}:{NAME}"
    with pytest.raises(RefusedError, match=r"^no\n"):
        release.kubectl("auth", "can-i", *question.split(), f"--as={account}", "--all-namespaces")
