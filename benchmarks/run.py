"""The figures of docs/performance.md, on the fixed node: 8 GPUs x 10 shares, SGX 110 and 110, 16 queues of DSA and IAA.

The agent runs in a process of its own, as it is installed; times are taken in this one. Needs root: the kernel's
messages are made in a network namespace of its own, into which this program moves first.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from kubelet import Kubelet, serving

from intel_agent.simulation import disk, tree

CARD = "/sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0"
KOBJECT_UEVENT = 15
"""The netlink family of uevents (linux/netlink.h)."""
GPU = "gpu.intel.com/xe"
RESOURCES = {
    GPU,
    "gpu.intel.com/monitoring",
    "sgx.intel.com/enclave",
    "sgx.intel.com/provision",
    "dsa.intel.com/wq-user-shared",
    "dsa.intel.com/wq-user-dedicated",
    "iaa.intel.com/wq-user-shared",
    "iaa.intel.com/wq-user-dedicated",
}
HOLD = 1.0
"""How long a recovery must hold in the benchmark of it, in seconds."""
SETTINGS = """
log: {format: json}
kubelet: {devicePluginDirectory: PLACE/plugins, podResourcesSocket: PLACE/pod-resources.sock}
health: {lingerSeconds: 3600, recoverySeconds: RECOVERY}
devices: {gpu: {sharedDevNum: SHARES, enableMonitoring: true}}
"""


def uevent(action: str, path: str, subsystem: str, *more: str) -> None:
    """Have the kernel broadcast an event of ours to everybody in this network namespace."""
    fields = [f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}", f"SUBSYSTEM={subsystem}", *more]
    payload = b"".join(each.encode() + b"\0" for each in fields)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, KOBJECT_UEVENT) as kernel:
        kernel.bind((0, 0))
        kernel.sendto(struct.pack("=IHHII", 16 + len(payload), 16, 1, 1, 0) + payload, (0, 0))


class Node:
    """The node's directory and the agent on it."""

    def __init__(self, place: Path, machine: str = "bench", shares: int = 10, recovery: float = 0) -> None:
        self.root = place / "node"
        self.plugins = place / "plugins"
        self.plugins.mkdir()
        self._file = place / "agent.yaml"
        settings = SETTINGS.replace("PLACE", str(place)).replace("SHARES", str(shares))
        settings = settings.replace("RECOVERY", str(recovery))
        self._file.write_text(settings, encoding="utf-8")
        self._log = place / "agent.log"
        disk.materialise(tree.node(machine), self.root)

    def logged(self, event: str) -> float:
        """Return when the agent first logged the event, in seconds since the epoch, to the millisecond."""
        lines = map(json.loads, self._log.read_text(encoding="utf-8").splitlines())
        return next(datetime.fromisoformat(each["time"]).timestamp() for each in lines if each["event"] == event)

    @contextmanager
    def agent(self) -> Generator[int]:
        """Run the agent and give its process id."""
        command = [sys.executable, "-m", "intel_agent", "run", "--config", str(self._file)]
        with self._log.open("wb") as log:
            command += ["--root", str(self.root), "--host-root", str(self.root)]
            command += ["--runtime-directory", f"{self.root}.run", "--state-directory", f"{self.root}.state"]
            process = subprocess.Popen(command, stdout=log)
            try:
                yield process.pid
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(5)


def listed(kubelet: Kubelet) -> float:
    """Wait until every resource is listed; return when the last one was."""
    kubelet.wait_for(lambda: set(kubelet.plugins) >= RESOURCES)
    return max(each.lists[0][0] for each in kubelet.plugins.values())


def starts(node: Node, times: int) -> tuple[list[float], list[float]]:
    """Time from process start to the configuration being read, and to all resources registered and listed."""
    imported: list[float] = []
    taken: list[float] = []
    for _ in range(times):
        with serving(node.plugins) as (kubelet, _):
            began, on_the_wall = time.monotonic(), time.time()
            with node.agent():
                taken.append(listed(kubelet) - began)
                imported.append(node.logged("config.loaded") - on_the_wall)
    return imported, taken


def restarts(node: Node, times: int) -> list[float]:
    """Time from a new kubelet.sock to all resources listed again."""
    taken: list[float] = []
    kubelet = Kubelet(node.plugins)
    kubelet.start()
    with node.agent():
        listed(kubelet)
        for _ in range(times):
            kubelet.stop()
            time.sleep(0.5)  # how long a restarting kubelet is away
            began = kubelet.start()
            taken.append(listed(kubelet) - began)
        kubelet.stop()
    return taken


def plugs(node: Node, kubelet: Kubelet, times: int) -> list[float]:
    """Time from the message of a removed or added card to the new list.

    Only the link by which cards are found goes and comes: that takes no time in which another look could fall.
    """
    link = node.root / "sys/class/drm/card0"
    target = os.readlink(link)
    taken: list[float] = []
    while len(taken) < times:
        known = len(kubelet.plugins[GPU].lists)
        if link.is_symlink():
            link.unlink()
            action = "remove"
        else:
            link.symlink_to(target)
            action = "add"
        began = time.monotonic()
        uevent(action, f"{CARD.removeprefix('/sys')}/drm/card0", "drm")
        came = kubelet.wait_for_list(GPU, known)
        if came > began:  # else a look that something else asked for was faster than the message
            taken.append(came - began)
        time.sleep(0.05)
    if not link.is_symlink():
        link.symlink_to(target)
    return taken


