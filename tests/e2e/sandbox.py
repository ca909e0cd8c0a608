"""What keeps a kubelet away from the rest of the machine: a mount namespace, cgroups, saved sysctls."""

import os
from collections.abc import Sequence
from pathlib import Path

from .daemon import Daemon
from .waiting import eventually

CGROUPS = Path("/sys/fs/cgroup")
SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What a kubelet changes when it starts (protectKernelDefaults is off)."""


class MountNamespace:
    """
    A mount namespace in which /var/lib/kubelet is a directory of ours and /run is empty.

    The device-plugins directory below /var/lib/kubelet is a constant in kubelet, the shims' sockets below /run one
    in containerd. From outside both are reached through their real directory: unix sockets are found by inode.
    """

    def __init__(self, kubelet_root: Path, log: Path) -> None:
        script = (
            "mount -t tmpfs run /run && mount -t tmpfs lib /var/lib && mkdir /var/lib/kubelet"
            f" && mount --bind {kubelet_root} /var/lib/kubelet && exec sleep infinity"
        )
        self._holder = Daemon(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script], log)
        kubelet_root.mkdir()
        self._holder.start()
        mounts = Path(f"/proc/{self._holder.pid}/mounts")
        eventually(lambda: " /var/lib/kubelet " in mounts.read_text(), "mount namespace", within=5)

    def stop(self) -> None:
        self._holder.kill()

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command that runs another one in this namespace; its process id stays the same."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *map(str, command)]


class Cgroup:
    """One cgroup in every hierarchy of this machine, of version 1 as well as 2."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        for hierarchy in _hierarchies():
            group = hierarchy / self.name
            group.mkdir()
            # Version 1: a cpuset without processors and memory nodes takes no process.
            for setting in ("cpuset.mems", "cpuset.cpus"):
                if (hierarchy / setting).exists() and not (group / setting).read_text().strip():
                    (group / setting).write_text((hierarchy / setting).read_text())

    def remove(self) -> None:
        """Remove the cgroup and all below it; there are no processes left in it."""
        for hierarchy in _hierarchies():
            for path, _, _ in os.walk(hierarchy / self.name, topdown=False):
                _remove_group(Path(path))


class Sysctls:
    """The values of some sysctls, to be put back."""

    def __init__(self) -> None:
        self._values = {path: path.read_text() for name in SYSCTLS if (path := Path("/proc/sys", name)).exists()}

    def restore(self) -> None:
        for path, value in self._values.items():
            if path.read_text() != value:
                path.write_text(value)


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _remove_group(group: Path) -> None:
    def removed() -> bool:
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # busy: its last process is still ending
            return False
        return True

    eventually(removed, f"removal of {group}", within=10)
