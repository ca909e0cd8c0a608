"""What each feature costs on a node with all kinds and 2,000 devices: memory with it and without, and a scrape.

Each is measured in an agent of its own, which is used as the feature is used: pages are asked for, pods hold devices.
The Kubernetes API is answered by the tests' stand-in over TLS, in this process. Needs no root.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import machine
from inventory import RESOURCES, SETTLE, Agent, get
from kubelet import Kubelet, holding, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from integration.apiserver import ApiServer, apiserver

from intel_agent.simulation import disk, tree

TIMES = 3
"""How often each question is asked before memory is looked at."""
SCRAPES = 200


@dataclass(frozen=True)
class Feature:
    """What is measured. `pages` are asked for; `asked` commands are run on the node."""

    name: str
    pages: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    holders: bool = False
    """Whether kubelet tells which pods hold what."""
    settings: Mapping[str, object] | None = None


PROBES = ("/readyz", "/livez")
SOCKET = ("status", "explain gpu.intel.com/xe")
NONE = Feature("none of them")
FEATURES = (
    NONE,
    Feature("http, with probes", PROBES),
    Feature("http, with metrics", (*PROBES, "/metrics")),
    Feature("http, with the status page", (*PROBES, "/")),
    Feature("pod-resources client", holders=True),
    Feature("http with all, and pod-resources", (*PROBES, "/metrics", "/"), holders=True),
    Feature("the agent's own socket: status and explain", asked=SOCKET),
    Feature("all of these", (*PROBES, "/metrics", "/"), SOCKET, holders=True),
    Feature("Kubernetes client: startupTaint", settings={"startupTaint": {"enabled": True}}),
)


class Place:
    """A directory with the node, and whatever an agent on it needs."""

    def __init__(self, base: Path, server: ApiServer) -> None:
        self._base = base
        self._server = server
        self.root = base / "node"
        self.runtime = base / "run"
        self.pod_resources = base / "pod-resources.sock"
        disk.materialise(tree.parse("\n".join(machine.all_kinds())), self.root)

    @contextmanager
    def agent(self, feature: Feature) -> Generator[tuple[Agent, Kubelet]]:
        """Run an agent with the feature until the block ends, from the moment on when kubelet has all its lists."""
        plugins, log, config = (self._base / each for each in ("plugins", "log", "agent.yaml"))
        plugins.mkdir(exist_ok=True)
        settings = {
            "log": {"format": "json"},
            "kubelet": {"devicePluginDirectory": str(plugins), "podResourcesSocket": str(self.pod_resources)},
            "http": {"host": "127.0.0.1" if feature.pages else "", "port": 0, "statusPage": "/" in feature.pages},
            "health": {"rescanSeconds": 3600},
            "devices": {"qat": {"maxNumDevices": 10_000}, "nic": machine.NIC},
            **(feature.settings or {}),
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "intel_agent", "run", "--config", str(config), "--root", str(self.root)]
        command += ["--host-root", str(self.root), "--runtime-directory", str(self.runtime)]
        command += ["--state-directory", str(self._base / "state"), "--account-directory", str(self._server.directory)]
        with (
            log.open("wb") as output,
            serving(plugins) as (kubelet, _),
            subprocess.Popen(command, stdout=output, env={**os.environ, **self._server.environment}) as process,
        ):
            try:
                kubelet.wait_for(lambda: len(kubelet.plugins) >= RESOURCES, 60)
                yield Agent(process.pid, log), kubelet
            finally:
                process.send_signal(signal.SIGTERM)

    def ask(self, command: str) -> None:
        """Run a command on the node that asks the agent by its own socket."""
        whole = [sys.executable, "-m", "intel_agent", *command.split(), "-o", "json"]
        subprocess.run([*whole, "--runtime-directory", str(self.runtime)], check=True, stdout=subprocess.DEVNULL)


def memory(place: Place, feature: Feature) -> float:
    """Return the proportional set size of an agent whose feature was used, in MB."""
    with ExitStack() as stack:
        agent, kubelet = stack.enter_context(place.agent(feature))
        if feature.holders:
            stack.enter_context(holding(kubelet, place.pod_resources))
        connection = agent.connection() if feature.pages else None
        time.sleep(SETTLE)  # threads that nothing needs end meanwhile
        for _ in range(TIMES):
            for page in feature.pages:
                if connection is not None:
                    get(connection, page)
            for command in feature.asked:
                place.ask(command)
        time.sleep(SETTLE)  # threads that nothing needs end meanwhile
        return agent.memory


def scrape(place: Place) -> dict[str, object]:
    """Return what a scrape costs when nothing changed: the agent's processor time, without what it does anyway."""
    with place.agent(Feature("", ("/metrics",))) as (agent, _):
        connection = agent.connection()
        get(connection, "/metrics")
        time.sleep(SETTLE)  # threads that nothing needs end meanwhile
        idle = spent(agent, lambda: time.sleep(5))  # what it does when nobody asks
        cost = spent(agent, lambda: scrapes(connection))
        return {"idle (% of a core)": round(idle * 100, 2), "processor ms each": round(cost * 1000, 2)}


def scrapes(connection: HTTPConnection) -> float:
    for _ in range(SCRAPES):
        get(connection, "/metrics")
    return SCRAPES


def spent(agent: Agent, doing: Callable[[], float | None]) -> float:
    """Return the agent's processor time in seconds, for each thing that was done, or for each second of waiting."""
    before, began = agent.busy, time.monotonic()
    count = doing() or time.monotonic() - began
    return (agent.busy - before) / 1000 / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once, and not three times")
    times = 1 if parser.parse_args().quick else 3
    with tempfile.TemporaryDirectory(prefix="bench") as base, apiserver(Path(base, "account")) as server:
        place = Place(Path(base), server)
        without = 0.0
        for feature in FEATURES:
            server.taints = [{"key": "intel.com/agent-not-ready", "effect": "NoSchedule"}]
            taken = [memory(place, feature) for _ in range(times)]
            size = statistics.median(taken)
            without = size if feature is NONE else without
            found = {"PSS (MB)": size, "more (MB)": round(size - without, 1), "all": taken}
            print(json.dumps({feature.name: found, "load": round(os.getloadavg()[0], 1)}), flush=True)
        print(json.dumps({"scrape": scrape(place), "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
