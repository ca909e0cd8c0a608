"""What can be given: several documents, lists, JSON, values of the old charts, the SR-IOV plugin's configuration."""

import json

import pytest
import yaml

from intel_agent.cli.commands import CHARTS
from intel_agent.config.schema import Json, entries
from intel_agent.errors import AgentError
from intel_agent.migrate import Migration, charts, kinds, migrated

OFF: Json = {"enabled": False}
NONE: dict[str, Json] = dict.fromkeys(kinds.sections(), OFF)

GPU = "apiVersion: deviceplugin.intel.com/v1\nkind: GpuDevicePlugin\nmetadata: {name: a}\nspec: {sharedDevNum: 2}\n"
DSA = GPU.replace("Gpu", "Dsa").replace("2", "3")


def of(text: str, chart: str | None = None) -> Migration:
    migration = migrated([("f", text)], chart=chart)
    assert yaml.safe_load(migration.text) == migration.values
    return migration


def said(migration: Migration) -> list[str]:
    return [str(note) for note in migration.notes]


def listed(kind: str, *objects: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": kind, "items": [yaml.safe_load(each) for each in objects]}, indent=1)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"---\n{GPU}---\n# nothing\n---\n{DSA}...\n", id="documents"),
        pytest.param(listed("List", GPU, DSA), id="list of kubectl"),
        pytest.param(listed("GpuDevicePluginList", GPU) + "\n---\n" + DSA, id="list of the API server"),
        pytest.param(listed("List", listed("List", GPU), DSA), id="list in a list"),
        pytest.param(listed("List", GPU, DSA).replace(" ", "\t"), id="JSON with tabs"),
    ],
)
def test_every_object_is_found(text: str) -> None:
    devices: dict[str, Json] = {**NONE, "gpu": {"sharedDevNum": 2}, "dsa": {"sharedDevNum": 3}}
    assert of(text).values == {"devices": devices}


def test_lines_are_those_of_the_file() -> None:
    assert "# f:9: spec.sharedDevNum" in of(f"# one\n# two\n---\n{GPU}---\n".replace("spec: {", "spec:\n  {\n  ")).text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "nothing was given: no object and no values in any of the files", id="nothing"),
        pytest.param(listed("List"), "nothing was given", id="an empty list"),
        pytest.param("{}", "nothing was given", id="an empty object"),
        pytest.param("a: [", "f:1: found no YAML", id="broken"),
        pytest.param(f"{GPU}---\na: b: c\n", "f:6: found no YAML", id="broken behind a sound one"),
        pytest.param("\n- a\n", "f:2: found a list; allowed an object or a values file", id="a list"),
        pytest.param("No resources found\n", 'f:1: found "No resources found"; allowed an object', id="a text"),
        pytest.param("a: &x 1\nb: *x\n", "f:2: found the alias *x: write the value out", id="alias"),
        pytest.param("a: [!!str 1]", "f:1: found the tag tag:yaml.org,2002:str", id="tag"),
        pytest.param("a: {b: 1,\n c: 2,\n b: 3}", "f:3: found b twice, first in line 1; allowed once", id="double"),
        pytest.param("a: {1: 2}", "f:1: found 1 as a key; allowed a text in quotes", id="number as a key"),
        pytest.param("a: 1\n", "f:1: found neither an object with apiVersion and kind, nor values that", id="unknown"),
        pytest.param("[" * 9999, "inside each other", id="depth"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(AgentError) as caught:
        of(text)
    assert complaint in str(caught.value)


def test_other_objects_are_named() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    function = "apiVersion: fpga.intel.com/v2\nkind: FpgaRegion\nmetadata: {name: r}\n"
    migration = of(f"{pod}---\n{function}---\n{GPU.replace('intel.com', 'example.com')}")
    assert migration.values == {"devices": NONE}
    assert [each[:40] for each in said(migration)] == [
        "f:1: Pod p: not read; read are GpuDevice",
        "f:5: FpgaRegion r: the operator's FPGA w",
        "f:9: GpuDevicePlugin a: not read; read a",
    ]


DAEMON_SET = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: intel-gpu-plugin}
spec:
  template:
    spec:
      nodeSelector: {pool: a}
      tolerations: [{key: gpu}]
      initContainers:
      - image: intel/intel-gpu-initcontainer:0.36.0
      containers:
      - name: sidecar
        image: intel/intel-gpu-levelzero:0.36.0
      - name: plugin
        image: my.registry/intel-gpu-plugin:0.36.0
        args:
        - -shared-dev-num=30
        - -enable-monitoring
        - --allocation-policy
        - packed
        - -v=5
        - -temp-limit
        - "80"
