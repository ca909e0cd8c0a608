"""A cluster without accelerators shows those of a packaged machine, and its pods run with them."""

from collections.abc import Iterator

import pytest
from e2e.cluster import Cluster
from e2e.kinds import FINDINGS, OFFER, SECTIONS

from .kinds import found, one_pod_each, pod_name
from .release import Release

NULL = (1, 3)
"""What every device node of a container is: docs/adr/0009-pretended-devices-are-dev-null.md."""


@pytest.fixture(scope="module")
def notes(release: Release, cluster: Cluster) -> Iterator[str]:
    """Install, have pods with everything, and give what Helm printed."""
    printed = release.install({"simulation": {"node": "everything"}, "devices": SECTIONS})
    release.offered(OFFER)
    with one_pod_each(cluster, OFFER):
        yield printed
    release.uninstall()
    assert list(cluster.node.namespace.file("/run/intel-agent").rglob("node-*")) == []


def test_the_notes_say_that_the_devices_are_pretended(notes: str) -> None:
    assert 'THE DEVICES ARE PRETENDED (machine "everything")' in notes


@pytest.mark.parametrize("resource", FINDINGS)
@pytest.mark.usefixtures("notes")
def test_a_container_finds_dev_null_and_its_variables(cluster: Cluster, resource: str) -> None:
    found(cluster, pod_name(resource), 1, number=NULL)
