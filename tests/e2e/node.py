"""A node: containerd and a kubelet in their own namespaces and cgroup, and static pods on it."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import msgspec
import pinned

from .kubelet import NODE, Kubelet, Place
from .podresources import Holding, PodResources
from .pods import Pod, PodList, PodStatus, Report, container, manifest, parse_report
from .runtime import BRIDGE, LOOPBACK, Containerd
from .sandbox import Cgroup, MachineNamespace, MountNamespace, Sysctls
from .waiting import eventually

POD_SECONDS = 20.0
"""How long a pod may take to get where it should be."""


def refusal(message: str) -> str:
    """Return why a pod does not get its devices, without the words that kubelet puts around every reason."""
    return message.partition("Allocate failed due to ")[2].removesuffix(", which is unexpected")


def unavailable(resource: str) -> str:
    """Return what kubelet says when it has no device left."""
    return f"requested number of devices unavailable for {resource}. Requested: 1, Available: 0"


def unhealthy(resource: str) -> str:
    """Return what kubelet says when none of the devices is healthy."""
    return f"no healthy devices present; cannot allocate unhealthy devices {resource}"


def binaries(name: str) -> Path:
    """Return the folder of the binaries that tests/e2e/<name>/build.sh builds, or finds in its cache."""
    return pinned.built(Path(__file__).parent / name)


class Node:
    """One simulated machine's kubelet with everything below it."""

    def __init__(self, kubeconfig: Path | None = None, machine: Path | None = None) -> None:
        """With `machine` the node is that simulated machine itself; without, only agents look at another."""
        self.base = Path(tempfile.mkdtemp(prefix="e2e-"))
        self._sysctls = Sysctls()
        self._cgroup = Cgroup(self.base.name)
        mounts = self.base / "kubelet", self.base / "namespace.log"
        self.namespace = MachineNamespace(*mounts, machine) if machine else MountNamespace(*mounts)
        self.cdi = self.namespace.file("/run/cdi") if machine else self.base / "cdi"
        self.cdi.mkdir()
        self.device_info = self.base / "device-info"
        self.kubelet = Kubelet(binaries("kubernetes") / "kubelet", self.base, self.namespace, self._cgroup, kubeconfig)
        self.runtime = Containerd(
            binaries("containerd"),
            self.base / "containerd",
            "/run/cdi" if machine else self.cdi,
            self.namespace,
            self.base / "containerd.log",
            plugin=BRIDGE if machine else LOOPBACK,
        )
        self._numbers = count()

    @property
    def pod_resources(self) -> PodResources:
        return self.kubelet.pod_resources

    @property
    def place(self) -> Place:
        return Place(self.base, self.kubelet.device_plugins, self.pod_resources, self.cdi, self.device_info)

    def start(self, settings: Mapping[str, object] | None = None) -> None:
        """Start everything, kubelet with settings above the usual ones."""
        self._cgroup.create()
        self.runtime.start()
        self.kubelet.start(settings)

    def stop(self) -> None:
        """End everything and leave nothing behind."""
        self.kubelet.stop()
        self.runtime.stop()
        self.namespace.stop()
        self._cgroup.remove()
        self._sysctls.restore()
        shutil.rmtree(self.base)

    def pods(self) -> dict[str, Pod]:
        items = msgspec.json.decode(self.kubelet.pods(), type=PodList).items or ()
        return {pod.metadata.name: pod for pod in items}

    def run(self, limits: Mapping[str, int], **options: str) -> "StaticPod":
        """Start a pod of one container that asks for these resources."""
        return self.apply([container(limits, **options)])

    def apply(
        self, containers: Sequence[Mapping[str, object]], init: Sequence[Mapping[str, object]] = ()
    ) -> "StaticPod":
        """Start a pod of these containers."""
        pod = StaticPod(self, f"pod{next(self._numbers)}")
        pod.write(manifest(pod.manifest.stem, containers, init=init))
        return pod

    def report(self, pod: str, container: str = "main") -> Report:
        """Return what a container of a running pod found inside when it started last."""
        directory = self.kubelet.pod_logs / f"default_{pod}_{self.pods()[pod].metadata.uid}"
        last = max((directory / container).glob("*.log"), key=lambda log: int(log.stem))
        return eventually(lambda: parse_report(last.read_text()), f"report of {pod}", within=POD_SECONDS)

    def remove_pods(self) -> None:
        """Remove all pods and wait until nothing is left of them."""
        for path in self.kubelet.manifests.iterdir():
            path.unlink()
        if not self.kubelet.alive:
            self.kubelet.start()
        eventually(lambda: not self.pods() and not self.runtime.tasks(), "end of all pods", within=POD_SECONDS)


class StaticPod:
    """One static pod."""

    def __init__(self, node: Node, name: str) -> None:
        self.name = f"{name}-{NODE}"
        self.manifest = node.kubelet.manifests / f"{name}.json"
        self._node = node

    def write(self, pod: Mapping[str, object]) -> None:
        """Put the manifest into kubelet's directory in one step: it reads half files, too."""
        draft = self._node.base / self.manifest.name
        draft.write_text(json.dumps(pod))
        os.replace(draft, self.manifest)

    @property
    def status(self) -> PodStatus:
        pod = self._node.pods().get(self.name)
        return pod.status if pod else PodStatus()

    @property
    def pid(self) -> int:
        """The first process of the first container."""
        return self._node.runtime.tasks()[self.status.container.id]

    @property
    def holdings(self) -> frozenset[Holding]:
        return frozenset(holding for holding in self._node.pod_resources.holdings() if holding.pod == self.name)

    @property
    def devices(self) -> frozenset[str]:
        """The ids of the devices that the pod holds."""
        return frozenset(holding.device for holding in self.holdings)

    def until_asked_for(self) -> "StaticPod":
        """Wait until kubelet asks a plugin for the pod's devices, whatever becomes of it."""

        def asked_for() -> bool:
            lines = self._node.kubelet.log.read_text(errors="replace").splitlines()
            return any("Making allocation request" in line and f'pod="default/{self.name}"' in line for line in lines)

        eventually(asked_for, f"question for the devices of {self.name}", within=POD_SECONDS)
        return self

    def until_running(self) -> "StaticPod":
        def running() -> bool:
            status = self.status
            assert status.phase != "Failed", f"{status.reason}: {status.message}"
            return status.phase == "Running" and all(entry.ready for entry in status.container_statuses)

        try:
            eventually(running, f"running {self.name}", within=POD_SECONDS)
        except TimeoutError as error:
            waiting = [entry.state.waiting for entry in self.status.container_statuses]
            raise AssertionError(f"{self.name} does not run: {waiting}") from error
        return self

    def until_refused(self) -> str:
        """Wait until kubelet has refused to give the pod its devices, and return why."""
        eventually(lambda: self.status.phase == "Failed", f"refusal of {self.name}", within=POD_SECONDS)
        status = self.status
        assert status.reason == "UnexpectedAdmissionError", status
        return refusal(status.message)

    def report(self, container: str = "main") -> Report:
        """Return what a container found inside when it started last."""
        return self._node.report(self.name, container)

    def remove(self) -> None:
        """Remove the pod and wait until its containers are gone."""
        self.manifest.unlink()
        eventually(self.gone, f"end of {self.name}", within=POD_SECONDS)

    def gone(self) -> bool:
        # A kubelet that has just started lists no pods yet, so its word alone is not enough.
        running = self._node.runtime.tasks().keys() & self._node.runtime.containers(self.name)
        return not running and self.name not in self._node.pods()
