"""The commands of the documentation that are about a cluster, typed on this one, a page after the other.

They run as they stand. Replaced are the words in WORDS, which stand for something of the reader's.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from chart.helm import built
from documented import REPOSITORY, Block, Command, Place, blocks, prints, yaml_of
from e2e.cluster import Cluster
from e2e.kubelet import NODE
from e2e.machine import I915
from e2e.node import binaries
from e2e.rival import rival
from e2e.waiting import eventually
from shell import Shell, ours

from .product import REGISTRY
from .release import NAME, VALUES, RefusedError, Release
from .test_dry_run import CRDS, OPENSHIFT, openshifts
from .test_uninstall import clean

WORDS: Mapping[str, str] = {
    "REGISTRY": REGISTRY,
    "CHART": "charts/intel-agent",
    "NODE": NODE,
    "worker-7": NODE,
    "QUESTION": ".event",
}
"""What words of the pages stand for; POD is the agent's pod at that time."""

CODES: Mapping[str, frozenset[int]] = {
    "sharedDevNums": frozenset({1}),  # the page says that it is refused
    "intel-agent migrate": frozenset({1}),  # here that something is not carried over
    "intel-agent doctor": frozenset({0, 1}),  # whether there are findings is a matter of the node
}
"""Exit codes of commands with these words; of others it is 0."""

ENDING_SECONDS = 90.0
"""How long a pod may take to end that has just begun: kubelet starts its container first."""

AN_EXAMPLE = "kubectl describe node"
"""What prints something else on every node: compared are the first two words of each line."""

FOUND_LATER = "grep"
"""Who looks whether something is there looks again until it is."""

ON_THE_NODE = "rm -rf"

PLUGINS = ("GpuDevicePlugin", "SgxDevicePlugin")
OLD: Mapping[str, Mapping[str, object]] = {
    "GpuDevicePlugin": {
        "image": "intel/intel-gpu-plugin:0.36.0",
        "initImage": "intel/intel-gpu-initcontainer:0.36.0",
        "enableMonitoring": True,
    },
    "SgxDevicePlugin": {"image": "intel/intel-sgx-plugin:0.36.0", "enclaveLimit": 20},
}
"""What the resources of the old operator say, which migrate.md begins with."""


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What doctor reports, as far as it matters here."""

    findings: list[dict[str, str]]
    could_not_look: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who types what stands on pages."""

    shell: Shell
    release: Release

    def type(self, page: str, first: int = 0, last: int | None = None) -> None:
        """Type what blocks of a page say."""
        for block in of(page)[first:last]:
            for command in block.of(Place.CLUSTER):
                self._type(command)

    def _type(self, command: Command) -> None:
        text = command.text
        if "POD" in text:
            text = text.replace("POD", self.release.pod.metadata.name)
        for word, meaning in WORDS.items():
            text = text.replace(word, meaning)
        namespace = self.release.cluster.node.namespace
        shell = replace(self.shell, before=namespace.enter([])) if text.startswith(ON_THE_NODE) else self.shell
        expected = next((codes for words, codes in CODES.items() if words in text), frozenset({0}))
        ended = shell.run(text)
        if FOUND_LATER in text:
            ended = eventually(
                lambda: again if (again := shell.run(text)).code in expected else None, f"success of {text}", within=60
            )
        assert ended.code in expected, f"{text}: {ended.output}"
        if AN_EXAMPLE in text:
            assert begins(command.output) <= begins(ended.output), ended.output
        else:
            assert prints(ended.output, command.output), f"{text}: {ended.output}"


def begins(text: str) -> set[tuple[str, ...]]:
    return {tuple(line.split()[:2]) for line in text.splitlines()}


def of(page: str) -> list[Block]:
    return [each for each in blocks([REPOSITORY / page]) if each.of(Place.CLUSTER)]


def texts(page: str) -> list[str]:
    return [command.text for block in of(page) for command in block.of(Place.CLUSTER)]


