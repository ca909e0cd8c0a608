"""A simulated node in a directory: machine, configuration, and the places of kubelet."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from intel_agent.simulation import disk
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.tree import NODES, Tree, parse, tree

I915 = "gpu.intel.com/i915"
XE = "gpu.intel.com/xe"
ENCLAVE = "sgx.intel.com/enclave"
PROVISION = "sgx.intel.com/provision"
SHARED_DSA = "dsa.intel.com/wq-user-shared"
DEDICATED_DSA = "dsa.intel.com/wq-user-dedicated"
SHARED_IAA = "iaa.intel.com/wq-user-shared"
DEDICATED_IAA = "iaa.intel.com/wq-user-dedicated"

EVERYTHING = frozenset({I915, XE, ENCLAVE, PROVISION, SHARED_DSA, DEDICATED_DSA, SHARED_IAA, DEDICATED_IAA})
"""What the machine `everything` offers."""

XE_CARD = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
"""The card of the machine `everything` that is driven by xe (card0)."""
I915_CARD = "/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.0"
"""The card of the machine `everything` that is driven by i915 (card1)."""

Section = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Node:
    """Places below `base`, which is short enough for sockets."""

    base: Path

    @property
    def root(self) -> Path:
        """The machine's own /sys and /dev."""
        return self.base / "node"

    @property
    def plugins(self) -> Path:
        """Kubelet's directory of device plugins."""
        return self.base / "dp"

    @property
    def pod_resources(self) -> Path:
        return self.base / "pr" / "kubelet.sock"

    @property
    def cdi(self) -> Path:
        return self.base / "cdi"

    @property
    def state(self) -> Path:
        """Where the agent remembers what was in force."""
        return self.base / "state"

    @property
    def config(self) -> Path:
        return self.base / "etc" / "agent.yaml"

    def kubelet(self, *, dial_seconds: float = 1.0, grace_seconds: float = 300.0) -> SimulatedKubelet:
        """Return the kubelet of this node, not yet started."""
        return SimulatedKubelet(
            self.plugins, self.pod_resources, dial_seconds=dial_seconds, grace_seconds=grace_seconds
        )

    def configure(
        self,
        *,
        devices: Section | None = None,
        health: Section | None = None,
        log: Section | None = None,
        overrides: Sequence[Section] = (),
        taint: Section | None = None,
    ) -> None:
        """Write the configuration file at one stroke."""
        self.write_config(
            json.dumps(
                {
                    "log": {"format": "json", **(log or {})},
                    "kubelet": {
                        "devicePluginDirectory": str(self.plugins),
                        "podResourcesSocket": str(self.pod_resources),
                    },
                    "cdi": {"directory": str(self.cdi)},
                    # One hour: what a test sees happens by a hint, not by the tick.
                    "health": {"rescanSeconds": 3600, **(health or {})},
                    "devices": devices or {},
                    "nodeOverrides": overrides,
                    "startupTaint": taint or {},
                }
            )
        )

    def write_config(self, text: str) -> None:
        self.config.parent.mkdir(exist_ok=True)
        draft = self.config.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.config)

    def socket(self, resource: str) -> Path:
        """Return where the plugin of the resource listens."""
        return self.plugins / (resource.replace("/", "-") + ".sock")

    async def unplug(self, *paths: str) -> Tree:
        """Pull devices out and return them."""
        return await to_thread.run_sync(disk.remove, self.root, *paths)

    async def plug(self, part: Tree) -> None:
        await to_thread.run_sync(disk.add, self.root, part)

    async def change(self, path: str, text: str) -> None:
        await to_thread.run_sync(disk.change, self.root, path, text)

    def block(self, path: str) -> Path:
        """Make every read of the file at `path` block, as a driver that hangs does; return the pipe that is there now.

        Who opens it for writing and closes it lets one read go on, with an empty answer.
        """
        here = self.root / path.removeprefix("/")
        draft = here.with_suffix(".draft")
        os.mkfifo(draft)
        draft.rename(here)  # at one stroke: nobody finds the file missing
        return here


def made(base: Path, machine: str) -> Node:
    """Return the node with the packaged machine `machine`, and a configuration with all defaults."""
    node = Node(base)
    disk.materialise((NODES / f"{machine}.tree").read_text(), node.root)
    node.plugins.mkdir()
    node.configure()
    return node


def part(machine: str, *words: str) -> Tree:
    """Return those entries of a packaged machine whose paths contain one of the words."""
    entries = parse((NODES / f"{machine}.tree").read_text()).entries
    return tree({path: entry for path, entry in entries.items() if any(word in path for word in words)})


def removed(directory: Path) -> None:
    """Remove a directory in which somebody else makes and removes files at the same time."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
