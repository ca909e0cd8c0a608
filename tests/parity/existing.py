"""An existing device plugin as a process, for which the simulated machine is the machine."""

import os
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pinned
from integration.node import Node

HERE = Path(__file__).parent
TOOLS = ("go", "mount", "unshare")

_ENTER = """
set -e
plugins=$1 root=$2
shift 2
mount -t tmpfs none /var/lib
mkdir -p /var/lib/kubelet/device-plugins /var/run/cdi
mount --bind "$plugins" /var/lib/kubelet/device-plugins
mount -t tmpfs none /var/run/cdi
mount --rbind "$root/sys" /sys
mount --rbind "$root/dev" /dev
exec "$@"
"""
"""Its paths are fixed: the machine's and kubelet's are mounted there. /dev comes last: the machine is below it."""


def programs() -> Path:
    """Return the folder of the programs that plugins/build.sh builds, or finds in its cache."""
    return pinned.built(HERE / "plugins")


@contextmanager
def existing(node: Node, kind: str, flags: Sequence[str]) -> Generator[Path]:
    """Run the plugin of a kind on the node; give the file of its log."""
    log = node.base / f"{kind}.log"
    command = ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(node.plugins), str(node.root)]
    with log.open("wb") as file:
        plugin = subprocess.Popen(
            [*command, str(programs() / f"{kind}_plugin"), *flags],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={"PATH": os.environ["PATH"], "NODE_NAME": "worker"},
        )
    try:
        yield log
    finally:
        plugin.kill()
        plugin.wait()
