"""One cluster for all tests, whose only node is the simulated machine; and one release of the chart for each file."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart.helm import built
from e2e.cluster import Cluster, running_cluster
from e2e.machine import Machine
from e2e.node import binaries

from .figures import figures
from .product import archive
from .release import Release

TOOLS = (
    *("buildah", "busybox", "etcd", "git", "ip", "mmdebstrap", "nsenter", "openssl", "runc", "setpriv", "unshare"),
    "/usr/lib/cni/bridge",
)
"""Programs that have to be there; Kubernetes, containerd and Helm are built."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_here(item):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what has to be built before the first test, so that no test's deadline is spent on it."""
    if any(_is_here(item) for item in session.items) and not _obstacle():
        for name in ("kubernetes", "containerd"):
            binaries(name)
        for name in ("helm3", "helm4"):
            built(name)
        archive()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.line(line)


def _is_here(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


def _obstacle() -> str | None:
    if os.geteuid() != 0:
        return "needs root: containers, namespaces and device nodes"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
        return f"needs {', '.join(missing)}, see tests/e2e/README.md"
    return None


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Give the machine that the cluster's node is."""
    if obstacle := _obstacle():
        pytest.skip(obstacle)
    with tempfile.TemporaryDirectory(prefix="e2e-machine-") as root:
        yield Machine(Path(root))


@pytest.fixture(scope="session")
def cluster(machine: Machine) -> Iterator[Cluster]:
    with running_cluster(machine.root) as cluster:
        cluster.node.runtime.load(archive())
        yield cluster


@pytest.fixture(scope="module")
def release(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Give the release, which a test has to install."""
    return Release(cluster, tmp_path_factory.mktemp("home"))
