"""Where the demo takes place: a simulated node in a directory, a kubelet in miniature, and the real agent between."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from intel_agent.agent import Agent, Settings
from intel_agent.config import Config, load
from intel_agent.model import Device
from intel_agent.publish import holdings
from intel_agent.simulation import disk
from intel_agent.simulation.kubelet import Resource, SimulatedKubelet
from intel_agent.simulation.tree import Tree
from intel_agent.sysfs import Host

Resources = Mapping[str, Resource]

DEADLINE = 10.0
"""How long the agent and kubelet may take for anything, in seconds: far more than they need."""

POOLS = (
    {"resource": "intel.com/dpdk", "selectors": {"drivers": ["vfio-pci"]}},
    {"resource": "intel.com/netdevice", "selectors": {"drivers": ["iavf"]}},
)
"""How network functions are sorted: for user space, and for the kernel."""


class Stage:
    """The node below `home`, its kubelet and its agent. Every act returns the seconds until kubelet knew of it."""

    def __init__(self, home: Path) -> None:
        self._root = home / "node"
        self._config_file = home / "config" / "agent.yaml"
        self._pod_resources = home / "pods" / "kubelet.sock"
        self._device_info = home / "devinfo"
        self._linger = 0.0
        self.shares = 2
        """How many containers may share a device of a kind that can be shared."""
        self.kubelet = SimulatedKubelet(home / "dp", self._pod_resources)
        self._last: Resources = {}
        self.remark = ""
        """What to know about what kubelet says now, when not all is well."""
        self.holders: Mapping[holdings.Key, str] = {}
        """Which pod holds which device, as kubelet told when it was asked last."""

    async def build(self, machine: str, linger_seconds: float) -> None:
        """Make the node that the text describes, and the agent's configuration."""
        self._linger = linger_seconds
        await to_thread.run_sync(disk.materialise, machine, self._root)
        config = await to_thread.run_sync(self._write_config)
        root = str(self._root)
        # Containers get nodes of the simulated node, not of the machine: what is below `root` is the host itself.
        host = await to_thread.run_sync(Host, root, root)
        settings = Settings(self._config_file, root, root, runtime_directory=f"{root}.run")
        self.agent = Agent(settings, config, host)

    def resources(self) -> Resources:
        """Return what kubelet says, or said last."""
        if now := self.kubelet.resources():
            self._last = now
        return self._last

    @property
    def is_listed(self) -> bool:
        """Whether every kind was looked at, and kubelet lists exactly what was found."""
        inventory = self.agent.inventory.value
        if inventory.found.keys() != self.agent.scanner.backends.keys():
            return False
        found = {
            name: {each for device in devices if not device.faults for each in device.ids}
            for name, devices in inventory.resources.items()
        }
        listed = {name: set(each.healthy) for name, each in self.kubelet.resources().items()}
        return {name: ids for name, ids in listed.items() if ids} == found

    async def page(self) -> str:
        """Wait until the agent serves its page, and return the address."""
        await self._until(lambda: bool(self.agent.web.port))
        return f"http://127.0.0.1:{self.agent.web.port}/"

    async def listed(self) -> float:
        """Wait until kubelet lists what is there, and return the seconds that took."""
        return await self._until(lambda: self.is_listed)

    async def pull(self, kind: str, device: Device) -> tuple[Tree, float]:
        """Take a device out of the node; return it, and the seconds until kubelet calls it unhealthy."""
        part = await to_thread.run_sync(disk.remove, self._root, device.sysfs_path)
        self.agent.scanner.hint([kind])  # as a message of the kernel would: a simulated device makes none
        return part, await self._until(lambda: self._healthy(device).isdisjoint(device.ids))

    async def plug(self, kind: str, device: Device, part: Tree) -> float:
        """Put a device back that was pulled; return the seconds until kubelet calls it healthy."""
        await to_thread.run_sync(disk.add, self._root, part)
        self.agent.scanner.hint([kind])  # as a message of the kernel would: a simulated device makes none
        return await self._until(lambda: self._healthy(device).issuperset(device.ids))

    async def dropped(self, device: Device) -> float:
        """Wait until kubelet's list does not have the device any more, and return the seconds that took."""
        return await self._until(lambda: all(self._line(device, each) is None for each in device.ids))

    async def configure(self, shares: int) -> float:
        """Change the configuration file; return the seconds until kubelet lists what follows from it."""
        self.shares, before, inventory = shares, self.agent.config.value, self.agent.inventory.value
        await to_thread.run_sync(self._write_config)
        return await self._until(
            lambda: self.agent.config.value != before and self.agent.inventory.value is not inventory and self.is_listed
        )

    async def stop_kubelet(self) -> None:
        with anyio.CancelScope(shield=True):  # half a stop would be none, for ever
            await self.kubelet.stop()
            self.remark = "kubelet is away; this is what it said last"

    async def start_kubelet(self) -> float:
        """Start kubelet again; return the seconds from its new socket until it lists everything."""
        with anyio.CancelScope(shield=True):
            await self.kubelet.start()
            self.remark = ""
        return await self.listed()

    async def ask_holders(self) -> None:
        """Ask kubelet, as the agent does, who holds what."""
        answer = await holdings.ask(str(self._pod_resources))
        self.holders = {key: who.split("/")[1] for key, who in answer.held.items() if who is not None}

    async def left_behind(self) -> list[str]:
        """Return the names of the sockets that the agent left behind, once kubelet knows that it has stopped."""
        await self._until(lambda: not any(each.healthy for each in self.resources().values()) or bool(self.remark))
        self.remark = "the agent has stopped, so kubelet takes every device for unhealthy"
        names = await to_thread.run_sync(os.listdir, self.kubelet.socket.parent)
        return sorted(each for each in names if each.endswith(".sock") and each != self.kubelet.socket.name)

    def _healthy(self, device: Device) -> frozenset[str]:
        resource = self.kubelet.resources().get(device.resource)
        return frozenset() if resource is None else resource.healthy

    def _line(self, device: Device, identifier: str) -> object:
        resource = self.kubelet.resources().get(device.resource)
        return None if resource is None else resource.device(identifier)

    async def _until(self, so: Callable[[], bool]) -> float:
        start = anyio.current_time()
        await self.kubelet.wait_for(lambda _: so(), DEADLINE)
        return anyio.current_time() - start

    def _write_config(self) -> Config:
        text = json.dumps(self._document(), indent=2)
        self._config_file.parent.mkdir(exist_ok=True)
        written = self._config_file.with_name("agent.new")
        written.write_text(text + "\n", encoding="utf-8")
        written.rename(self._config_file)
        return load(self._config_file).config

    def _document(self) -> dict[str, object]:
        return {
            "log": {"level": "error", "format": "json"},
            "kubelet": {
                "devicePluginDirectory": str(self.kubelet.socket.parent),
                "podResourcesSocket": str(self._pod_resources),
            },
            "deviceInfo": {"directory": str(self._device_info)},
            "health": {"lingerSeconds": self._linger},
            "http": {"host": "127.0.0.1", "port": 0, "statusPage": True},
            "devices": {
                "gpu": {"sharedDevNum": self.shares, "enableMonitoring": True},
                "npu": {"sharedDevNum": self.shares},
                "dsa": {"sharedDevNum": self.shares},
                "iaa": {"sharedDevNum": self.shares},
                "nic": {"pools": POOLS},
            },
        }
