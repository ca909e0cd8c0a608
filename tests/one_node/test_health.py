"""A card that an administrator marks under a pod, with the image, the chart and the rights that are shipped."""

from collections.abc import Iterator

import pytest
from e2e.cluster import Cluster
from e2e.machine import OFFER, XE
from e2e.pods import container, manifest
from e2e.waiting import eventually

from .release import Release

CARD = "0000:4d:00.0"
"""The card that xe drives."""
STATUS_SECONDS = 15.0
"""How long a change may take to the node object and the pod's status."""


@pytest.fixture(scope="module", autouse=True)
def installed(release: Release, cluster: Cluster) -> Iterator[None]:
    release.install()
    release.offered(OFFER)
    cluster.run("holder", container({XE: 1}))
    yield
    cluster.delete("holder")
    release.uninstall()


def test_a_marked_card_is_unhealthy_for_its_pod_and_for_the_scheduler_until_the_mark_is_gone(
    release: Release, cluster: Cluster
) -> None:
    def until(health: str, allocatable: int) -> None:
        def known() -> bool:
            told = cluster.pod("holder").status.container.health
            return set(told.values()) == {health} and cluster.node_status.amounts(XE) == (2, allocatable)

        eventually(known, f"{health} and {allocatable} allocatable", within=STATUS_SECONDS)

    until("Healthy", 2)
    assert "unhealthy" in release.exec("intel-agent", "mark", CARD, "unhealthy", "--reason", "loud fan")
    until("Unhealthy", 0)
    cluster.create(manifest("next", [container({XE: 1})], host_network=False))
    insufficient = f"Insufficient {XE}"
    eventually(lambda: insufficient in cluster.scheduling("next"), "waiting pod", within=STATUS_SECONDS)
    assert cluster.pod("holder").status.phase == "Running"
    release.exec("intel-agent", "mark", CARD, "auto")
    until("Healthy", 2)
    cluster.until_phase("next", "Running")
    cluster.delete("next")
    release.offered(OFFER)