def wedges(kubelet: Kubelet, times: int) -> list[float]:
    """Time from the message of a card that its driver gave up to the list in which it is Unhealthy."""
    function = CARD.removeprefix("/sys")
    taken: list[float] = []
    for _ in range(times):
        known = len(kubelet.plugins[GPU].lists)
        began = time.monotonic()
        uevent("change", f"{function}/drm/card0", "drm", "WEDGED=rebind,bus-reset")
        taken.append(kubelet.wait_for_list(GPU, known) - began)
        known = len(kubelet.plugins[GPU].lists)
        uevent("bind", function, "pci", "DRIVER=xe")
        kubelet.wait_for_list(GPU, known)
        time.sleep(0.05)
    return taken


def recoveries() -> list[float]:
    """Time from when a card's recovery held as long as it must to the list in which it is Healthy again.

    Each card breaks once: it must hold for longer when the fault comes back.
    """
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        node = Node(Path(place), recovery=HOLD)
        with serving(node.plugins) as (kubelet, _), node.agent():
            listed(kubelet)
            for card in sorted((node.root / "sys/class/drm").glob("card?")):
                path = f"/{card.resolve().relative_to(node.root.resolve() / 'sys')}"
                function = path.removesuffix(f"/drm/{card.name}")
                known = len(kubelet.plugins[GPU].lists)
                uevent("change", path, "drm", "WEDGED=rebind,bus-reset")
                kubelet.wait_for_list(GPU, known)
                began = time.monotonic()
                uevent("bind", function, "pci", "DRIVER=xe")
                taken.append(kubelet.wait_for_list(GPU, known + 1) - began - HOLD)
    return taken


def allocations(kubelet: Kubelet, times: int) -> list[float]:
    plugin = kubelet.plugins[GPU]
    taken: list[float] = []
    for number in range(times):
        began = time.monotonic()
        plugin.allocate([f"card{number % 8}-{number % 10}"])
        taken.append(time.monotonic() - began)
    return taken


def memory(process: int) -> float:
    """Proportional set size in MB (10^6 bytes)."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e6


def sized(shares: int) -> float:
    """Memory with so many ids in one resource, in MB: one card that so many containers may share."""
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        node = Node(Path(place), "laptop", shares)
        with serving(node.plugins) as (kubelet, _), node.agent() as process:
            kubelet.wait_for(lambda: "gpu.intel.com/i915" in kubelet.plugins)
            time.sleep(15)
            return round(memory(process), 1)


def usage(process: int) -> dict[str, tuple[float, int]]:
    """CPU seconds and context switches so far, by thread."""
    threads: dict[str, tuple[float, int]] = {}
    for thread in Path(f"/proc/{process}/task").iterdir():
        nanoseconds = int((thread / "schedstat").read_text(encoding="ascii").split()[0])
        status = (thread / "status").read_text(encoding="ascii").splitlines()
        switches = sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
        threads[thread.name] = (nanoseconds / 1e9, switches)
    return threads


def idle(process: int, seconds: float) -> tuple[float, float]:
    """Share of a core, and context switches a second, while nothing happens, by lasting threads."""
    before = usage(process)
    time.sleep(seconds)
    after = usage(process)
    both = before.keys() & after.keys()
    cpu, switches = (sum(after[each][which] - before[each][which] for each in both) for which in (0, 1))
    return cpu / seconds, switches / seconds


def milliseconds(taken: list[float]) -> dict[str, float]:
    ordered = sorted(each * 1000 for each in taken)
    last = len(ordered) - 1
    figures = {
        "p50": statistics.median(ordered),
        "p99": ordered[round(last * 0.99)],
        "max": ordered[last],
        "times": len(ordered),
    }
    return {key: round(value, 2) for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    share = 10 if parser.parse_args().quick else 1
    enter_namespace()
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        node = Node(Path(place))
        imported, taken = starts(node, 20 // share or 2)
        report("start to configuration read (ms)", milliseconds(imported))
        report("start to all listed (ms)", milliseconds(taken))
        report("new kubelet.sock to all listed (ms)", milliseconds(restarts(node, 20 // share or 2)))
        with node.agent() as process:
            time.sleep(15)  # it tries often at first
            share_of_core, switches = idle(process, 60 / share)
            figures = [round(share_of_core * 100, 4), round(switches, 2)]
            report("kubelet is away: % of a core, context switches/s", figures)
        with serving(node.plugins) as (kubelet, _), node.agent() as process:
            listed(kubelet)
            time.sleep(15)  # the looks after the first one, and threads that end when nothing needs them
            report("memory, PSS (MB)", round(memory(process), 1))
            share_of_core, switches = idle(process, 60 / share)
            report("idle: % of a core, context switches/s", [round(share_of_core * 100, 4), round(switches, 2)])
            report("uevent to list (ms)", milliseconds(plugs(node, kubelet, 1000 // share)))
            report("WEDGED to list (ms)", milliseconds(wedges(kubelet, 1000 // share)))
            report("Allocate (ms)", milliseconds(allocations(kubelet, 2000 // share)))
            before = memory(process)
            allocations(kubelet, 100_000 // share)
            report("memory before and after 100,000 Allocate (MB)", [round(before, 1), round(memory(process), 1)])
    report("held recovery to list (ms)", milliseconds(recoveries()))
    report("memory by ids in one resource, PSS (MB)", {shares: sized(shares) for shares in (1, 100, 10_000)})


def enter_namespace() -> None:
    """Start again in a network namespace of our own, where nobody else hears our events."""
    if "BENCHMARK_NAMESPACE" not in os.environ:
        os.environ["BENCHMARK_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


def report(what: str, figures: object) -> None:
    print(json.dumps({what: figures}), flush=True)


if __name__ == "__main__":
    main()
