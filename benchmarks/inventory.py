"""A node with all kinds and 2,000 devices: the first inventory, looks, memory, and what asking over HTTP costs.

What counts is processor time, which other programs disturb least. Without root device nodes are stand-ins.
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
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import anyio
import machine
from anyio import to_thread
from kubelet import Kubelet, serving
from lists import Stalls

from intel_agent.agent import calm_collector, give_way
from intel_agent.config import load
from intel_agent.inventory import Found, Inventory
from intel_agent.latest import Latest
from intel_agent.liveness import Liveness
from intel_agent.publish.holdings import Holdings
from intel_agent.publish.roster import Listing, Roster, projected
from intel_agent.simulation import disk, tree
from intel_agent.sources.known import KnownFiles
from intel_agent.sources.look import Looker
from intel_agent.sources.scan import Scanner
from intel_agent.sysfs import Host
from intel_agent.web import glance
from intel_agent.web.metrics import Exposition
from intel_agent.web.snapshot import VERSION, Resource, Snapshot

SETTLE = 20.0
"""Seconds until memory is looked at: threads that nothing needs ended."""
RESOURCES = 13
"""Resources of that node."""
_CPUCLOCK_SCHED = 2
"""A process's processor time in nanoseconds (include/linux/posix-timers_types.h)."""
PAGES = ("/metrics", "/readyz", "/livez", "/")


class Agent:
    """A running agent and its log."""

    def __init__(self, process: int, log: Path) -> None:
        self.process = process
        self._log = log

    def connection(self) -> HTTPConnection:
        """Return a connection to it, once it can be asked and pods can get what the node has."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self._log.read_text(encoding="utf-8").splitlines():
                event: Mapping[str, object] = json.loads(line)
                if event["event"] == "http.started":
                    connection = HTTPConnection("127.0.0.1", int(str(event["port"])))
                    connection.request("GET", "/readyz")
                    with connection.getresponse() as answer:
                        answer.read()
                        if answer.status == 200:  # noqa: PLR2004 - RFC 9110
                            return connection
            time.sleep(0.1)  # nobody tells when the log has another line
        raise TimeoutError("not ready within 60 s")

    @property
    def memory(self) -> float:
        """Proportional set size in MB (10^6 bytes)."""
        rollup = Path(f"/proc/{self.process}/smaps_rollup").read_text(encoding="ascii")
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return round(pss * 1024 / 1e6, 1)

    @property
    def busy(self) -> float:
        """Processor time so far, of threads that ended, too, in milliseconds: clock_getcpuclockid(3)."""
        return time.clock_gettime_ns((~self.process << 3) | _CPUCLOCK_SCHED) / 1e6


@contextmanager
def node(lines: Iterable[str]) -> Generator[Path]:
    """Give a directory with the node of these lines, and the settings of an agent on it."""
    with tempfile.TemporaryDirectory(prefix="bench") as base:
        place = Path(base)
        disk.materialise(tree.parse("\n".join(lines)), place / "node")
        write_settings(place, http=False)
        yield place


def write_settings(place: Path, *, http: bool) -> Path:
    """Write the agent's settings; return the directory for its sockets."""
    plugins = place / "plugins"
    plugins.mkdir(exist_ok=True)
    settings = {
        "log": {"format": "json"},
        "kubelet": {"devicePluginDirectory": str(plugins), "podResourcesSocket": str(place / "pod-resources.sock")},
        "http": {"host": "127.0.0.1" if http else "", "port": 0, "statusPage": True},
        "health": {"rescanSeconds": 3600},
        "devices": {"qat": {"maxNumDevices": 10_000}, "nic": machine.NIC},
    }
    (place / "agent.yaml").write_text(json.dumps(settings), encoding="utf-8")
    return plugins


@contextmanager
def running(place: Path, *, http: bool) -> Generator[tuple[Agent, Kubelet]]:
    """Run an agent on the node until the block ends."""
    plugins, log, root = write_settings(place, http=http), place / "log", str(place / "node")
    command = [sys.executable, "-m", "intel_agent", "run", "--config", str(place / "agent.yaml"), "--root", root]
    command += ["--host-root", root, "--runtime-directory", f"{root}.run", "--state-directory", f"{root}.state"]
    with (
        log.open("wb") as output,
        serving(plugins) as (kubelet, _),
        subprocess.Popen(command, stdout=output) as process,
    ):
        try:
            yield Agent(process.pid, log), kubelet
        finally:
            process.send_signal(signal.SIGTERM)


def first(place: Path, times: int) -> dict[str, object]:
    """Return the times of the first inventory of all kinds, and of all that a new process does until kubelet has it."""
    listed: list[float] = []
    for _ in range(times):
        began = time.monotonic()
        with running(place, http=False) as (_, kubelet):
            kubelet.wait_for(lambda: len(kubelet.plugins) >= RESOURCES)
            listed.append((max(each.lists[0][0] for each in kubelet.plugins.values()) - began) * 1000)
    taken, busy = zip(*(anyio.run(_inventory, place) for _ in range(times)), strict=True)
    return {"ms": figures(taken), "processor ms": figures(busy), "process start to all listed (ms)": figures(listed)}


async def _inventory(place: Path) -> tuple[float, float]:
    """Return how long it takes until every kind was looked at, side by side as at the start, and processor time."""
    config = Latest(load(place / "agent.yaml").config)
    inventory = Latest(Inventory())
    known = KnownFiles(str(place / "known"))
    scanner = Scanner(config, Host(str(place / "node")), inventory, Liveness(), known)
    revision, began, busy = inventory.revision, time.monotonic(), time.process_time()
    async with anyio.create_task_group() as group:
        group.start_soon(scanner.run)
        while len(inventory.value.found) < len(scanner.backends):
            _, revision = await inventory.newer(revision)
        group.cancel_scope.cancel()
    taken, busy = time.monotonic() - began, time.process_time() - busy
    if (count := len(inventory.value.devices)) != machine.DEVICES:
        raise RuntimeError(f"{count} devices, not {machine.DEVICES}")
    return taken * 1000, busy * 1000


