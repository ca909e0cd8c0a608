"""How much memory the pod takes, as its cgroup counts it: the figures of docs/performance.md, and the chart's limit."""

import itertools
import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

import pytest
import yaml
from e2e.cluster import Cluster
from e2e.machine import CARD1, DEVICES, I915, OFFER, Machine, device
from e2e.sandbox import NETWORK
from e2e.waiting import PATIENCE, eventually
from machine import NIC, all_kinds

from intel_agent.simulation import tree

from .figures import figure
from .product import CHART
from .release import NAME, VALUES, RefusedError, Release

MIB = 1 << 20
LOOKS = 5
"""How often each command runs inside, a second interpreter in the same cgroup."""

PLENTY = {"resources": {"limits": {"memory": "1Gi"}}}
"""More than the chart's limit, under which the kernel would rather throw files out of memory than let it be reached."""

FEATURES = {
    "startupTaint": {"enabled": True},
    "nodeOverrides": [{"selector": {"matchLabels": {"type": "none"}}, "devices": {"sgx": {"enabled": False}}}],
    "http": {"statusPage": True},
    "kubernetesEvents": {"enabled": True},
    "nodeCondition": {"enabled": True},
    "faultTaint": {"enabled": True},
    "eviction": {"enabled": True, "namespaces": ["default"]},
}
KINDS = ("gpu", "npu", "gaudi", "qat", "sgx", "dsa", "iaa", "dlb", "fpga")
PAGES = ("/metrics", "/readyz", "/")
IDS = 2000
"""Of the machine with many devices; SGX has more ids than its two."""


class Pod(NamedTuple):
    """The agent's pod while it is measured."""

    release: Release

    def run(self, *command: str) -> None:
        """Run a command of the agent's in the container, as an administrator does."""
        try:
            self.release.exec("intel-agent", *command)
        except RefusedError as error:
            if "exit code 1" not in str(error):  # which means that doctor has findings
                raise

    def ask(self, page: str) -> None:
        """Ask for a page, as Prometheus or kubelet does."""
        address = self.release.kubectl("--namespace", NAME, "get", "pods", "--output=jsonpath={.items[0].status.podIP}")
        with (
            self.release.cluster.node.namespace.network(),
            urllib.request.urlopen(f"http://{address}:9808{page}", timeout=PATIENCE) as answer,
        ):
            assert answer.read()


class Cgroup:
    """The memory of the pod's cgroup; version 1 tells the peak itself, and so does version 2."""

    def __init__(self, uid: str) -> None:
        (self._path,) = itertools.islice(Path("/sys/fs/cgroup").rglob(f"pod{uid}/memory.stat"), 1)
        self._over = Event()
        self._thread = Thread(target=self._watch)
        self.anonymous = 0
        """The most that was no cache of files, of a hundred looks each second."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        names = ("memory.max_usage_in_bytes", "memory.peak")
        return next(int(path.read_text()) for name in names if (path := self._path.with_name(name)).exists())

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            values = dict(line.split() for line in self._path.read_text().splitlines())
            self.anonymous = max(self.anonymous, int(values.get("total_rss", values.get("anon", 0))))


def forget(root: Path) -> None:
    """Have the kernel forget what it keeps of files: a node that has just booted has read none of the image yet."""
    os.sync()
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            with suppress(FileNotFoundError):  # containerd removes what earlier containers had
                if path.is_file() and not path.is_symlink():
                    _forget_one(path)


def _forget_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@pytest.fixture
def clean(release: Release, cluster: Cluster) -> Iterator[Release]:
    forget(cluster.node.runtime.snapshots)
    yield release
    release.uninstall()


def measured(cgroup: Cgroup, case: str) -> None:
    """Note what the pod took, and see that the chart lets it."""
    peak, anonymous = cgroup.peak, cgroup.anonymous
    figure(f"memory of the pod, {case}", f"{peak / MIB:.0f} MiB at most, {anonymous / MIB:.0f} MiB of it no files")
    assert peak < limit()


def test_the_most_memory_of_the_pod_with_few_devices(clean: Release, machine: Machine) -> None:
    shares = {**DEVICES["gpu"], "sharedDevNum": 4}
    sections = {**DEVICES, "gpu": shares, "sgx": {"enclaveLimit": 40, "provisionLimit": 40}}
    clean.install({**VALUES, **PLENTY, "devices": {kind: {**each, "cdi": "both"} for kind, each in sections.items()}})
    clean.rolled_out()
    whole = clean.resources.allocatable()
    before, ids = clean.pod, sum(map(len, whole.values()))
    with Cgroup(before.metadata.uid) as cgroup:
        card = machine.unplug(CARD1)
        clean.offered({**whole, I915: frozenset(each for each in whole[I915] if device(each) != "card1")})
        machine.plug(card)
        clean.offered(whole)
        for _ in range(LOOKS):
            Pod(clean).run("devices", "--root", "/host")
    assert clean.pod.life == before.life
    assert whole.keys() == OFFER.keys()
    measured(cgroup, f"{ids} ids")


@pytest.fixture
def many(machine: Machine) -> Iterator[None]:
    """Have the node be a machine with 2,000 devices; its network is the cluster's."""
    network = ("/netlink/", *(f"{each}/" for each in NETWORK))
    entries = tree.parse("\n".join(all_kinds())).entries.items()
    before = machine.become(tree.tree({path: each for path, each in entries if not path.startswith(network)}))
    yield
    machine.become(before)


@pytest.mark.usefixtures("many")
def test_the_most_memory_of_the_pod_with_2000_devices_and_all_features(clean: Release) -> None:
    sections: dict[str, Mapping[str, object]] = {kind: {"cdi": "both"} for kind in KINDS}
    clean.install({**VALUES, **PLENTY, **FEATURES, "devices": {**sections, "nic": {**NIC, "cdi": "both"}}})
    eventually(lambda: sum(map(len, clean.resources.allocatable().values())) >= IDS, "2,000 ids", within=120)
    clean.rolled_out()
    before, pod = clean.pod, Pod(clean)
    with Cgroup(before.metadata.uid) as cgroup:
        for _ in range(LOOKS):
            for page in PAGES:
                pod.ask(page)
            pod.run("status")
            pod.run("devices", "--root", "/host")
            pod.run("doctor", "--config", "/etc/intel-agent/config.yaml", "--root", "/host")
    assert clean.pod.life == before.life
    ids = sum(map(len, clean.resources.allocatable().values()))
    measured(cgroup, f"2,000 devices with {ids:,} ids, all features")


def limit() -> int:
    """Return the chart's limit in bytes."""
    limits = yaml.safe_load((CHART / "values.yaml").read_text())["resources"]["limits"]
    return int(str(limits["memory"]).removesuffix("Mi")) * MIB
