"""A simulated node in a directory: machine, configuration, and the places of kubelet."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread
from machines import put

from intel_agent.simulation import disk
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.machines import Gpu, at
from intel_agent.simulation.tree import NODES, Tree, parse, tree

I915 = "gpu.intel.com/i915"
XE = "gpu.intel.com/xe"
VFIO = "gpu.intel.com/vfio"
ENCLAVE = "sgx.intel.com/enclave"
PROVISION = "sgx.intel.com/provision"
SHARED_DSA = "dsa.intel.com/wq-user-shared"
DEDICATED_DSA = "dsa.intel.com/wq-user-dedicated"
SHARED_IAA = "iaa.intel.com/wq-user-shared"
DEDICATED_IAA = "iaa.intel.com/wq-user-dedicated"

EVERYTHING = frozenset(
    {
        *(I915, XE, ENCLAVE, PROVISION, SHARED_DSA, DEDICATED_DSA, SHARED_IAA, DEDICATED_IAA),
        *(VFIO, "npu.intel.com/accel", "habana.ai/gaudi", "qat.intel.com/cy"),
        *("dlb.intel.com/pf", "dlb.intel.com/vf"),
        "fpga.intel.com/af-695.d84.aVKNtusxV3qMNmj5-qCB9thCTcSko8QT-J5DNoP5BAs",
    }
)
"""What the machine `everything` offers, without the network functions: they need pools."""


XE_CARD = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
"""The card of the machine `everything` that is driven by xe (card0)."""
I915_CARD = "/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.0"
"""The card of the machine `everything` that is driven by i915 (card1)."""

ONE_CARD = "\n".join(Gpu(0, at("0000:00:02.0"), "i915", numa=-1).lines())
"""The text of a machine with one card, which is driven by i915."""

Section = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Node:
    """Places below `base`, which is short enough for sockets."""

    base: Path
    config_name: str = "agent.yaml"
    kubelets: list[SimulatedKubelet] = field(default_factory=list[SimulatedKubelet])
    """Those that were made for it, the latest last."""

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
    def infos(self) -> Path:
        """Where device-info files are."""
        return self.base / "devinfo"

    @property
    def state(self) -> Path:
        """Where the agent remembers what was in force."""
        return self.base / "state"

    @property
    def runtime(self) -> Path:
        """Where the agent keeps what does not outlive a boot."""
        return self.base / "run"

    @property
    def config(self) -> Path:
        return self.base / "etc" / self.config_name

    def kubelet(self, *, dial_seconds: float = 10.0) -> SimulatedKubelet:
        """Return a kubelet of this node, not yet started."""
        self.kubelets.append(SimulatedKubelet(self.plugins, self.pod_resources, dial_seconds=dial_seconds))
        return self.kubelets[-1]

    def configure(
        self,
        *,
        devices: Section | None = None,
        health: Section | None = None,
        log: Section | None = None,
        overrides: Sequence[Section] = (),
        taint: Section | None = None,
        http: Section | None = None,
        events: Section | None = None,
        top: Section | None = None,
    ) -> None:
        """Write the configuration file at one stroke; `top` are further sections by name."""
        self.write_config(
            json.dumps(
                {
                    "log": {"format": "json", **(log or {})},
                    "kubelet": {
                        "devicePluginDirectory": str(self.plugins),
                        "podResourcesSocket": str(self.pod_resources),
                    },
                    "cdi": {"directory": str(self.cdi)},
                    "deviceInfo": {"directory": str(self.infos)},
                    # What a test sees happens by a hint, not by the tick; what recovers does so at once; and a machine
                    # that has too much to do is no device that hangs.
                    "health": {
                        "rescanSeconds": 3600,
                        "recoverySeconds": 0,
                        "readDeadlineSeconds": 60,
                        **(health or {}),
                    },
                    "devices": devices or {},
                    "nodeOverrides": overrides,
                    "startupTaint": taint or {},
                    "kubernetesEvents": events or {},
                    "http": http or {},
                    **(top or {}),
                }
            )
        )

    def write_config(self, text: str) -> None:
        self.config.parent.mkdir(exist_ok=True)
        draft = self.config.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.config)

    def socket(self, resource: str) -> Path:
        """Return where the plugin of the resource listens: where those do that the agent takes the place of."""
        if resource == "habana.ai/gaudi":
            return self.plugins / "gaudi_habanalabs.sock"
        pool = resource.startswith("intel.com/")
        return self.plugins / (resource.replace("/", "_" if pool else "-") + ".sock")

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


def mended(pipe: Path, text: str = "0\n") -> None:
    """Put a file in place of the pipe, then let the read that waits go on; the next would wait for the pipe, too."""
    with ExitStack() as stack:
        writer = stack.enter_context(pipe.open("wb"))
        draft = pipe.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(pipe)
        writer.write(text.encode())


def made(base: Path, machine: str) -> Node:
    """Return the node with the packaged machine `machine`, or the machine of that text, and all defaults."""
    node = Node(base)
    put(machine if "\n" in machine else (NODES / f"{machine}.tree").read_text(), node.root)
    node.plugins.mkdir()
    node.configure()
    return node


def part(machine: str, *words: str) -> Tree:
    """Return those entries of a packaged machine whose paths contain one of the words."""
    entries = parse((NODES / f"{machine}.tree").read_text()).entries
    return tree({path: entry for path, entry in entries.items() if any(word in path for word in words)})