@pytest.fixture
def reader(cluster: Cluster, release: Release, tmp_path: Path) -> Iterator[Reader]:
    """Give somebody in a directory with the chart, and in a cluster without the agent."""
    (directory := tmp_path / "here").mkdir()
    (directory / "charts").symlink_to(REPOSITORY / "charts")
    kubectl = binaries("kubernetes") / "kubectl"
    shell = ours(directory, tmp_path, cluster.node.namespace.beside([]))
    shell = replace(
        shell, environment={**shell.environment, "KUBECONFIG": str(cluster.kubeconfig()), "HOME": str(tmp_path)}
    )
    for name, program in (("helm", built("helm4") / "helm"), ("kubectl", kubectl), ("oc", kubectl)):
        shell.tool(name, f'exec {program} "$@"')
    forget(release)
    yield Reader(shell, release)
    forget(release)


def forget(release: Release) -> None:
    """Remove the release, if there is one, and its namespace."""
    if NAME in release.helm("list", "--short", "--namespace", NAME).split():
        release.uninstall(within=ENDING_SECONDS)
    release.kubectl("delete", "namespace", NAME, "--ignore-not-found")


@contextmanager
def defined(release: Release, objects: list[object], path: Path) -> Generator[None]:
    """Have the cluster know these kinds, or objects."""
    path.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": objects}))
    release.kubectl("create", f"--filename={path}")
    yield
    release.kubectl("delete", "--ignore-not-found", f"--filename={path}")


def definition(kind: str) -> dict[str, object]:
    """Return a definition of a kind of the old operator, which takes every field."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.deviceplugin.intel.com"},
        "spec": {
            "group": "deviceplugin.intel.com",
            "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def old(kind: str) -> dict[str, object]:
    name = f"{kind.lower()}-sample"
    return {"apiVersion": "deviceplugin.intel.com/v1", "kind": kind, "metadata": {"name": name}, "spec": OLD[kind]}


def served(release: Release, kinds: Iterable[str]) -> bool:
    """Return whether the API server has taken up these kinds, which is later than it says they are established."""
    try:
        release.kubectl("get", ",".join(f"{each.lower()}s.deviceplugin.intel.com" for each in kinds))
    except RefusedError:
        return False
    return True


@pytest.fixture
def old_plugins(reader: Reader, tmp_path: Path) -> Iterator[None]:
    """Have the resources of the old operator in the cluster."""
    with ExitStack() as stack:
        kinds = tmp_path / "kinds.json"
        stack.enter_context(defined(reader.release, [definition(each) for each in PLUGINS], kinds))
        reader.release.kubectl("wait", "--for=condition=Established", "--timeout=50s", f"--filename={kinds}")
        eventually(lambda: served(reader.release, PLUGINS), "kinds that are served", within=60)
        stack.enter_context(defined(reader.release, [old(each) for each in PLUGINS], tmp_path / "plugins.json"))
        yield


def test_the_page_about_installing(reader: Reader) -> None:
    """It begins as the README does, and as it says for Rancher but for the namespace, which is there before."""
    assert texts("docs/install.md")[: len(texts("README.md"))] == texts("README.md")
    reader.type("docs/install.md", 0, 1)
    reader.release.rolled_out()
    reader.type("docs/install.md", 1)


def test_the_charts_own_page(reader: Reader) -> None:
    reader.type("charts/intel-agent/README.md")
    reader.release.rolled_out()


@pytest.mark.parametrize("page", ["docs/install/rancher.md", "docs/install/k0s.md"])
def test_pages_about_distributions(page: str, reader: Reader) -> None:
    """Talos has the commands of Rancher. The pods do not run with k0s' values, as its directories are not there."""
    assert texts("docs/install/talos.md") == texts("docs/install/rancher.md")
    if "values.yaml" in texts(page)[-1]:
        (reader.shell.directory / "values.yaml").write_text(yaml_of(page, "# values.yaml"))
        reader.type(page)
    else:
        reader.type(page)
        reader.release.rolled_out()


