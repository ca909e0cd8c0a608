"""What the API server says of everything that the chart renders, for each of the value files of the chart's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chart.helm import CHART, HERE, NAMESPACE, VALUES, Helm
from e2e.cluster import Cluster
from e2e.waiting import eventually

from .release import Release

CRDS = HERE / "crds"
OPENSHIFT = "openshift-nfd"
OTHERS = (OPENSHIFT, "train", "test")
"""Namespaces that value files name and the chart does not make: those of pods to be evicted, too."""
HELMS = ("helm3", "helm4")


@pytest.fixture(scope="module")
def judge(release: Release, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Give an API server that knows the kinds of others, and a namespace that allows what the agent mounts."""
    release.kubectl("create", "namespace", NAMESPACE)
    release.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=privileged")
    for each in OTHERS:
        release.kubectl("create", "namespace", each)
    theirs = tmp_path_factory.mktemp("crds") / "nodefeaturerules.yaml"
    theirs.write_text(openshifts((CRDS / theirs.name).read_text()))
    kinds = (f"--filename={CRDS}", f"--filename={theirs}")
    release.kubectl("apply", *kinds)
    release.kubectl("wait", "--for=condition=Established", "--timeout=50s", *kinds)
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    eventually(lambda: cluster.api.exists(account), "default account", within=20)
    yield release
    release.kubectl("delete", *kinds)
    release.kubectl("delete", "namespace", NAMESPACE, *OTHERS)


def openshifts(definition: str) -> str:
    """Return the definition of NodeFeatureRule as OpenShift has it: another group, and in namespaces."""
    return definition.replace("nfd.k8s-sigs.io", "nfd.openshift.io").replace("scope: Cluster", "scope: Namespaced")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_all_that_is_rendered_with(values: Path, judge: Release, tmp_path: Path) -> None:
    texts = {
        Helm(version, tmp_path).run("template", "intel-agent", CHART, "--namespace", NAMESPACE, "--values", values)
        for version in HELMS
    }
    for text in texts:
        manifest = tmp_path / "rendered.yaml"
        manifest.write_text(text)
        answer = judge.kubectl("apply", "--dry-run=server", "--filename", manifest)
        assert len(answer.splitlines()) == text.count("\nkind: ")
        assert all(line.endswith("created (server dry run)") for line in answer.splitlines())
