"""What is left when the chart is uninstalled: docs/install.md says what and why."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from e2e.cluster import Cluster
from e2e.machine import DEVICES, I915, OFFER
from e2e.pods import container
from e2e.waiting import eventually

from .product import CHECKOUT
from .release import NAME, VALUES, Release

STAYS: Mapping[str, set[str]] = {
    "/var/lib/kubelet/device-plugins": {".intel-agent.lock", ".intel-agent.terms.json"},
    "/run/cdi": {"intel-agent-gpu.json"},
    "/run/intel-agent": set(),
    "/var/lib/intel-agent": {"devices.json"},
}
"""What docs/install.md says that stays on a node, in the directories that the agent can write to."""

PAGE = CHECKOUT / "docs" / "install.md"

KUBELETS = {"kubelet.sock", "kubelet_internal_checkpoint"}
OVERRIDES = [{"selector": {"matchLabels": {"type": "none"}}, "devices": {"sgx": {"enabled": False}}}]
WITH_FILES: Mapping[str, object] = {
    **VALUES,
    "devices": {**DEVICES, "gpu": {**DEVICES["gpu"], "cdi": "both"}},
    "nodeOverrides": OVERRIDES,
}
"""With everything that makes the agent write files."""
PASSING = ("events", "leases", "controllerrevisions", "pods", "endpoints", "componentstatuses")
"""What comes and goes with time, and is not Helm's."""


def files(cluster: Cluster) -> dict[str, set[str]]:
    """Return the names in each directory of the node that the agent can write to."""
    places = {path: cluster.node.namespace.file(path) for path in STAYS}
    there = {path: {each.name for each in place.iterdir()} for path, place in places.items() if place.exists()}
    return {path: names - KUBELETS for path, names in there.items()}


def clean(cluster: Cluster) -> None:
    """Run on the node what the page says that removes what stays."""
    (command,) = (line for line in PAGE.read_text().splitlines() if line.startswith("rm "))
    subprocess.run(cluster.node.namespace.enter(["sh", "-c", command]), check=True, timeout=60)


def objects(release: Release) -> set[str]:
    """Return everything in the cluster that lasts."""
    kinds = release.kubectl("api-resources", "--verbs=list", "--output=name").split()
    lasting = ",".join(each for each in kinds if each.partition(".")[0] not in PASSING)
    return set(release.kubectl("get", lasting, "--all-namespaces", "--output=name").split())


def node(release: Release) -> tuple[str, ...]:
    """Return what a node keeps that somebody wrote to it."""
    fields = ("metadata.labels", "metadata.annotations", "spec.taints")
    return tuple(release.kubectl("get", "nodes", f"--output=jsonpath={{.items[0].{field}}}") for field in fields)


@pytest.fixture(params=["helm3", "helm4"])
def release(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Release:
    """Give a release with each version of Helm, in a namespace that is there before and after."""
    release = Release(cluster, tmp_path, str(request.param))
    namespace = tmp_path / "namespace.json"
    namespace.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}))
    release.kubectl("apply", "--filename", namespace)
    account = f"/api/v1/namespaces/{NAME}/serviceaccounts/default"
    eventually(lambda: cluster.api.exists(account), "default account", within=20)
    return release


def test_nothing_is_left_but_what_the_page_says(cluster: Cluster, release: Release) -> None:
    clean(cluster)
    before = objects(release), node(release)
    release.install(WITH_FILES)
    release.offered(OFFER)
    cluster.run("holder", container({I915: 1}))
    cluster.delete("holder")
    release.uninstall()
    assert (objects(release), node(release)) == before
    assert files(cluster) == STAYS
    eventually(lambda: {cluster.node_status.amounts(each)[1] for each in OFFER} == {0}, "end of devices", within=10)
    clean(cluster)
    assert files(cluster) == {"/var/lib/kubelet/device-plugins": set(), "/run/cdi": set()}


def test_what_stays_lets_a_pod_that_holds_a_device_start_its_container_again(
    cluster: Cluster, release: Release
) -> None:
    release.install(WITH_FILES)
    release.offered(OFFER)
    cluster.run("holder", container({I915: 1}))
    held, devices = cluster.node.pod_resources.holdings(), cluster.node.report("holder").devices
    release.uninstall()
    os.kill(cluster.node.runtime.tasks()[cluster.pod("holder").status.container.id], signal.SIGKILL)
    eventually(lambda: cluster.pod("holder").status.container.restart_count == 1, "restart", within=30)
    cluster.until_phase("holder", "Running")
    assert cluster.node.report("holder").devices == devices
    release.install(WITH_FILES)
    release.offered(OFFER)
    assert cluster.node.pod_resources.holdings() == held
    cluster.delete("holder")
    release.uninstall()
