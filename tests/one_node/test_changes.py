"""What happens to the agent under running pods: they keep their devices, and nobody else gets them."""

import os
import signal
from collections.abc import Iterator, Mapping
from time import time
from typing import NamedTuple

import pytest
from e2e.cluster import Cluster
from e2e.exclusiveness import no_device_twice
from e2e.machine import (
    ANALYTICS,
    CARD1,
    DEDICATED,
    DEDICATED_QUEUE,
    DEVICES,
    ENCLAVE,
    I915,
    OFFER,
    SHARED,
    XE,
    Machine,
    device,
)
from e2e.podresources import Holding
from e2e.pods import container, manifest
from e2e.waiting import eventually

from .figures import figure
from .product import image
from .release import NAME, VALUES, RefusedError, Release

HOLDERS: Mapping[str, Mapping[str, int]] = {"exclusive": {DEDICATED: 1}, "sharer": {I915: 1, SHARED: 2, ENCLAVE: 1}}
WAITING = "waiting"
"""A pod that wants what another one holds: it gets it at the first mistake."""

LIVE_SECONDS = 5.0
"""How long a change may take from kubelet's writing of the file to kubelet's knowing it from the agent."""


class Undisturbed(NamedTuple):
    """What must not change about the pods."""

    holdings: frozenset[Holding]
    containers: tuple[tuple[str, int], ...]
    waiting: str


def pods(cluster: Cluster) -> Undisturbed:
    """Return the pods as they are now."""
    states = [cluster.pod(name).status.container for name in HOLDERS]
    return Undisturbed(
        frozenset(each for each in cluster.node.pod_resources.holdings() if each.pod in {*HOLDERS, WAITING}),
        tuple((state.container_id, state.restart_count) for state in states),
        cluster.pod(WAITING).status.phase,
    )


@pytest.fixture(scope="module", autouse=True)
def undisturbed(release: Release, cluster: Cluster) -> Iterator[Undisturbed]:
    """Install, run pods, and look all the time who holds what."""
    release.install()
    release.offered(OFFER)
    for name, limits in HOLDERS.items():
        cluster.run(name, container(limits))
    cluster.create(manifest(WAITING, [container({DEDICATED: 1})], host_network=False))
    eventually(lambda: "Insufficient" in cluster.scheduling(WAITING), "waiting pod", within=20)
    with no_device_twice(cluster.node.pod_resources):
        yield pods(cluster)
    for name in (WAITING, *HOLDERS):
        cluster.delete(name)
    release.uninstall()


@pytest.fixture(autouse=True)
def _as_before(release: Release, cluster: Cluster, undisturbed: Undisturbed) -> Iterator[None]:
    release.offered(OFFER, within=30)
    yield
    release.offered(OFFER, within=30)
    assert pods(cluster) == undisturbed


def written(release: Release) -> float:
    """Return when kubelet last wrote the agent's file."""
    volume = release.cluster.node.kubelet.root / "pods" / release.pod.metadata.uid
    return (volume / "volumes" / "kubernetes.io~configmap" / "config" / "..data").lstat().st_mtime


def test_other_sections_are_live_without_a_restart(
    release: Release, cluster: Cluster, undisturbed: Undisturbed
) -> None:
    before, file = release.pod, written(release)
    devices = {**DEVICES, "gpu": {**DEVICES["gpu"], "sharedDevNum": 3}, "iaa": {"enabled": False}}
    release.upgrade({**VALUES, "devices": devices})
    eventually(lambda: written(release) != file, "the file from kubelet", within=30)
    offer = {
        **{resource: ids for resource, ids in OFFER.items() if resource != ANALYTICS},
        I915: frozenset(f"card{card}-{share}" for card in (0, 1) for share in range(3)),
        XE: frozenset(f"card2-{share}" for share in range(3)),
    }
    release.offered(offer, within=LIVE_SECONDS)
    took = time() - written(release)
    figure("changed device sections, from the file that kubelet wrote to the node object", f"{took:.1f} s")
    assert pods(cluster) == undisturbed
    release.upgrade()
    release.offered(OFFER, within=30)
    assert release.pod.life == before.life


def test_an_unplugged_device_goes_and_comes_back(release: Release, machine: Machine) -> None:
    card = machine.unplug(CARD1)
    without = frozenset(each for each in OFFER[I915] if device(each) != "card1")
    release.offered({**OFFER, I915: without})
    machine.plug(card)


def test_a_held_device_that_is_unplugged_and_plugged_again_stays_with_its_pod(
    release: Release, machine: Machine
) -> None:
    queue = machine.unplug(DEDICATED_QUEUE)
    release.offered({resource: ids for resource, ids in OFFER.items() if resource != DEDICATED})
    machine.plug(queue)


def test_the_rollout_of_a_restart(release: Release) -> None:
    before = release.pod
    release.kubectl("--namespace", NAME, "rollout", "restart", f"daemonset/{NAME}")
    release.rolled_out()
    assert release.pod.metadata.uid != before.metadata.uid


def test_another_image(release: Release) -> None:
    name = image()
    release.cluster.node.runtime.ctr("images", "tag", name, f"{name}-next")
    version = name.rpartition(":")[2]
    release.upgrade(VALUES, "--set", f"image.tag={version}-next")
    release.rolled_out()
    assert release.pod.spec.containers[0].image == f"{name}-next"


def test_an_image_that_does_not_exist_and_the_way_back(release: Release) -> None:
    release.upgrade(VALUES, "--set", "image.tag=missing", "--set", "image.pullPolicy=Never")
    eventually(lambda: "ErrImageNeverPull" in release.kubectl("--namespace", NAME, "get", "pods"), "failure", within=30)
    release.helm("rollback", NAME, "--namespace", NAME)
    release.rolled_out()


def test_the_agents_pod_is_deleted_by_force(release: Release) -> None:
    before = release.pod
    release.kubectl("--namespace", NAME, "delete", "pod", before.metadata.name, "--force", "--grace-period=0")
    release.replaced(before)


def test_the_agents_process_is_killed(release: Release) -> None:
    before = release.pod
    os.kill(release.pid, signal.SIGKILL)
    eventually(lambda: release.pod.status.container_statuses[0].restart_count == 1, "restart", within=30)
    assert release.pod.metadata.uid == before.metadata.uid


def test_a_typo_changes_nothing(release: Release) -> None:
    before = release.pod
    with pytest.raises(RefusedError, match="at '/devices/gpu': additional properties 'sharedDevNums' not allowed"):
        release.upgrade({"devices": {"gpu": {"sharedDevNums": 2}}})
    assert release.pod.life == before.life
