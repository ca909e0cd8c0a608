"""From `helm install` to `helm uninstall`: what a person who follows docs/install.md sees."""

from collections.abc import Iterator

import pytest
from e2e.cluster import Cluster
from e2e.machine import DEVICES, I915, OFFER, device_nodes
from e2e.pods import container

from .release import Release

VALUES = {"devices": DEVICES, "health": {"rescanSeconds": 1, "lingerSeconds": 2}}


@pytest.fixture(scope="module", autouse=True)
def _installed(release: Release) -> Iterator[None]:
    release.install(VALUES)
    release.offered(OFFER, within=15)
    yield
    release.uninstall()


def test_a_pod_gets_the_device_nodes(cluster: Cluster) -> None:
    cluster.run("pod", container({I915: 1}))
    held = [each.device for each in cluster.node.pod_resources.holdings() if each.pod == "pod"]
    assert cluster.node.report("pod").devices == device_nodes(held)
    cluster.delete("pod")
