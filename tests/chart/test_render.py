"""What the chart makes of a dozen value files, under Helm 3 and Helm 4."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from intel_agent.config import Config, parse
from intel_agent.config.schema import Json, entries

from .apis import problems
from .helm import CHART, NAMESPACE, VALUES, Helm, Object

PAGES = pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.stem))
KEYS = frozenset(each.encode_name for each in msgspec.structs.fields(Config))


def merged(below: Json, above: Json) -> Json:
    """Return the two as Helm combines values: sections key by key, everything else as a whole."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merged(below.get(key), each) for key, each in above.items()}}


def in_force(values: Path) -> dict[str, Json]:
    """Return the chart's defaults with the file laid over them."""
    below, above = (entries(yaml.safe_load(each.read_text())) for each in (CHART / "values.yaml", values))
    return entries(merged(below, above))


def pod_of(helm: Helm, *options: str) -> Object:
    return helm.render(*options).agent


@PAGES
def test_helm_finds_nothing_to_complain_of(helm: Helm, values: Path) -> None:
    helm.run("lint", "--strict", CHART, "--values", values)


@PAGES
def test_both_helms_render_the_same(helms: tuple[Helm, ...], values: Path) -> None:
    first, second = (helm.render("--values", values) for helm in helms)
    assert first == second


@PAGES
def test_objects_are_what_their_apis_allow(helm: Helm, values: Path) -> None:
    assert {str(each["kind"]): found for each in helm.render("--values", values) if (found := problems(each))} == {}


@PAGES
def test_the_agent_reads_the_values(helm: Helm, values: Path) -> None:
    file = helm.render("--values", values).file
    wanted = in_force(values)
    known = {key: each for key, each in yaml.safe_load(file).items() if key in KEYS}
    sections = {key: each for key, each in wanted.items() if key in KEYS}
    assert parse(json.dumps(known), "file").config == msgspec.convert(sections, Config)


@PAGES
def test_the_file_has_what_is_set_and_nothing_else(helm: Helm, values: Path) -> None:
    own = {"enabled", "global"}
    own |= (
        set(yaml.safe_load((CHART / "values.yaml").read_text()))
        - KEYS
        - {"nodeOverrides", "startupTaint", "kubernetesEvents", "nodeCondition", "faultTaint", "eviction", "simulation"}
    )
    wanted = {key: each for key, each in in_force(values).items() if key not in own and each}
    assert yaml.safe_load(helm.render("--values", values).file) == wanted


def test_every_object_belongs_to_the_release(helm: Helm) -> None:
    for values in VALUES:
        for each in helm.render("--values", values, release="r1"):
            labels = each["metadata"]["labels"]
            assert labels["app.kubernetes.io/instance"] == "r1"
            where = {"train", "test"} if each["kind"] == "RoleBinding" else {None, NAMESPACE, "openshift-nfd"}
            assert each["metadata"].get("namespace") in where


@pytest.mark.parametrize("release", ["1234", "intel-agent", "a" * 53], ids=["number", "name of the chart", "long"])
def test_names_are_allowed_whatever_the_release_is_called(helm: Helm, release: str) -> None:
    for values in ("startup-taint", "simulation"):
        rendered = helm.render(
            "--values", CHART.parents[1] / "tests" / "chart" / "values" / f"{values}.yaml", release=release
        )
        assert [found for each in rendered if (found := problems(each))] == []
        assert {len(str(each["metadata"]["name"])) <= 63 for each in rendered if "namespace" in each["metadata"]} == {
            True
        }


def test_two_releases_share_no_name(helm: Helm) -> None:
    options = (
        "--set",
        "startupTaint.enabled=true,nodeFeatureRules.enabled=true,openshift.securityContextConstraints=true",
        "--set",
        "kubernetesEvents.enabled=true,nodeCondition.enabled=true,eviction.enabled=true",
    )
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in helm.render(*options, release=release)}
        for release in ("one", "two")
    )
    assert first & second == set()


def test_common_labels_are_everywhere_but_in_pods(helm: Helm) -> None:
    rendered = helm.render("--set", "commonLabels.team=devices,commonAnnotations.note=here")
    assert {each["metadata"]["labels"].get("team") for each in rendered} == {"devices"}
    assert {each["metadata"]["annotations"].get("note") for each in rendered} == {"here"}
    assert rendered.agent == pod_of(helm)


