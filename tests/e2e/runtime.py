"""containerd and runc, for containers in the node's network or in one of their own."""

import json
import os
import signal
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .daemon import Daemon
from .image import IMAGE, write_image
from .sandbox import MountNamespace
from .waiting import eventually

CONFIG = """
version = 4
imports = []
root = "{root}/root"
state = "{root}/state"

[plugins."io.containerd.server.v1.grpc"]
  address = "{root}/containerd.sock"
[plugins."io.containerd.server.v1.ttrpc"]
  address = "{root}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{image}"

[plugins."io.containerd.cri.v1.runtime"]
  cdi_spec_dirs = ["{cdi}"]
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE no container gets a lower oom_score_adj than containerd's own.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  conf_dir = "{root}/cni"
  bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "{shim}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = "{root}/runc"
"""

LOOPBACK = {"type": "loopback"}
"""Makes containerd report a network; pods in the host's network need no more."""

BRIDGE = {
    "type": "bridge",
    "bridge": "pods",
    "isGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
}
"""Each pod has an address of its own, and the node as its gateway."""


class Containerd:
    """One containerd with all its state below one directory."""

    def __init__(
        self,
        binaries: Path,
        root: Path,
        cdi: Path | str,
        namespace: MountNamespace,
        log: Path,
        *,
        plugin: Mapping[str, object],
    ) -> None:
        self.socket = root / "containerd.sock"
        self.snapshots = root / "root" / "io.containerd.snapshotter.v1.overlayfs"
        self._ctr = binaries / "ctr"
        self._root = root
        self._config = root / "config.toml"
        (root / "cni").mkdir(parents=True)
        network = {"cniVersion": "1.0.0", "name": "e2e", "plugins": [dict(plugin)]}
        (root / "cni" / "10-e2e.conflist").write_text(json.dumps(network))
        self._config.write_text(
            CONFIG.format(root=root, cdi=cdi, image=IMAGE, shim=binaries / "containerd-shim-runc-v2")
        )
        self._containerd = binaries / "containerd"
        self._namespace = namespace
        self._log = log
        self._daemon: Daemon | None = None

    def start(self) -> None:
        command = self._namespace.enter([self._containerd, "--config", self._config])
        # runc is looked for on the path, and Debian has it in /usr/sbin.
        self._daemon = Daemon(command, self._log, environment={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
        self._daemon.start()
        eventually(lambda: self._succeeds("version"), "containerd", within=20)
        archive = self._root / "image.tar"
        write_image(archive)
        self.load(archive)

    def stop(self) -> None:
        """End every container, then containerd itself, and its shims, which outlive it by design."""
        if self._daemon is None or not self._daemon.alive:
            return
        self.kill_tasks()
        self._daemon.stop()
        for pid in _processes_with(str(self.socket)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def load(self, archive: Path) -> None:
        """Bring an image to the node."""
        self.ctr("images", "import", str(archive))

    def kill_tasks(self) -> None:
        """Kill every container's processes, as a reboot would."""
        for task in self.tasks():
            self._succeeds("tasks", "kill", "--all", "--signal", "SIGKILL", task)
        eventually(lambda: not self.tasks(), "end of all tasks", within=10)

    def tasks(self) -> dict[str, int]:
        """Return the process of each running container, sandboxes too, by container id."""
        lines = self.ctr("tasks", "list").splitlines()[1:]
        return {task: int(pid) for task, pid, state in map(str.split, lines) if state == "RUNNING"}

    def containers(self, pod: str) -> frozenset[str]:
        """Return the containers of a pod, running or not, its sandbox too."""
        filters = f'labels."io.kubernetes.pod.name"=={pod}'
        return frozenset(self.ctr("containers", "list", "--quiet", filters).split())

    def annotations(self, container: str) -> dict[str, str]:
        """Return the annotations that kubelet gave to a container."""
        annotations: dict[str, str] = self._told_of(container)["annotations"]
        return annotations

    def cdi_names(self, container: str) -> frozenset[str]:
        """Return the CDI devices that kubelet asked for."""
        return frozenset(str(each["name"]) for each in self._told_of(container).get("CDI_devices", ()))

    def ctr(self, *arguments: str) -> str:
        command = [str(self._ctr), "--address", str(self.socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def _told_of(self, container: str) -> dict[str, Any]:
        """Return what kubelet said of a container: CRI's ContainerConfig."""
        info = json.loads(self.ctr("containers", "info", container))
        metadata = json.loads(b64decode(info["Extensions"]["io.cri-containerd.container.metadata"]["value"]))
        config: dict[str, Any] = metadata["Metadata"]["Config"]
        return config

    def _succeeds(self, *arguments: str) -> bool:
        try:
            self.ctr(*arguments)
        except subprocess.CalledProcessError:
            return False
        return True


def _processes_with(word: str) -> list[int]:
    """Return the processes with this word on their command line."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if word in path.read_text(errors="replace").split("\0"):
                found.append(int(path.parent.name))
    return found
