"""What a person sees who installs the chart as docs/install.md says."""

from collections.abc import Iterator
from time import monotonic

import pytest
from e2e.cluster import Cluster
from e2e.machine import OFFER, device_nodes
from e2e.pods import container

from .figures import figure
from .release import NAME, VALUES, RefusedError, Release

READY_SECONDS = 15.0
"""How long it may take from the installation to everything allocatable, with the image on the node."""


@pytest.fixture(scope="module", autouse=True)
def notes(release: Release) -> Iterator[str]:
    """Install, and give what Helm printed."""
    begin = monotonic()
    printed = release.install()
    release.offered(OFFER, within=READY_SECONDS)
    figure("helm install to all resources allocatable", f"{monotonic() - begin:.1f} s")
    yield printed
    release.uninstall()


def test_everything_is_allocatable_and_the_daemonset_ready(release: Release) -> None:
    release.rolled_out()
    assert release.resources.allocatable() == OFFER


@pytest.mark.parametrize("resource", OFFER)
def test_a_pod_finds_exactly_the_nodes_of_its_device(cluster: Cluster, resource: str) -> None:
    name = resource.replace("/", "-").replace(".", "-")
    cluster.run(name, container({resource: 1}))
    held = [each.device for each in cluster.node.pod_resources.holdings() if each.pod == name]
    report = cluster.node.report(name)
    assert len(held) == 1
    assert report.devices == device_nodes(held)
    assert [path for path in report.devices if not report.permitted(path)] == []
    cluster.delete(name)


def test_a_pod_finds_the_nodes_of_all_its_devices(cluster: Cluster) -> None:
    cluster.run("all", container(dict.fromkeys(OFFER, 1)))
    held = [each.device for each in cluster.node.pod_resources.holdings() if each.pod == "all"]
    assert cluster.node.report("all").devices == device_nodes(held)
    cluster.delete("all")


def test_the_notes_say_what_is_set_and_how_to_see_it(release: Release, notes: str) -> None:
    told = notes.partition("NOTES:")[2]
    assert "preferredAllocationPolicy: balanced" in told
    assert "nothing; it has no token." in told
    commands = [line.partition("#")[0].split() for line in told.splitlines() if line.startswith("  kubectl -n")]
    assert len(commands) == 3
    for _, *words in commands:
        assert release.kubectl(*words)


def test_helm_test_gives_a_pod_a_device(release: Release) -> None:
    release.upgrade({**VALUES, "test": {"resource": "gpu.intel.com/xe"}})
    assert "Phase:          Succeeded" in release.helm("test", NAME, "--namespace", NAME)


def test_a_typo_is_refused_with_its_place(release: Release) -> None:
    with pytest.raises(RefusedError) as refused:
        release.upgrade({"devices": {"gpu": {"sharedDevNums": 2}}})
    assert "at '/devices/gpu': additional properties 'sharedDevNums' not allowed" in str(refused.value)


def test_many_looks_from_inside_do_not_cost_the_agent_its_life(release: Release) -> None:
    before = release.pod
    for _ in range(20):
        assert "card0" in release.exec("intel-agent", "devices", "--root", "/host")
    assert release.pod.life == before.life
