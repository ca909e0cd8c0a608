"""The agent and the node's object at a real API server, with no more rights than it needs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import anyio
import msgspec
import pytest

from intel_agent.cluster.api import Access, Api
from intel_agent.cluster.node import without
from intel_agent.errors import ConflictError

from .agent import Account, Agent
from .cluster import Cluster
from .kubelet import NODE
from .machine import I915, XE, Machine
from .waiting import eventually

NODE_PATH = f"/api/v1/nodes/{NODE}"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PERIOD_SECONDS = 45.0
"""How long it may take until the agent looks at its node again."""
KEY = "intel.com/agent-not-ready"
OTHER = {"key": "example.com/other", "effect": "PreferNoSchedule"}

Taint = dict[str, str]


class Spec(msgspec.Struct, frozen=True):
    taints: tuple[Taint, ...] = ()


class TaintedNode(msgspec.Struct, frozen=True):
    spec: Spec = Spec()


class TokenStatus(msgspec.Struct, frozen=True):
    token: str


class TokenRequest(msgspec.Struct, frozen=True):
    status: TokenStatus


def allow(cluster: Cluster, *verbs: str) -> None:
    """Give the agent's account these rights on nodes."""
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": list(verbs)}]
    role = {"metadata": {"name": "agent"}, "rules": rules}
    cluster.api.request("PUT", f"{RBAC}/clusterroles/agent", role)


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Account:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    cluster.api.request("POST", accounts, {"metadata": {"name": "agent"}})
    cluster.api.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "agent"}, "rules": []})
    binding = {
        "metadata": {"name": "agent"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"},
        "subjects": [{"kind": "ServiceAccount", "name": "agent", "namespace": "default"}],
    }
    cluster.api.request("POST", f"{RBAC}/clusterrolebindings", binding)
    answer = cluster.api.request("POST", f"{accounts}/agent/token", {"spec": {"expirationSeconds": 3600}})
    directory = cluster.node.base / "account"
    directory.mkdir()
    (directory / "token").write_text(msgspec.json.decode(answer, type=TokenRequest).status.token)
    (directory / "ca.crt").write_bytes(cluster.api.authority.read_bytes())
    return Account(NODE, cluster.api.port, directory)


@pytest.fixture
def agent(cluster: Cluster, account: Account) -> Iterator[Agent]:
    machine = Machine(cluster.node.base / "own-machine")
    agent = Agent(cluster.node.place, machine, "own", account)
    with ExitStack() as end:
        end.callback(machine.scrap)
        end.callback(agent.process.kill)
        yield agent


def label(cluster: Cluster, kind: str) -> None:
    patch(cluster, {"metadata": {"labels": {"type": kind}}})


def patch(cluster: Cluster, change: Mapping[str, object]) -> None:
    cluster.api.request("PATCH", NODE_PATH, change, content="application/merge-patch+json")


def taints(cluster: Cluster) -> list[Taint]:
    node = msgspec.json.decode(cluster.api.request("GET", NODE_PATH), type=TaintedNode)
    return [{"key": each["key"], "effect": each["effect"]} for each in node.spec.taints]


def shares(number: int) -> dict[str, frozenset[str]]:
    return {
        I915: frozenset(f"card{card}-{share}" for card in (0, 1) for share in range(number)),
        XE: frozenset(f"card2-{share}" for share in range(number)),
    }


def test_overrides_follow_the_labels_with_the_right_to_get_only(cluster: Cluster, agent: Agent) -> None:
    allow(cluster, "get")
    label(cluster, "flex")
    three = {"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 3}}}
    agent.configure(top={"nodeOverrides": [three]})
    agent.start().until_offered(shares(3))
    label(cluster, "max")
    agent.until_offered(shares(2), within=PERIOD_SECONDS)
    assert "overrides.applied" in [line.event for line in agent.log()]


def test_the_startup_taint_goes_with_the_right_to_patch_and_no_other_taint_does(cluster: Cluster, agent: Agent) -> None:
    allow(cluster, "get")
    ours = [{"key": KEY, "effect": effect} for effect in ("NoSchedule", "PreferNoSchedule")]
    patch(cluster, {"spec": {"taints": [ours[0], OTHER, ours[1]]}})
    agent.configure(top={"startupTaint": {"enabled": True}})
    agent.start().until_offered()
    eventually(lambda: "cluster.unavailable" in [line.event for line in agent.log()], "refusal", within=10)
    (refusal,) = [line.problem for line in agent.log() if line.event == "cluster.unavailable"]
    assert f"PATCH {NODE_PATH}: 403 Forbidden" in refusal
    assert taints(cluster) == [ours[0], OTHER, ours[1]]
    allow(cluster, "get", "patch")
    eventually(lambda: taints(cluster) == [OTHER], "removal of our taints alone", within=PERIOD_SECONDS)
    patch(cluster, {"spec": {"taints": None}})


def test_a_patch_that_comes_too_late_is_a_conflict(cluster: Cluster, account: Account) -> None:
    allow(cluster, "get", "patch")
    patch(cluster, {"spec": {"taints": [OTHER]}})
    late = msgspec.json.encode(without(KEY, ({"key": KEY, "effect": "NoSchedule"},)))

    async def request() -> None:
        api = Api(Access.from_pod(account.environment, str(account.directory)))
        try:
            await api.patch(NODE_PATH, late)
        finally:
            await api.close()

    with pytest.raises(ConflictError, match=f"PATCH {NODE_PATH}: 422 Unprocessable Entity"):
        anyio.run(request)
    assert taints(cluster) == [OTHER]
    patch(cluster, {"spec": {"taints": None}})
