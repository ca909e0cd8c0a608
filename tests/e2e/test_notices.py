"""Events about a device in use, at a real API server: on the pod and on the node, as kubectl finds them."""

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import msgspec
import pytest

from .agent import Account, Agent
from .cluster import Cluster
from .kubelet import NODE
from .machine import CARD2, XE, Machine
from .pods import container
from .test_own_node import RBAC, TokenRequest
from .waiting import eventually

EVENTS = "/api/v1/namespaces/default/events"
NAME = "teller"


class Metadata(msgspec.Struct, frozen=True):
    uid: str = ""


class Identified(msgspec.Struct, frozen=True):
    metadata: Metadata


class Event(msgspec.Struct, frozen=True):
    type: str
    reason: str
    message: str


class Events(msgspec.Struct, frozen=True):
    items: tuple[Event, ...] = ()


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Account:
    """Give an account that may create Events and nothing else."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    cluster.api.request("POST", accounts, {"metadata": {"name": NAME}})
    rules = [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
    cluster.api.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": NAME}, "rules": rules})
    binding = {
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": "default"}],
    }
    cluster.api.request("POST", f"{RBAC}/clusterrolebindings", binding)
    answer = cluster.api.request("POST", f"{accounts}/{NAME}/token", {"spec": {"expirationSeconds": 3600}})
    directory = cluster.node.base / NAME
    directory.mkdir()
    (directory / "token").write_text(msgspec.json.decode(answer, type=TokenRequest).status.token)
    (directory / "ca.crt").write_bytes(cluster.api.authority.read_bytes())
    return Account(NODE, cluster.api.port, directory)


@pytest.fixture
def machine(cluster: Cluster) -> Iterator[Machine]:
    machine = Machine(cluster.node.base / f"{NAME}-machine")
    yield machine
    machine.scrap()


@pytest.fixture
def agent(cluster: Cluster, account: Account, machine: Machine) -> Iterator[Agent]:
    agent = Agent(cluster.node.place, machine, NAME, account)
    agent.configure(top={"kubernetesEvents": {"enabled": True}})
    with ExitStack() as end:
        end.callback(agent.process.kill)
        yield agent.start().until_offered()


def told(cluster: Cluster, kind: str, name: str, uid: str) -> list[tuple[str, str]]:
    """Return type and reason of the agent's Events, by the fields that `kubectl describe` selects by."""
    fields = {"kind": kind, "name": name, "uid": uid}
    selector = ",".join(f"involvedObject.{key}={value}" for key, value in fields.items())
    answer = cluster.api.request("GET", f"{EVENTS}?fieldSelector={quote(selector)}")
    events = msgspec.json.decode(answer, type=Events).items
    return sorted((each.type, each.reason) for each in events if each.reason.startswith("Device"))


def until_told(cluster: Cluster, subject: tuple[str, str, str], wanted: list[tuple[str, str]]) -> None:
    eventually(lambda: told(cluster, *subject) == wanted, f"Events of {subject[0]}", within=15)


def test_pod_and_node_are_told_with_the_right_to_create_events_only(
    cluster: Cluster, agent: Agent, machine: Machine
) -> None:
    cluster.run("uses-a-card", container({XE: 1}))
    pod = msgspec.json.decode(cluster.api.request("GET", f"{cluster.PODS}/uses-a-card"), type=Identified)
    objects = [("Pod", "uses-a-card", pod.metadata.uid), ("Node", NODE, NODE)]
    card = machine.unplug(CARD2)
    broke, healed = ("Warning", "DeviceUnhealthy"), ("Normal", "DeviceHealthy")
    for each in objects:
        until_told(cluster, each, [broke])
    machine.plug(card)
    for each in objects:
        until_told(cluster, each, [healed, broke])
    cluster.delete("uses-a-card")
    assert [line.event for line in agent.log() if line.level in {"warning", "error"}].count("cluster.unavailable") == 0
