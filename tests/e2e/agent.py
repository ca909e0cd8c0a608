"""The agent under test: a process of its own, for one kubelet and one simulated machine."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .daemon import Daemon
from .kubelet import Place
from .machine import DEVICES, OFFER, Machine
from .waiting import PATIENCE, eventually

REGISTERED_SECONDS = 10.0
"""How long it may take until kubelet knows what the agent offers."""

RESCAN_SECONDS = 1
"""A simulated device makes no kernel event: the agent finds it when it looks again."""

Offer = Mapping[str, frozenset[str]]
"""Healthy devices by resource."""


class LogLine(msgspec.Struct, frozen=True):
    """What matters here of one line of the agent's log."""

    event: str
    level: str = ""
    resource: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Account:
    """What a pod has to talk to the API server: the node's name, a port on 127.0.0.1, token and authority."""

    node: str
    port: int
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "NODE_NAME": self.node,
        }


class Agent:
    """One agent process. It may be started again after its end; a second one may run beside it."""

    def __init__(self, place: Place, machine: Machine, name: str = "agent", account: Account | None = None) -> None:
        self._place = place
        self._config = place.base / f"{name}.yaml"
        self._log = place.base / f"{name}.log"
        self._log.write_bytes(b"")
        self._begin = 0
        command = [sys.executable, "-m", "intel_agent", "run", "--config", str(self._config)]
        command += ["--root", str(machine.root), "--host-root", str(machine.root)]
        self._runtime, state = place.base / f"{name}-runtime", place.base / f"{name}-state"
        for directory in (self._runtime, state):  # an earlier test's agent of that name remembered other devices
            shutil.rmtree(directory, ignore_errors=True)
        command += ["--state-directory", str(state), "--runtime-directory", str(self._runtime)]
        if account is not None:
            command += ["--account-directory", str(account.directory)]
        self.process = Daemon(command, self._log, environment=None if account is None else account.environment)
        self.configure()

    def configure(
        self,
        *,
        rescan_seconds: float = RESCAN_SECONDS,
        top: Mapping[str, object] | None = None,
        **sections: Mapping[str, object],
    ) -> None:
        """Write the configuration file; the sections stand above the machine's usual ones, `top` beside `devices`."""
        content = {
            "kubelet": {
                "devicePluginDirectory": str(self._place.device_plugins),
                "podResourcesSocket": str(self._place.pod_resources.socket),
            },
            "cdi": {"directory": str(self._place.cdi)},
            "deviceInfo": {"directory": str(self._place.device_info)},
            "health": {"rescanSeconds": rescan_seconds, "lingerSeconds": LINGER_SECONDS, "readDeadlineSeconds": 60},
            "devices": {**DEVICES, **sections},
            **(top or {}),
        }
        draft = self._config.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.replace(self._config)

    def start(self) -> "Agent":
        self._begin = self._log.stat().st_size
        self.process.start()
        return self

    def text(self) -> str:
        """Return the log as it is."""
        return self._log.read_text()

    def mark(self, device: str, word: str) -> None:
        """Say what a device is to be, as an administrator does."""
        command = [sys.executable, "-m", "intel_agent", "mark", device, word, "--runtime-directory", str(self._runtime)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)

    def log(self, begin: int = 0) -> list[LogLine]:
        """Return the complete lines of the log, from so many bytes on."""
        complete = self._log.read_bytes()[begin:].rpartition(b"\n")[0]
        return [msgspec.json.decode(line, type=LogLine) for line in complete.splitlines()]

    def registered(self) -> set[str]:
        """Return the resources that kubelet took since the process started."""
        return {line.resource for line in self.log(self._begin) if line.event == "resource.registered"}

    def offered(self) -> dict[str, frozenset[str]]:
        """Return the machine's resources as kubelet knows them now."""
        allocatable = self._place.pod_resources.allocatable()
        return {resource: allocatable.get(resource, frozenset()) for resource in OFFER}

    def until_offered(self, changes: Offer | None = None, *, within: float = REGISTERED_SECONDS) -> "Agent":
        """Wait until kubelet knows exactly what the machine offers, but for the changes."""
        offer = {**OFFER, **(changes or {})}

        def as_offered() -> bool:
            assert self.process.alive, f"the agent ended: {self._log.read_text()[-4000:]}"
            # Kubelet may not have noticed yet that the agent before ended, whose devices look the same.
            return self.offered() == offer and self.registered() >= OFFER.keys()

        try:
            eventually(as_offered, "offer", within=within)
        except TimeoutError as error:
            now = self.offered()
            wrong = {each: set(ids) for each, ids in now.items() if ids != offer[each]}
            raise AssertionError(f"wrong: {wrong}; the agent's log: {self._log.read_text()[-4000:]}") from error
        return self


LINGER_SECONDS = 2
"""How long a vanished device stays in kubelet's list as Unhealthy, when nobody holds it."""
