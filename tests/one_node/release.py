"""One release of the chart on the cluster, managed with Helm and looked at with kubectl."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from chart.helm import built
from e2e.cluster import Cluster
from e2e.machine import DEVICES
from e2e.node import binaries
from e2e.podresources import PodResources
from e2e.waiting import eventually

from .product import CHART, REGISTRY

NAME = "intel-agent"
"""Of the release, of its namespace, and of its DaemonSet."""

VALUES: Mapping[str, Mapping[str, object]] = {
    "devices": DEVICES,
    "health": {"rescanSeconds": 1, "lingerSeconds": 2, "readDeadlineSeconds": 60},
}
"""What OFFER belongs to. A simulated device makes no kernel event: the agent finds it when it looks again."""

COMMAND_SECONDS = 60.0

Offer = Mapping[str, frozenset[str]]
"""Healthy devices by resource."""


class RefusedError(Exception):
    """Expected error: a command failed; the text is what it printed."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What tells one pod from the next of the same name."""

    name: str
    uid: str
    deletion_timestamp: str | None = None


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """The state of the agent's container."""

    container_id: str = msgspec.field(default="", name="containerID")
    ready: bool = False
    restart_count: int = 0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """What kubelet says of the agent's pod."""

    phase: str = ""
    container_statuses: tuple[Container, ...] = ()


class ContainerSpec(msgspec.Struct, frozen=True):
    """What the agent's container should be."""

    image: str


class Spec(msgspec.Struct, frozen=True):
    """What the agent's pod should be."""

    containers: tuple[ContainerSpec, ...]


class AgentPod(msgspec.Struct, frozen=True):
    """The agent's pod."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @property
    def life(self) -> tuple[str, tuple[tuple[str, int], ...]]:
        """What another pod, or another start of the container, would have otherwise; readiness comes and goes."""
        return self.metadata.uid, tuple(
            (each.container_id, each.restart_count) for each in self.status.container_statuses
        )

    @property
    def container(self) -> str:
        """The container's id in containerd."""
        return self.status.container_statuses[0].container_id.removeprefix("containerd://")


class Pods(msgspec.Struct, frozen=True):
    """A list of pods."""

    items: tuple[AgentPod, ...] = ()


class Release:
    """The release; commands run in the node's network, as on the node itself."""

    def __init__(self, cluster: Cluster, home: Path, helm: str = "helm4") -> None:
        self.cluster = cluster
        self._helm = built(helm) / "helm"
        self._kubectl = binaries("kubernetes") / "kubectl"
        self._home = home

    def install(self, values: Mapping[str, object] = VALUES) -> str:
        """Install as docs/install.md says, and return what Helm printed."""
        where = ["--namespace", NAME, "--create-namespace", "--set", f"image.registry={REGISTRY}"]
        printed = self.helm("install", NAME, CHART, *where, *self._values(values))
        self.kubectl("label", "namespace", NAME, "--overwrite", "pod-security.kubernetes.io/enforce=privileged")
        return printed

    def upgrade(self, values: Mapping[str, object] = VALUES, *options: str) -> str:
        where = ["--namespace", NAME, "--set", f"image.registry={REGISTRY}", *options]
        return self.helm("upgrade", NAME, CHART, *where, *self._values(values))

    def uninstall(self, *, within: float = 30.0) -> None:
        """Uninstall, and wait for the end of the agent."""
        self.helm("uninstall", NAME, "--namespace", NAME)
        eventually(lambda: not self.pods, "end of the agent's pod", within=within)

    def helm(self, *arguments: str | Path) -> str:
        return self._run([self._helm, *arguments])

    def kubectl(self, *arguments: str | Path) -> str:
        return self._run([self._kubectl, *arguments])

    def exec(self, *command: str) -> str:
        """Run a command in the agent's container."""
        return self.kubectl("--namespace", NAME, "exec", f"daemonset/{NAME}", "--", *command)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the agent's log."""
        lines = self.kubectl("--namespace", NAME, "logs", f"daemonset/{NAME}").splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def replaced(self, before: AgentPod) -> None:
        """Wait for the pod after this one, which was deleted: the DaemonSet itself may not have noticed yet."""

        def ready() -> bool:
            pods = [each for each in self.pods if each.metadata.deletion_timestamp is None]
            containers = [each for pod in pods for each in pod.status.container_statuses]
            anew = [each.metadata.uid for each in pods] != [before.metadata.uid]
            return anew and len(pods) == 1 and bool(containers) and all(each.ready for each in containers)

        eventually(ready, "the next pod", within=60)

    def rolled_out(self) -> None:
        self.kubectl("--namespace", NAME, "rollout", "status", f"daemonset/{NAME}", "--timeout=50s")

    @property
    def pods(self) -> tuple[AgentPod, ...]:
        """The agent's pods: one, or more while some end."""
        path = f"/api/v1/namespaces/{NAME}/pods?labelSelector=app.kubernetes.io/component=agent"
        return msgspec.json.decode(self.cluster.api.request("GET", path), type=Pods).items

    @property
    def pod(self) -> AgentPod:
        """The agent's pod that is to stay."""
        (pod,) = (each for each in self.pods if each.metadata.deletion_timestamp is None)
        return pod

    @property
    def pid(self) -> int:
        """The agent's process."""
        return self.cluster.node.runtime.tasks()[self.pod.container]

    @property
    def resources(self) -> PodResources:
        return self.cluster.node.pod_resources

    def offered(self, offer: Offer, *, within: float = 20.0) -> None:
        """Wait until kubelet knows exactly these healthy devices, and the node object so many of them."""

        def known() -> bool:
            return self.resources.allocatable() == offer and all(
                self.cluster.node_status.amounts(resource)[1] == len(ids) for resource, ids in offer.items()
            )

        try:
            eventually(known, "offer", within=within)
        except TimeoutError as error:
            raise AssertionError(f"{self.resources.allocatable()} is offered; {self.story()}") from error

    def story(self) -> str:
        """Return what there is to read when something went wrong."""
        where = ("--namespace", NAME)
        commands = (("get", "events", "--all-namespaces"), ("get", "pods", "--all-namespaces"))
        logs = ("logs", f"daemonset/{NAME}", "--tail=40")
        return "\n".join(self._tried(*words) for words in (*commands, (*where, *logs)))

    def _tried(self, *words: str) -> str:
        try:
            return self.kubectl(*words)
        except RefusedError as error:
            return str(error)

    def _values(self, values: Mapping[str, object]) -> list[str | Path]:
        path = self._home / "values.json"
        path.write_bytes(msgspec.json.encode(values))
        return ["--values", path]

    def _run(self, command: Sequence[str | Path]) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._home)}
        environment["KUBECONFIG"] = str(self.cluster.kubeconfig())
        done = subprocess.run(
            self.cluster.node.namespace.beside(command),
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stdout + done.stderr)
        return done.stdout
