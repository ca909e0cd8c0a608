"""What keeps a kubelet away from the rest of the machine: a mount namespace, cgroups, saved sysctls."""

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from .daemon import Daemon
from .network import LOOPBACK, free_ports, inside
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

    address = LOOPBACK
    """Where a node in this namespace listens."""

    def __init__(
        self, kubelet_root: Path, log: Path, kinds: Iterable[str] = ("--mount",), commands: Iterable[str] = ()
    ) -> None:
        script = [
            *("mount -t tmpfs run /run", "mount -t tmpfs lib /var/lib", "mkdir /var/lib/kubelet"),
            *commands,
            f"mount --bind {kubelet_root} /var/lib/kubelet",
            "exec sleep infinity",
        ]
        self._log = log
        self._holder = Daemon(["unshare", *kinds, "--propagation", "private", "sh", "-ec", "\n".join(script)], log)
        kubelet_root.mkdir()
        self._holder.start()
        eventually(self._is_made, "namespace", within=10)

    def stop(self) -> None:
        self._holder.kill()

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command that runs another one in this namespace; its process id stays the same."""
        return ["nsenter", f"--mount={self._file('mnt')}", *map(str, command)]

    def beside(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command that runs another one in this node's network, outside of its mounts."""
        return list(map(str, command))

    def network(self) -> AbstractContextManager[None]:
        """Have the calling thread in this node's network throughout the block."""
        return nullcontext()

    def free_ports(self, count: int) -> list[int]:
        with self.network():
            return free_ports(count)

    def file(self, path: str) -> Path:
        """Return where a path of this namespace is seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def _is_made(self) -> bool:
        assert self._holder.alive, self._log.read_text()
        return " /var/lib/kubelet " in Path(f"/proc/{self._holder.pid}/mounts").read_text()

    def _file(self, kind: str) -> Path:
        return Path(f"/proc/{self._holder.pid}/ns/{kind}")


class MachineNamespace(MountNamespace):
    """
    A namespace in which the simulated machine below `root` is the machine, with a network of its own.

    Its /sys and /dev are those of the machine, to which come the parts of the real ones that containers and kubelet
    need. Its network has two addresses: the node's, and that of the service `kubernetes`, at which the API server
    listens itself, so that nobody has to translate it.
    """

    address = "192.0.2.10"
    service = "10.0.0.1"

    def __init__(self, kubelet_root: Path, log: Path, root: Path) -> None:
        devices = {path: path.stat() for path in map(Path, DEVICES)}
        for path, status in devices.items():
            os.mknod(root / path.relative_to("/"), stat.S_IFCHR | 0o666, status.st_rdev)
        for path in map(Path, (*SUBMOUNTS, *NETWORK)):
            (root / path.relative_to("/")).mkdir(parents=True)
        (root / "dev" / "ptmx").symlink_to("pts/ptmx")
        commands = [
            "ip link set lo up",
            f"ip address add {self.address}/32 dev lo",
            f"ip address add {self.service}/32 dev lo",
            "mkdir /run/sysfs",
            "mount -t sysfs sysfs /run/sysfs",  # of this network
            *(f"mount --rbind {path} {root}{path}" for path in SUBMOUNTS),
            *(f"mount --bind /run/sysfs{path.removeprefix('/sys')} {root}{path}" for path in NETWORK),
            *(f"mount --rbind {root}{path} {path}" for path in ("/sys", "/dev")),
        ]
        super().__init__(kubelet_root, log, ("--mount", "--net"), commands)

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        return self.beside(super().enter(command))

    def beside(self, command: Sequence[str | Path]) -> list[str]:
        return ["nsenter", f"--net={self._file('net')}", *map(str, command)]

    def network(self) -> AbstractContextManager[None]:
        return inside(self._file("net"))


DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/kmsg")
"""What containers and kubelet need of the real /dev, beside what is mounted below it."""

SUBMOUNTS = (
    *("/dev/pts", "/dev/shm"),
    *(f"/sys/{path}" for path in ("fs", "kernel/mm", "module", "firmware", "power", "block", "devices/system")),
)
"""What they need of the real /sys and /dev; no simulated machine has anything there."""

NETWORK = ("/sys/class/net", "/sys/devices/virtual/net")
"""What shows the network of whoever mounts it."""


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
