"""How values travel from a person's file into the agent's: unharmed, refused with their place, without a restart."""

import json
import re
from pathlib import Path

import pytest

from intel_agent.config.document import Entries, Items, Node, Scalar, read
from intel_agent.config.schema import Json, entries

from .helm import Helm, RefusedError

RULES = Path(__file__).parents[2] / "docs" / "rules.md"

WORDS = (
    "0000:3b:00.0",
    "0x56c0",
    "56c0",
    "1e3",
    "0815",
    "0o17",
    "1:30",
    "12:30:45",
    "2026-01-01",
    "1_000",
    "on",
    "off",
    "yes",
    "no",
    "y",
    "N",
    "true",
    "null",
    "~",
    "",
    ".inf",
    "=",
    "<<",
    "- a",
    "a: b",
    "a #b",
    " padded ",
    "{{ .Values }}",
    "line\nline",
    "\u00e4\u2603\U0001f600",
)
"""What some YAML somewhere takes for something else."""


def quoted(word: str) -> str:
    """Return the word between YAML's double quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def plain(node: Node | None) -> Json:
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(each) for each in node.nodes]
        case Entries():
            return {str(plain(key)): plain(value) for key, value in node.pairs}
        case _:
            pytest.fail(f"the agent does not understand {node}")


def read_back(helm: Helm, text: str, tmp_path: Path) -> dict[str, Json]:
    """Return what the agent reads when `text` is the values file."""
    file = tmp_path / "values.yaml"
    file.write_text(text, encoding="utf-8")
    return entries(plain(read(helm.render("--values", file).file)))


@pytest.mark.parametrize("word", WORDS, ids=quoted)
def test_quoted_words_arrive_as_they_are(helm: Helm, tmp_path: Path, word: str) -> None:
    # A list of ids may be one text, which the schema does not look into.
    answer = read_back(helm, f"devices:\n  gpu:\n    denyIDs: {quoted(word)}\n", tmp_path)
    assert answer["devices"] == {"gpu": {"denyIDs": word}}


@pytest.mark.parametrize(
    ("written", "arrived"),
    [
        pytest.param('["0x56c0", "0x0bd5"]', ["0x56c0", "0x0bd5"], id="list"),
        pytest.param('"0x56c0,0x56c1"', "0x56c0,0x56c1", id="text"),
        pytest.param("0x56c0,0x56c1", "0x56c0,0x56c1", id="text without quotes"),
    ],
)
def test_ids_arrive_as_they_are(helm: Helm, tmp_path: Path, written: str, arrived: object) -> None:
    answer = read_back(helm, f"devices:\n  gpu:\n    allowIDs: {written}\n", tmp_path)
    assert answer["devices"] == {"gpu": {"allowIDs": arrived}}


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", RULES.read_text(encoding="utf-8"), re.DOTALL))
def test_examples_of_rules_are_values_as_they_stand(helm: Helm, tmp_path: Path, example: str) -> None:
    answer = read_back(helm, example, tmp_path)
    written = entries(plain(read(example)))
    assert {key: answer[key] for key in written} == written


@pytest.mark.parametrize(
    "word", ["1889", "154c", "15e8", "0890", "0x10", "1_0", "08", "on", "~", "1:30", "0000:3b:02.0"]
)
def test_words_of_pools_arrive_as_they_are(helm: Helm, tmp_path: Path, word: str) -> None:
    pool = (
        f'{{resource: a, selectors: [{{devices: ["{word}"]}}], additionalInfo: {{"{word}": {{"{word}": "{word}"}}}}}}'
    )
    answer = read_back(helm, f"devices: {{nic: {{pools: [{pool}]}}}}\n", tmp_path)
    info: Json = {word: {word: word}}
    assert answer["devices"] == {
        "nic": {"pools": [{"resource": "a", "selectors": [{"devices": [word]}], "additionalInfo": info}]}
    }


@pytest.mark.parametrize(("written", "arrived"), [("on", True), ("off", False), ("yes", True), ("no", False)])
def test_switches_of_old_yaml_are_switches(helm: Helm, tmp_path: Path, written: str, *, arrived: bool) -> None:
    answer = read_back(helm, f"devices:\n  gpu: {{enabled: {written}}}\n", tmp_path)
    assert answer["devices"] == {"gpu": {"enabled": arrived}}


@pytest.mark.parametrize("address", ["0000:3b:00.0", "0000:00:02.0", "0000:00:00.0", "0000:12:34.5", "0000:3b:*"])
def test_a_pci_address_needs_no_quotes(helm: Helm, tmp_path: Path, address: str) -> None:
    text = f"devices:\n  gpu:\n    rules:\n      - match: {{pciAddress: {address}}}\n        hide: true\n"
    rule = {"match": {"pciAddress": address}, "hide": True}
    assert read_back(helm, text, tmp_path)["devices"] == {"gpu": {"rules": [rule]}}


@pytest.mark.parametrize("word", [each for each in WORDS if each], ids=quoted)
def test_quoted_words_of_a_rule_arrive_as_they_are(helm: Helm, tmp_path: Path, word: str) -> None:
    match = f"{{model: {quoted(word)}, attributes: {{{quoted(word)}: [{quoted(word)}]}}}}"
    answer = read_back(helm, f"devices:\n  gpu:\n    rules:\n      - match: {match}\n        hide: true\n", tmp_path)
    rule = {"match": {"model": word, "attributes": {word: [word]}}, "hide": True}
    assert answer["devices"] == {"gpu": {"rules": [rule]}}


def test_numbers_stay_whole(helm: Helm, tmp_path: Path) -> None:
    values = "devices:\n  gpu: {sharedDevNum: 10000}\nhealth: {rescanSeconds: 3600, readDeadlineSeconds: 0.1}\n"
    answer = read_back(helm, values, tmp_path)
    assert json.dumps(answer["devices"]) == '{"gpu": {"sharedDevNum": 10000}}'
    assert answer["health"] == {"readDeadlineSeconds": 0.1, "rescanSeconds": 3600}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        pytest.param("device: {}", "'device'", id="unknown section"),
        pytest.param("devices: {gpus: {}}", "'/devices': additional properties 'gpus'", id="unknown kind"),
        pytest.param("devices: {gpu: {sharedDevNums: 2}}", "'/devices/gpu': additional properties", id="unknown key"),
        pytest.param("devices: {gpu: {sharedDevNum: two}}", "/devices/gpu/sharedDevNum", id="kind of value"),
        pytest.param("devices: {gpu: {sharedDevNum: 0}}", "/devices/gpu/sharedDevNum", id="range"),
        pytest.param("devices: {gpu: {sharedDevNum: 1.5}}", "/devices/gpu/sharedDevNum", id="fraction"),
        pytest.param("devices: {gpu: {enabled: maybe}}", "/devices/gpu/enabled", id="switch"),
        pytest.param("devices: {gpu: {allowIDs: [0x56c0]}}", "/devices/gpu/allowIDs/0", id="id without quotes"),
        pytest.param("devices: {gpu: {allowIDs: [x56c0]}}", "/devices/gpu/allowIDs/0", id="no id"),
        pytest.param("devices: {gpu: {bypathMode: off}}", "/devices/gpu/bypathMode", id="a word that is a switch"),
        pytest.param("devices: {gpu: {rules: [{hide: true}]}}", "/devices/gpu/rules/0", id="rule for nothing"),
        pytest.param("devices: {gpu: {rules: [{match: {}, hid: true}]}}", "/devices/gpu/rules/0", id="key of a rule"),
        pytest.param(
            "devices: {gpu: {rules: [{match: {models: x}, hide: true}]}}",
            "/devices/gpu/rules/0/match",
            id="key of match",
        ),
        pytest.param(
            "devices: {gpu: {rules: [{match: {deviceId: 0x56c0}, hide: true}]}}",
            "/devices/gpu/rules/0/match/deviceId",
            id="id of a rule without quotes",
        ),
        pytest.param(
            "devices: {gpu: {rules: [{match: {}, resource: gpu.intel.com/x}]}}",
            "/devices/gpu/rules/0/resource",
            id="name with a domain",
        ),
        pytest.param(
            "devices: {gpu: {rules: [{match: {pciAddress: card0}, hide: true}]}}",
            "/devices/gpu/rules/0/match/pciAddress",
            id="no address",
        ),
        pytest.param("devices: {gpu: {rules: [{match: {}, shares: 0}]}}", "/devices/gpu/rules/0/shares", id="no share"),
        pytest.param(
            "nodeOverrides: [{selector: {}, devices: {gpu: {rules: [{match: {}, hid: true}]}}}]",
            "/nodeOverrides/0/devices/gpu/rules/0",
            id="rule of an override",
        ),
        pytest.param("log: {level: loud}", "/log/level", id="choice"),
        pytest.param("kubelet: {podResourcesSocket: run/x}", "/kubelet/podResourcesSocket", id="path"),
        pytest.param("image: {digest: abc}", "/image/digest", id="digest"),
        pytest.param("image: {tags: a}", "'/image': additional properties 'tags'", id="key of the chart"),
        pytest.param("tolerations: [{effects: NoExecute}]", "'/tolerations/0'", id="toleration"),
        pytest.param(
            "nodeOverrides: [{selector: {matchLabels: {a: on}}, devices: {}}]",
            "/nodeOverrides/0/selector/matchLabels/a",
            id="label",
        ),
        pytest.param("nodeOverrides: [{selectors: {}}]", "'/nodeOverrides/0'", id="override"),
        pytest.param("startupTaint: {enable: true}", "'/startupTaint'", id="taint"),
        pytest.param("test: {resource: gpu}", "/test/resource", id="resource"),
        pytest.param(
            "openshift: {securityContextConstraints: create}", "/openshift/securityContextConstraints", id="openshift"
        ),
        pytest.param("kubelet:", "missing property 'kubelet'", id="a section taken away"),
        pytest.param("cdi: {directory: }", "'/cdi': missing property 'directory'", id="a path taken away"),
        pytest.param("image: {repository: }", "'/image': missing property 'repository'", id="a name taken away"),
        pytest.param("resources: {limits: {memory: lots}}", "/resources/limits/memory", id="quantity"),
    ],
)
def test_a_mistake_is_refused_with_its_place(helm: Helm, tmp_path: Path, values: str, place: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(values)
    with pytest.raises(RefusedError) as caught:
        helm.render("--values", file)
    assert place in str(caught.value)


def test_defaults_that_may_be_missing_can_be_taken_away(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("log:\nresources: {limits: {memory: }}\npriorityClassName:\nnodeSelector: {kubernetes.io/os: }\n")
    spec = helm.render("--values", file).agent["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {}, "requests": {"memory": "85Mi"}}
    assert {"priorityClassName", "nodeSelector"} & set(spec) == set()


CALM = (
    "devices.gpu.sharedDevNum=5",
    "devices.gpu.enabled=false",
    "devices.gpu.cdi=both",
    "devices.sgx.enclaveLimit=1",
    "devices.dsa.sharedDevNum=5",
    "devices.iaa.enabled=false",
    "deviceInfo.directory=/a",
    "log.level=debug",
    "health.rescanSeconds=5",
    "commonLabels.team=a",
    "commonAnnotations.team=a",
    "networkPolicy.enabled=false",
    "nodeFeatureRules.enabled=true",
    "openshift.securityContextConstraints=true",
    "serviceAccount.annotations.a=b",
    "test.resource=gpu.intel.com/xe",
)
"""Changes that no running pod notices but through its file."""

RESTARTING = (
    "image.registry=r",
    "image.repository=r",
    "image.tag=v2",
    "image.pullPolicy=Always",
    "image.pullSecrets={a}",
    "kubelet.devicePluginDirectory=/a",
    "kubelet.podResourcesSocket=/a/b",
    "cdi.directory=/a",
    "configMaps[0].name=a,configMaps[0].directory=/b",
    "devices.nic.configFile=/etc/pcidp/config.json",
    "hostMounts.recursiveReadOnly=false",
    "seLinux.type=spc_t",
    "resources.limits.memory=1Gi",
    "priorityClassName=a",
    "nodeSelector.a=b",
    "tolerations[0].operator=Exists",
    "podLabels.a=b",
    "podAnnotations.a=b",
    "serviceAccount.name=a",
    "simulation.node=xeon",
    "startupTaint.enabled=true",
    "kubernetesEvents.enabled=true",
    "nodeCondition.enabled=true",
    "faultTaint.enabled=true",
    "eviction.enabled=true",
    "health.xpumd.socket=/run/xpumd/intelxpuinfo.sock",
    "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.gpu.enabled=false",
)


@pytest.mark.parametrize("setting", CALM)
def test_these_changes_restart_no_pod(helm: Helm, setting: str) -> None:
    before, after = helm.render(), helm.render("--set", setting)
    assert after != before
    assert after.agent == before.agent


@pytest.mark.parametrize("setting", RESTARTING)
def test_these_changes_restart_pods_and_the_notes_say_so(helms: tuple[Helm, ...], setting: str) -> None:
    helm = helms[-1]
    assert helm.render("--set", setting).agent != helm.render().agent
    key = setting.partition("=")[0].partition("[")[0]
    said = helm.notes().rpartition("Pods are restarted")[2]
    assert any(word in said for word in (key, key.partition(".")[0]))


def test_another_override_restarts_no_pod(helm: Helm) -> None:
    first = ("--set", "nodeOverrides[0].selector.matchLabels.a=b,nodeOverrides[0].devices.gpu.enabled=false")
    second = (*first, "--set", "nodeOverrides[1].selector.matchLabels.c=d,nodeOverrides[1].devices.sgx.enabled=false")
    assert helm.render(*second).file != helm.render(*first).file
    assert helm.render(*second).agent == helm.render(*first).agent


def test_the_file_arrives_in_the_directory_that_is_watched(helm: Helm) -> None:
    rendered = helm.render()
    (container,) = rendered.agent["spec"]["containers"]
    file = container["args"][container["args"].index("--config") + 1]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "config")
    assert file == f"{mount['mountPath']}/config.yaml"
    assert "subPath" not in mount  # it would never be brought up to date


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("startupTaint.enabled=true,serviceAccount.create=false", "serviceAccount.name: needed"),
        ("openshift.securityContextConstraints=true,serviceAccount.create=false", "serviceAccount.name: needed"),
        ("cdi.directory=/run/intel-agent/", "cdi.directory: /run/intel-agent is the directory of something else"),
        ("cdi.directory=/var/lib/kubelet/device-plugins", "is the directory of something else already"),
        ("kubelet.podResourcesSocket=/var/lib/kubelet/device-plugins/k.sock", "is the directory of something else"),
        (
            "configMaps[0].name=a,configMaps[0].directory=/run/intel-agent",
            "configMaps[0].directory: /run/intel-agent is",
        ),
        ("deviceInfo.directory=/var/run/cdi,devices.nic.configFile=/a", "is the directory of something else already"),
        ("health.xpumd.socket=/run/intel-agent/a.sock", "health.xpumd.socket: /run/intel-agent is"),
        ("cdi.directory=/run/../etc", "cdi.directory: /run/../etc leads upwards"),
    ],
)
def test_values_that_do_not_go_together_are_refused(helm: Helm, settings: str, said: str) -> None:
    with pytest.raises(RefusedError) as caught:
        helm.render("--set", settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("section", ["startupTaint", "nodeCondition", "faultTaint", "eviction"])
def test_the_right_to_change_nodes_needs_a_cluster_that_can_narrow_it(helm: Helm, section: str) -> None:
    settings = ("--set", f"{section}.enabled=true", "--kube-version")
    with pytest.raises(RefusedError) as caught:
        helm.render(*settings, "1.29.9")
    assert f"{section}.enabled: needs Kubernetes 1.30" in str(caught.value)
    assert "ValidatingAdmissionPolicy" in helm.render(*settings, "1.30.0").kinds


def test_only_the_api_servers_addresses_can_be_reached_where_they_are_given(helm: Helm) -> None:
    settings = ("--set", "startupTaint.enabled=true,networkPolicy.apiServerCIDRs={10.0.0.1/32,fd00::1/128}")
    (rule,) = helm.render(*settings).one("NetworkPolicy")["spec"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"ipBlock": {"cidr": "fd00::1/128"}}]
    assert [each["port"] for each in rule["ports"]] == [443, 6443]