def test_the_page_about_openshift(reader: Reader, tmp_path: Path) -> None:
    """With kubectl in the place of oc, and the kinds that OpenShift has."""
    theirs = tmp_path / "nodefeaturerules.yaml"
    theirs.write_text(openshifts((CRDS / theirs.name).read_text()))
    kinds = (f"--filename={CRDS}", f"--filename={theirs}")
    reader.release.kubectl("apply", *kinds)
    reader.release.kubectl("wait", "--for=condition=Established", "--timeout=50s", *kinds)
    reader.release.kubectl("create", "namespace", OPENSHIFT)
    (reader.shell.directory / "values.yaml").write_text(yaml_of("docs/install/openshift.md", "# values.yaml"))
    reader.type("docs/install/openshift.md")
    forget(reader.release)
    reader.release.kubectl("delete", "namespace", OPENSHIFT)
    reader.release.kubectl("delete", *kinds)


@pytest.mark.usefixtures("old_plugins")
def test_pages_that_look_into_the_agent(reader: Reader) -> None:
    reader.release.install()
    reader.release.rolled_out()
    assert "node-object" in checks(reader)
    for page in ("docs/cli.md", "docs/doctor.md", "docs/log-queries.md"):
        reader.type(page)


@pytest.mark.usefixtures("old_plugins")
def test_the_page_about_migration(cluster: Cluster, reader: Reader) -> None:
    """A stand-in of the old plugin has GPUs until the page says that it ends."""
    page, removal = "docs/migrate.md", "kubectl delete gpudeviceplugins --all"
    (end,) = (number for number, block in enumerate(of(page)) if removal in [each.text for each in block.commands])
    with rival(cluster.node, I915, ["card0-0"], endpoint=f"{I915.replace('/', '-')}.sock"):
        reader.type(page, 0, end + 1)
    reader.type(page, end + 1)


def test_the_page_about_faults(reader: Reader) -> None:
    page = "docs/faults-in-the-cluster.md"
    reader.release.install({**VALUES, "nodeCondition": {"enabled": True}, "faultTaint": {"enabled": True}})
    reader.release.rolled_out()
    reader.release.exec("intel-agent", "mark", "card0", "unhealthy")
    told = ("DevicesUnhealthy", "intel.com/device-unhealthy")
    eventually(lambda: all(each in described(reader.release) for each in told), "condition and taint", within=30)
    reader.type(page, 0, 1)
    assert "node-object" not in checks(reader)
    reader.release.uninstall()
    reader.type(page, 1)
    assert [each for each in told if each in described(reader.release)] == []
    clean(reader.release.cluster)  # the mark


def checks(reader: Reader) -> set[str]:
    """Return which of doctor's checks have something to say in the agent's pod."""
    doctor = "intel-agent doctor --config /etc/intel-agent/config.yaml --root /host -o json"
    ended = reader.shell.run(f"kubectl exec --namespace {NAME} daemonset/{NAME} -- {doctor} 2>/dev/null")
    report = msgspec.json.decode(ended.output.encode(), type=Report)
    assert report.could_not_look == []
    return {each["check"] for each in report.findings}


def described(release: Release) -> str:
    return release.kubectl("describe", "nodes")


def test_no_page_is_left_out() -> None:
    typed = {
        *("README.md", "charts/intel-agent/README.md", "docs/cli.md", "docs/doctor.md", "docs/install.md"),
        *("docs/install/k0s.md", "docs/install/openshift.md", "docs/install/rancher.md", "docs/install/talos.md"),
        *("docs/faults-in-the-cluster.md", "docs/log-queries.md", "docs/migrate.md"),
    }
    assert {each.page for each in blocks() if each.of(Place.CLUSTER)} == typed
