"""One kubelet, standalone or in a cluster, on loopback addresses only."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .daemon import Daemon
from .network import LOOPBACK
from .podresources import PodResources
from .sandbox import Cgroup, MountNamespace
from .waiting import PATIENCE, eventually

NODE = "e2e-node"
"""The name of the node; kubelet appends it to the names of static pods."""

READY_SECONDS = 40.0


class Place(NamedTuple):
    """Where an agent meets a kubelet, and where it may leave files."""

    base: Path
    device_plugins: Path
    pod_resources: PodResources
    cdi: Path
    device_info: Path


class Kubelet:
    """
    A kubelet that can be stopped, killed and started again; pods and their containers stay.

    All its state is below `root`, which it sees as /var/lib/kubelet.
    """

    def __init__(
        self, binary: Path, base: Path, namespace: MountNamespace, cgroup: Cgroup, kubeconfig: Path | None = None
    ) -> None:
        self.root = base / "kubelet"
        self.device_plugins = self.root / "device-plugins"
        self.socket = self.device_plugins / "kubelet.sock"
        self.manifests = base / "manifests"
        self.pod_logs = base / "pod-logs"
        self.log = base / "kubelet.log"
        self.pod_resources = PodResources(self.root / "pod-resources" / "kubelet.sock")
        self._config = base / "kubelet.json"
        self._base = base
        self._cgroup = cgroup
        self._namespace = namespace
        self._healthz, self._read_only, self._port = namespace.free_ports(3)
        self._kubeconfig = kubeconfig
        flags: list[str | Path] = ["--config", self._config, f"--hostname-override={NODE}", "--v=2"]
        flags += ["--vmodule=manager=4"]  # it says when it asks a plugin for devices
        flags += [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        # Without it kubelet looks for a default route; the loopback address it would refuse.
        flags += [f"--node-ip={namespace.address}"] if namespace.address != LOOPBACK else []
        self._daemon = Daemon(namespace.enter([binary, *flags]), self.log)
        for directory in (self.device_plugins, self.manifests, self.pod_logs):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def alive(self) -> bool:
        return self._daemon.alive

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self, settings: Mapping[str, object] | None = None) -> None:
        """Start with settings above the usual ones, and return when it serves on all its sockets."""
        self._config.write_text(json.dumps({**self._settings(), **(settings or {})}))
        self._daemon.start()
        eventually(self._serves, "healthy kubelet", within=READY_SECONDS)

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()

    def restart(self, settings: Mapping[str, object] | None = None) -> None:
        self.stop()
        self.start(settings)

    def pods(self) -> bytes:
        """Return the JSON text of all pods that this kubelet knows."""
        return self._fetch(self._read_only, "/pods")

    def log_since(self, offset: int) -> str:
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def _serves(self) -> bool:
        assert self.alive, f"kubelet ended: {self.log.read_text()[-2000:]}"
        # A file of that name may be left over from the kubelet before: only a connection tells.
        return self._is_healthy() and connects(self.socket)

    def _is_healthy(self) -> bool:
        try:
            self._fetch(self._healthz, "/healthz", LOOPBACK)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _fetch(self, port: int, path: str, address: str = "") -> bytes:
        url = f"http://{address or self._namespace.address}:{port}{path}"
        with self._namespace.network(), urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
            return content

    def _settings(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._namespace.address,
            "port": self._port,
            "readOnlyPort": self._read_only,
            "healthzBindAddress": LOOPBACK,
            "healthzPort": self._healthz,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "staticPodPath": str(self.manifests),
            "podLogsDir": str(self.pod_logs),
            "volumePluginDir": str(self._base / "volume-plugins"),
            "containerRuntimeEndpoint": f"unix://{self._base}/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup.name}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "localStorageCapacityIsolation": False,
            "resolvConf": "",
            "fileCheckFrequency": "1s",
            "syncFrequency": "5s",
            "nodeStatusUpdateFrequency": "1s",
            "nodeStatusReportFrequency": "10s",
            # A full disk of the machine is none of these tests' business.
            "evictionHard": dict.fromkeys(EVICTION_SIGNALS, "0%"),
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "shutdownGracePeriod": "0s",
            "enableControllerAttachDetach": self._kubeconfig is not None,
            "maxPods": 40,
        }


EVICTION_SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
)


def connects(path: Path) -> bool:
    """Whether somebody listens on the unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