"""


def test_a_daemon_set_of_a_manifest_says_the_same_by_arguments() -> None:
    migration = of(DAEMON_SET)
    gpu: Json = {"sharedDevNum": 30, "enableMonitoring": True, "preferredAllocationPolicy": "packed"}
    assert migration.values == {
        "log": {"level": "debug"},
        "devices": {**NONE, "gpu": gpu},
        "nodeSelector": {"pool": "a"},
        "tolerations": [{"key": "gpu"}],
    }
    head = "DaemonSet intel-gpu-plugin: spec.template.spec"
    assert [each.split(";")[0] for each in said(migration)] == [
        f'f:11: {head}.initContainers[0].image: found "intel/intel-gpu-initcontainer:0.36.0"',
        f"f:13: {head}.containers[0]: beside the plugin: the agent needs no helper",
        f'f:16: {head}.containers[1].image: found "my.registry/intel-gpu-plugin:0.36.0"',
        f'f:24: {head}.containers[1].args[5] -temp-limit: found "80"',
    ]


def plain_daemon_set(kind: str, more: str = "") -> str:
    container = f"{{image: 'intel/intel-{kind}-plugin@sha256:0'{more}}}"
    spec = f"{{template: {{spec: {{affinity: {{}}, containers: [{container}]}}}}}}"
    return f"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: x}}\nspec: {spec}\n"


def test_a_plugin_has_defaults_of_its_own() -> None:
    migration = of(plain_daemon_set("sgx", ", env: [{name: PODS_PER_CORE, value: '1'}], command: [sh]"))
    assert migration.values["devices"] == {**NONE, "sgx": {}}
    assert [each.split(": ")[2] for each in said(migration) if "webhook" not in each] == [
        f"spec.template.spec.{each}" for each in ("containers[0].env", "containers[0].command", "affinity")
    ]
    qat = of(plain_daemon_set("qat", ", args: ['-kernel-vf-drivers=4xxxvf,6xxxvf', -dpdk-driver]"))
    functions: Json = {"kernelVfDrivers": ["4xxxvf", "6xxxvf"], "maxNumDevices": 64}
    assert qat.values["devices"] == {**NONE, "qat": functions}
    assert any('args[1] -dpdk-driver: found "-dpdk-driver"; left out' in each for each in said(qat))
    npu = of(plain_daemon_set("npu", "").replace("{affinity", "{initContainers: [{image: a}], affinity"))
    assert any("spec.template.spec.initContainers[0]: before the plugin" in each for each in said(npu))


def test_a_daemon_set_of_the_operator_or_of_others_is_no_plugin_of_its_own() -> None:
    owner = "{name: x, ownerReferences: [{kind: GpuDevicePlugin, name: mine}]}"
    owned = plain_daemon_set("gpu").replace("{name: x}", owner)
    other = plain_daemon_set("gpu").replace("intel-gpu-plugin", "nvidia")
    empty = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\n"
    migration = of(f"{owned}---\n{other}---\n{empty}")
    assert migration.values == {"devices": NONE}
    assert [each.split(";")[0] for each in said(migration)] == [
        "f:1: DaemonSet x: made by the operator: give GpuDevicePlugin mine instead",
        "f:6: DaemonSet x: not read",
        "f:11: DaemonSet x: not read",
    ]


def test_the_command_knows_the_charts() -> None:
    assert set(CHARTS) == set(charts.CHARTS)


GPU_CHART = """
name: gpudeviceplugin-sample
image: {hub: intel, tag: ""}
initImage: {enable: false, hub: intel, tag: ""}
sharedDevNum: 1
logLevel: 2
enableMonitoring: true
allocationPolicy: none
allowIDs: ""
bypathMode: single
nodeSelector: {intel.feature.node.kubernetes.io/gpu: 'true'}
tolerations: []
nodeFeatureRule: false
annotations: {}
"""


def test_all_values_of_a_chart_are_those_of_its_resource() -> None:
    migration = of(GPU_CHART)
    assert migration.values == {"devices": {**NONE, "gpu": {"enableMonitoring": True}}}
    assert migration.notes == ()


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("allocationPolicy: packed", {"gpu": {"enableMonitoring": True, "preferredAllocationPolicy": "packed"}}),
        ("enclaveLimit: 3", {"sgx": {"enclaveLimit": 3}}),
        ("driver: idxd", {"dsa": {"sharedDevNum": 10}}),
        ("name: iaadeviceplugin-mine", {"iaa": {"sharedDevNum": 10}}),
        ("nodeSelector: {intel.feature.node.kubernetes.io/iaa: 'true'}", {"iaa": {"sharedDevNum": 10}}),
        ("maxNumDevices: 3", {"qat": {"kernelVfDrivers": ["4xxxvf", "420xxvf"], "maxNumDevices": 3}}),
    ],
)
def test_values_tell_their_chart_and_its_defaults_hold(text: str, devices: dict[str, Json]) -> None:
    assert entries(of(text).values["devices"]) == {**NONE, **devices}


def test_an_option_says_whose_values_these_are() -> None:
    assert entries(of("sharedDevNum: 3", "dsa").values["devices"]) == {**NONE, "dsa": {"sharedDevNum": 3}}


@pytest.mark.parametrize(
    ("text", "rules"),
    [("", {"enabled": True}), ("nodeFeatureRule: true", {"enabled": True}), ("nodeFeatureRule: false", None)],
)
def test_the_charts_rules_for_node_feature_discovery_come_along(text: str, rules: Json) -> None:
    assert of(f"enableMonitoring: false\n{text}").values.get("nodeFeatureRules") == rules


def test_values_of_a_chart_without_an_equivalent_are_said() -> None:
    text = "driver: idxd\nimage: {hub: my.registry/intel}\nannotations: {a: b}\n"
    head = "values of the chart intel-device-plugins-dsa"
    assert [each.split(";")[0] for each in said(of(text))] == [
        f'f:1: {head}: initImage: found "intel/intel-idxd-config-initcontainer:0.36.0"',
        f'f:2: {head}: image: found "my.registry/intel/intel-dsa-plugin:0.36.0"',
        f'f:3: {head}: annotations: found {{"a": "b"}}',
    ]
    (note,) = [each for each in said(of("enclaveLimit: 1\ninitImage: {tag: x}\n")) if "initImage" in each]
    assert note.endswith("initImage: no value of this chart: without effect before, too")


def test_helm_adds_labels_to_the_charts_own() -> None:
    label = "intel.feature.node.kubernetes.io/gpu"
    for selector, labels in (
        ("{a: b}", {"a": "b", label: "true"}),
        (f"{{a: b, {label}: null}}", {"a": "b"}),
        ("null", {label: "true"}),
    ):
        text = f"enableMonitoring: true\nnodeSelector: {selector}"
        assert entries(migrated([("f", text)], keep_hardware_labels=True).values["nodeSelector"]) == labels


def test_the_operators_chart_has_no_counterpart() -> None:
    migration = of("manager: {devices: {gpu: true}}\nprivateRegistry: {registryUrl: 'r'}\n")
    assert migration.values == {"devices": NONE}
    assert [each.split(": ")[2] for each in said(migration)] == [
        "the operator has no counterpart",
        "privateRegistry",
    ]


SRIOV = """{
  "resourceList": [
    {"resourceName": "a", "selectors": {"vendors": ["8086", "0x8086"], "IsRdma": true, "pfNames": ["e0#0-2"]}},
    {"ResourceName": "b", "resourcePrefix": "acme.com", "driver": "x", "additionalInfo": {"*": {"a": "08"}},
     "Selectors": [{"vendor": "8086", "drivers": ["vfio-pci"]}, {"devices": ["15e8"]}]}
  ],

  "resources": 1
}
"""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(SRIOV, "f", id="file"),
        pytest.param(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata:\n  c.json: {json.dumps(SRIOV)}\n",
            "f:5: data.c.json",
            id="ConfigMap",
        ),
    ],
)
def test_pools_of_the_sriov_plugin_are_carried_over(text: str, place: str) -> None:
    migration = of(text)
    head, ignored = "SR-IOV network device plugin", "found an unknown key, which is ignored"
    nic: Json = {
        "pools": [
            {"resourceName": "a", "selectors": [{"vendors": ["8086"], "pfNames": ["e0#0-2"], "isRdma": True}]},
            {
                "resourceName": "b",
                "resourcePrefix": "acme.com",
                "selectors": [{"drivers": ["vfio-pci"]}, {"devices": ["15e8"]}],
                "additionalInfo": {"*": {"a": "08"}},
            },
        ]
    }
    assert migration.values == {"devices": {**NONE, "nic": nic}}
    assert said(migration) == [
        f'{place}:3: {head}: resourceList[0].selectors.vendors[1]: found "0x8086", which fits no device',
        f"{place}:4: {head}: resourceList[1].driver: {ignored}",
        f"{place}:5: {head}: resourceList[1].selectors[0].vendor: {ignored}; did you mean vendors?",
        f"{place}:8: {head}: resources: {ignored}; did you mean resourceList?",
    ]
    assert f"    pools:  # {place}:2: resourceList\n      - resourceName: a\n        selectors:\n" in migration.text


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        pytest.param(
            '{"resourceList": [\n{"resourceName": "a.b",\n"selectors": {}}]}',
            "f:2: SR-IOV network device plugin: resourceList[0].resourceName",
            'found the name "a.b"; allowed letters, digits, - and _, at most 63, a letter or digit at the ends; '
            "the plugin ends with it",
            id="a name that is none",
        ),
        pytest.param(
            '{"resourceList": [\n"c"]}',
            "f:2: SR-IOV network device plugin: resourceList[0]",
            'found "c"; allowed an object; the plugin ends with it',
            id="no entry",
        ),
    ],
)
def test_what_the_sriov_plugin_ends_with_is_kept_in_comments(text: str, place: str, problem: str) -> None:
    migration = of(text)
    assert migration.values == {"devices": NONE}
    assert said(migration) == [f"{place}: {problem}"]
    assert "# f:1: SR-IOV network device plugin: not carried over. It says:\n" in migration.text


def test_resources_that_cannot_be_in_one_container_are_said() -> None:
    migration = of('{"resourceList": [{"resourceName": "a", "selectors": {}}, {"resourceName": "A", "selectors": {}}]}')
    assert entries(migration.values["devices"])["nic"] == {"pools": [{"resourceName": "a", "selectors": [{}]}]}
    assert [each.split(": ")[2] for each in said(migration)] == ["resourceList[1].resourceName"]


def test_a_config_map_with_a_key_for_each_node_becomes_overrides() -> None:
    pools = {name: json.dumps({"resourceList": [{"resourceName": name, "selectors": {}}]}) for name in ("n1", "n2")}
    migration = of(yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": pools}))
    assert entries(migration.values["devices"])["nic"] == OFF
    assert migration.values["nodeOverrides"] == [
        {
            "selector": {"matchLabels": {"kubernetes.io/hostname": name}},
            "devices": {"nic": {"enabled": True, "pools": [{"resourceName": name, "selectors": [{}]}]}},
        }
        for name in ("n1", "n2")
    ]
    assert migration.notes == ()


def test_other_config_maps_are_named() -> None:
    data = "{dsa.conf: '[]', qat-node1.conf: a=b, x: 'a: [', y: 3, z: '{\"resourceList\": []}'}"
    migration = of(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {data}\nbinaryData: {{}}\n")
    assert [each.split(": ")[2] for each in said(migration)] == [
        "data.dsa.conf",
        "data.qat-node1.conf",
        "data.x",
        "data.y",
        "SR-IOV network device plugin",
        "binaryData",
    ]