def test_pods_have_their_own_labels(helm: Helm) -> None:
    metadata = pod_of(helm, "--set", "podLabels.mesh=none,podAnnotations.scrape=never")["metadata"]
    assert metadata["annotations"] == {"scrape": "never"}
    assert metadata["labels"]["mesh"] == "none"


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        pytest.param("image.tag=", "intel-agent:0.1.0", id="the chart's version"),
        pytest.param("image.tag=2.0", "intel-agent:2.0", id="tag"),
        pytest.param("image.registry=r:5000,image.repository=a/b", "r:5000/a/b:0.1.0", id="registry"),
        pytest.param(f"image.tag=2.0,image.digest=sha256:{'0' * 64}", f"intel-agent@sha256:{'0' * 64}", id="digest"),
    ],
)
def test_the_image_is_named_as_container_runtimes_name_it(helm: Helm, settings: str, image: str) -> None:
    rendered = helm.render("--set-string", settings, "--set", "test.resource=intel.com/x")
    assert {each["containers"][0]["image"] for each in rendered.pods} == {image}


def test_pull_secrets_are_named_in_all_pods(helm: Helm) -> None:
    rendered = helm.render("--set-string", "image.pullSecrets={a,12}", "--set", "test.resource=intel.com/x")
    assert [each["imagePullSecrets"] for each in rendered.pods] == [[{"name": "a"}, {"name": "12"}]] * 2


def test_helm_test_gives_a_pod_the_device_that_is_named(helm: Helm) -> None:
    assert "Pod" not in helm.render().kinds
    pod = helm.render("--set", "test.resource=gpu.intel.com/xe").one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"gpu.intel.com/xe": 1}}


def test_the_test_is_no_pod_of_the_daemon_set(helm: Helm) -> None:
    rendered = helm.render("--set", "test.resource=gpu.intel.com/xe")
    selector = rendered.one("DaemonSet")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= rendered.agent["metadata"]["labels"].items()
    assert not selector.items() <= rendered.one("Pod")["metadata"]["labels"].items()


@pytest.mark.parametrize("enabled", [True, False])
def test_a_chart_may_depend_on_this_one(helm: Helm, tmp_path: Path, enabled: bool) -> None:  # noqa: FBT001  # a parameter
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / CHART.name).symlink_to(CHART)
    dependency = {"name": "intel-agent", "version": "0.1.0", "condition": "intel-agent.enabled"}
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = {"intel-agent": {"enabled": enabled, "devices": {"gpu": {"sharedDevNum": 3}}}, "global": {"a": 1}}
    (parent / "values.yaml").write_text(yaml.safe_dump(values))
    rendered = helm.render(chart=parent)
    assert ("DaemonSet" in rendered.kinds) == enabled
    if enabled:
        assert parse(rendered.file, "file").config.devices.gpu.shared_dev_num == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param((), "nothing; it has no token", id="no rights"),
        pytest.param(("--set", "startupTaint.enabled=true"), "remove the taint intel.com/agent-not-ready", id="taint"),
        pytest.param(
            ("--set", "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.gpu.enabled=false"),
            "get nodes.",
            id="overrides",
        ),
        pytest.param(("--set", "kubernetesEvents.enabled=true"), "API: create Events.", id="events"),
        pytest.param(
            ("--set", "nodeCondition.enabled=true"),
            "set the condition IntelDeviceUnhealthy of its node.",
            id="condition",
        ),
        pytest.param(
            ("--set", "kubernetesEvents.enabled=true,startupTaint.enabled=true"),
            "-ready of its node; create Events.",
            id="both",
        ),
        pytest.param(
            ("--set", "faultTaint.enabled=true"),
            "set the taint intel.com/device-unhealthy:NoSchedule",
            id="fault taint",
        ),
        pytest.param(("--set", "eviction.enabled=true"), "API: evict pods.", id="eviction"),
        pytest.param(
            ("--set", "eviction.enabled=true,eviction.dryRun=true"), "API: try out the eviction of pods.", id="dry run"
        ),
        pytest.param(("--set", "simulation.node=xeon"), 'THE DEVICES ARE PRETENDED (machine "xeon")', id="simulation"),
        pytest.param(("--set", "devices.gpu.sharedDevNum=7"), "sharedDevNum: 7", id="what is set"),
        pytest.param(("--set", "test.resource=gpu.intel.com/xe"), "test intel-agent", id="test"),
        pytest.param(("--set", "nodeFeatureRules.enabled=true"), "NetworkPolicy NodeFeatureRule", id="objects"),
        pytest.param((), "devices --root /host", id="how to see it"),
        pytest.param((), "pod-security.kubernetes.io/enforce=privileged", id="namespace"),
    ],
)
def test_notes_say_what_is_there(helms: tuple[Helm, ...], options: tuple[str, ...], said: str) -> None:
    assert said in helms[-1].notes(*options)