async def looks(place: Path, kinds: Collection[str], times: int) -> dict[str, object]:
    """Return the processor time of a look at each of these kinds when nothing changed, and how many devices it has."""
    config = load(place / "agent.yaml").config
    looker = Looker(Host(str(place / "node")), lambda: 60.0, lambda: None)
    found: dict[str, object] = {}
    for backend in config.devices.backends:
        if backend.name in kinds:
            before = await looker.at(backend, Found())
            taken: list[float] = []
            for _ in range(times):
                began = time.process_time()
                before = await looker.at(backend, before)
                taken.append((time.process_time() - began) * 1000)
            found[backend.name] = {"devices": len(before.devices)} | figures(taken)
    return found


def pages(place: Path, times: int) -> dict[str, object]:
    """Return what each page costs: time at the client, and processor time of the agent."""
    found: dict[str, object] = {}
    with running(place, http=True) as (agent, _):
        connection = agent.connection()
        found["PSS before the first page (MB)"] = agent.memory
        for page in PAGES:
            get(connection, page)  # the first one imports what it needs
            before, taken, size = agent.busy, list[float](), 0
            for _ in range(times):
                began = time.monotonic()
                size = get(connection, page)
                taken.append((time.monotonic() - began) * 1000)
            busy = round((agent.busy - before) / times, 2)
            found[page] = {"bytes": size, "processor ms": busy, "ms": figures(taken)}
        time.sleep(SETTLE)  # threads that nothing needs end meanwhile
        found["PSS (MB)"] = agent.memory
    return found


async def renderings(place: Path, times: int) -> dict[str, object]:
    """Return how long it takes to make pages in a worker thread, and how long the loop stood still meanwhile."""
    config = load(place / "agent.yaml").config
    looker = Looker(Host(str(place / "node")), lambda: 60.0, lambda: None)
    found = {each.name: await looker.at(each, Found()) for each in config.devices.backends}
    inventory, holdings = Inventory.of(found), Holdings()
    listings = projected(Roster(), inventory, holdings, now=0.0, linger=60.0).listings
    exposition = Exposition()
    made: dict[str, Callable[[Snapshot], bytes]] = {
        "/metrics after a change": exposition.text,
        "/metrics again": lambda same: exposition.text(replace(same, revisions=())),
        "/": lambda snapshot: glance.page(snapshot, "node"),
    }
    results: dict[str, object] = {}
    for page, make in made.items():
        stalls: list[float] = []
        busy: list[float] = []
        for number in range(times):
            snapshot = seen(inventory, listings, number)
            still, began = Stalls(), time.process_time()
            await to_thread.run_sync(make, snapshot)
            busy.append((time.process_time() - began) * 1000)
            stalls.append(still.stop() * 1000)
        results[page] = {"processor ms": figures(busy), "loop stood still (ms)": figures(stalls)}
    return results


def seen(inventory: Inventory, listings: Mapping[str, Listing], revision: int) -> Snapshot:
    """Return what the pages are made of."""
    return Snapshot(
        version=VERSION,
        inventory=inventory,
        resources=tuple(Resource(name, each, registered=True, listed=True) for name, each in listings.items()),
        holders={},
        holders_known=True,
        missing=(),
        kubelet_since=1.0,
        looks={},
        kernel_events={},
        judges={},
        cluster_problems=0,
        measured={},
        log_events={},
        log_lines_lost=0,
        events=(),
        generation=1,
        revisions=(revision,),
    )


def get(connection: HTTPConnection, page: str) -> int:
    """Get a page; return its size in bytes."""
    connection.request("GET", page)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110
        raise RuntimeError(f"{page}: {answer.status}")
    return len(body)


def memory(place: Path) -> float:
    """Return the proportional set size without HTTP, in MB."""
    with running(place, http=False) as (agent, kubelet):
        kubelet.wait_for(lambda: len(kubelet.plugins) >= RESOURCES)
        time.sleep(SETTLE)  # threads that nothing needs end meanwhile
        return agent.memory


def figures(taken: Sequence[float]) -> dict[str, float]:
    ordered = sorted(taken)
    last = len(ordered) - 1
    found = {"min": ordered[0], "p50": statistics.median(ordered), "p99": ordered[round(last * 0.99)]}
    return {key: round(value, 1) for key, value in found.items()} | {"times": len(taken)}


def report(what: str, found: object) -> None:
    print(json.dumps({what: found, "load": round(os.getloadavg()[0], 1)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions, and no kind alone")
    quick = parser.parse_args().quick
    share = 10 if quick else 1
    calm_collector()
    give_way()
    with node(machine.all_kinds()) as place:
        report("looks (processor ms)", anyio.run(looks, place, (*machine.KINDS, "sgx"), 50 // share))
        report("first inventory", first(place, 20 // share))
        report("PSS without http (MB)", memory(place))
        report("pages made anew", anyio.run(renderings, place, 50 // share))
        report("pages", pages(place, 200 // share))
    for kind in () if quick else machine.KINDS:
        with node(machine.only(kind, machine.DEVICES)) as place:
            report("look at one kind alone (processor ms)", anyio.run(looks, place, {kind}, 10))


if __name__ == "__main__":
    main()
