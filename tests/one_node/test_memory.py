"""How much memory the pod takes, as its cgroup counts it: the figures of docs/performance.md, and the chart's limit."""

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

import pytest
import yaml
from e2e.cluster import Cluster
from e2e.machine import CARD1, DEVICES, ENCLAVE, I915, OFFER, PROVISION, XE, Machine, device

from .figures import figure
from .product import CHART
from .release import VALUES, Release

MIB = 1 << 20
LOOKS = 5
"""How often `intel-agent devices` runs inside, a second interpreter in the same cgroup."""

PLENTY = {"resources": {"limits": {"memory": "1Gi"}}}
"""More than the chart's limit, under which the kernel would rather throw files out of memory than let it be reached."""

FEATURES = {
    "startupTaint": {"enabled": True},
    "nodeOverrides": [{"selector": {"matchLabels": {"type": "none"}}, "devices": {"sgx": {"enabled": False}}}],
}


class Size(NamedTuple):
    """How many ids there are: of each card, and each kind of SGX's."""

    shares: int
    enclaves: int


def sections(size: Size) -> Mapping[str, object]:
    """Return the sections, with everything by CDI, too."""
    sgx = {"enclaveLimit": size.enclaves, "provisionLimit": size.enclaves}
    changes: Mapping[str, Mapping[str, object]] = {"gpu": {"sharedDevNum": size.shares}, "sgx": sgx}
    return {kind: {**DEVICES[kind], **changes.get(kind, {}), "cdi": "both"} for kind in DEVICES}


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


@pytest.mark.parametrize(
    ("size", "features"),
    [
        pytest.param(Size(shares=4, enclaves=40), {}, id="99 ids"),
        pytest.param(Size(shares=600, enclaves=100), FEATURES, id="2,007 ids, all features"),
    ],
)
def test_the_most_memory_of_the_pod_with(
    clean: Release,
    machine: Machine,
    request: pytest.FixtureRequest,
    size: Size,
    features: Mapping[str, object],
) -> None:
    offer = {
        **OFFER,
        I915: frozenset(f"card{card}-{share}" for card in (0, 1) for share in range(size.shares)),
        XE: frozenset(f"card2-{share}" for share in range(size.shares)),
        ENCLAVE: frozenset(f"sgx-enclave-{number}" for number in range(size.enclaves)),
        PROVISION: frozenset(f"sgx-provision-{number}" for number in range(size.enclaves)),
    }
    clean.install({**VALUES, **PLENTY, **features, "devices": sections(size)})
    clean.offered(offer)
    before = clean.pod
    with Cgroup(before.metadata.uid) as cgroup:
        card = machine.unplug(CARD1)
        clean.offered({**offer, I915: frozenset(each for each in offer[I915] if device(each) != "card1")})
        machine.plug(card)
        clean.offered(offer)
        for _ in range(LOOKS):
            clean.exec("intel-agent", "devices", "--root", "/host")
        peak, anonymous = cgroup.peak, cgroup.anonymous
    assert clean.pod.life == before.life
    case = request.node.callspec.id
    figure(f"memory of the pod, {case}", f"{peak / MIB:.0f} MiB at most, {anonymous / MIB:.0f} MiB of it no files")
    assert peak < limit()


def limit() -> int:
    """Return the chart's limit in bytes."""
    limits = yaml.safe_load((CHART / "values.yaml").read_text())["resources"]["limits"]
    return int(str(limits["memory"]).removesuffix("Mi")) * MIB
