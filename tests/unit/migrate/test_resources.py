"""Each kind of custom resource becomes its section; every field has its equivalent, or is said to have none."""

from pathlib import Path

import msgspec
import pytest
import yaml

from intel_agent import config
from intel_agent.config import Config
from intel_agent.config.schema import Json
from intel_agent.migrate import Migration, kinds, migrated

DOCS = Path(__file__).parents[3] / "docs" / "migrate.md"

OFF: Json = {"enabled": False}
NONE: dict[str, Json] = dict.fromkeys(kinds.sections(), OFF)
"""The devices of somebody who had no plugin."""


def resource(kind: str, spec: str, name: str = "x") -> str:
    return f"apiVersion: deviceplugin.intel.com/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def of(*texts: str) -> Migration:
    return migrated([(f"f{number}", text) for number, text in enumerate(texts, 1)])


def said(migration: Migration) -> list[str]:
    return [str(note) for note in migration.notes]


WEBHOOK = (
    "the operator's webhook, which turns sgx.intel.com/epc into sgx.intel.com/enclave and mounts aesmd's socket, "
    "is not replaced"
)
GPU = """
  image: intel/intel-gpu-plugin:0.36.0
  initImage: intel/intel-gpu-initcontainer:0.36.0
  logLevel: 5
  sharedDevNum: 10
  preferredAllocationPolicy: balanced
  enableMonitoring: true
  monitoringMode: split
  allowIDs: '0x56c0,0x56c1'
  denyIDs: '0x56a0'
  bypathMode: all
  nodeSelector: {pool: gpus}
  tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]"""


def test_every_field_of_a_gpu_plugin_is_a_value_or_a_note() -> None:
    migration = of(resource("GpuDevicePlugin", GPU))
    gpu: dict[str, Json] = {
        "sharedDevNum": 10,
        "preferredAllocationPolicy": "balanced",
        "enableMonitoring": True,
        "monitoringMode": "split",
        "allowIDs": "0x56c0,0x56c1",
        "bypathMode": "all",
    }
    assert migration.values == {
        "log": {"level": "debug"},
        "devices": {**NONE, "gpu": gpu},
        "nodeSelector": {"pool": "gpus"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    assert [each.split(";")[0] for each in said(migration)] == [
        'f1:6: GpuDevicePlugin x: spec.initImage: found "intel/intel-gpu-initcontainer:0.36.0"',
        'f1:13: GpuDevicePlugin x: spec.denyIDs: found "0x56a0"',
    ]
    assert "left out: cannot be given together with allowIDs" in said(migration)[-1]
    assert '# f1:5: spec.image: "intel/intel-gpu-plugin:0.36.0": the agent has its own image' in migration.text


def test_every_field_of_an_sgx_plugin_is_a_value_or_a_note() -> None:
    spec = "{enclaveLimit: 20, provisionLimit: 110, dcapInfraResources: true, initImage: a/intel-sgx-initcontainer:1}"
    migration = of(resource("SgxDevicePlugin", spec))
    assert migration.values == {"devices": {**NONE, "sgx": {"enclaveLimit": 20, "dcapInfraResources": True}}}
    assert [each.split(": ")[2] for each in said(migration)] == [
        WEBHOOK,
        "spec.initImage",
    ]
    assert "# f1:4: spec.provisionLimit: 110: the default" in migration.text


@pytest.mark.parametrize(("kind", "section"), [("DsaDevicePlugin", "dsa"), ("IaaDevicePlugin", "iaa")])
def test_every_field_of_an_idxd_plugin_is_a_value_or_a_note(kind: str, section: str) -> None:
    migration = of(resource(kind, "{sharedDevNum: 10, initImage: a/b:1, provisioningConfig: my-queues}"))
    assert migration.values == {"devices": {**NONE, section: {"sharedDevNum": 10}}}
    assert [each.split(";")[0] for each in said(migration)] == [
        f'f1:4: {kind} x: spec.initImage: found "a/b:1"',
        f"f1:4: {kind} x: spec.provisioningConfig: found my-queues",
    ]


def test_every_field_of_an_fpga_plugin_is_a_value_or_a_note() -> None:
    migration = of(resource("FpgaDevicePlugin", "{mode: region, initImage: a/intel-fpga-initcontainer:1}"))
    assert migration.values == {"devices": {**NONE, "fpga": {"mode": "region"}}}
    webhook, hook = said(migration)
    assert "AcceleratorFunctions and FpgaRegions, is not replaced" in webhook
    assert "annotation fpga.intel.com/device-plugin-mode is not read" in webhook
    assert hook.startswith('f1:4: FpgaDevicePlugin x: spec.initImage: found "a/intel-fpga-initcontainer:1"')
    assert "/opt/intel/fpga-sw" in hook


def test_every_field_of_a_qat_plugin_is_a_value_or_a_note() -> None:
    spec = "{dpdkDriver: igb_uio, kernelVfDrivers: [4xxxvf], maxNumDevices: 16, preferredAllocationPolicy: balanced, "
    migration = of(resource("QatDevicePlugin", spec + "initImage: a/b:1, provisioningConfig: my-services}"))
    carried: Json = {
        "dpdkDriver": "igb_uio",
        "kernelVfDrivers": ["4xxxvf"],
        "maxNumDevices": 16,
        "preferredAllocationPolicy": "balanced",
    }
    assert migration.values == {"devices": {**NONE, "qat": carried}}
    assert [each.split(";")[0] for each in said(migration)] == [
        (
            "f1:1: QatDevicePlugin x: the plugin gave virtual functions to dpdkDriver by itself, and the agent does "
            "not: see docs/migrate.md, What is not replaced"
        ),
        'f1:4: QatDevicePlugin x: spec.initImage: found "a/b:1"',
        "f1:4: QatDevicePlugin x: spec.provisioningConfig: found my-services",
    ]


def test_a_qat_plugin_keeps_what_the_operator_offered_by_default() -> None:
    migration = of(resource("QatDevicePlugin", "{kernelVfDrivers: []}"))
    kept: Json = {"kernelVfDrivers": ["c6xxvf", "4xxxvf"], "maxNumDevices": 32}
    assert migration.values == {"devices": {**NONE, "qat": kept}}


def test_every_field_of_an_npu_plugin_is_a_value() -> None:
    migration = of(resource("NpuDevicePlugin", "{sharedDevNum: 4, nodeSelector: {pool: laptops}}"))
    assert migration.values["devices"] == {**NONE, "npu": {"sharedDevNum": 4}}
    assert migration.notes == ()


def test_a_dlb_plugin_asks_for_nothing_but_its_kind_and_a_virtual_function() -> None:
    migration = of(resource("DlbDevicePlugin", "{initImage: intel/intel-dlb-initcontainer:0.32.1}"))
    assert migration.values["devices"] == {**NONE, "dlb": {}}
    (note,) = said(migration)
    assert "the agent does not set up virtual functions: see docs/migrate.md, What is not replaced" in note


def test_what_the_agent_does_anyway_needs_no_value() -> None:
    dsa = resource("DsaDevicePlugin", "{driver: idxd, logLevel: 4}")
    gpu = resource("GpuDevicePlugin", "{monitoringMode: single, bypathMode: single, sharedDevNum: 1}")
    migration = of(dsa, gpu)
    assert migration.values == {"devices": {**NONE, "gpu": {}, "dsa": {}}}
    assert migration.notes == ()
    assert "# f1:4: spec.driver: idxd: the default" in migration.text
    assert "# f1:4: spec.logLevel: 4: asks for no more than info" in migration.text


def test_the_operators_defaults_are_written_where_ours_differ() -> None:
    migration = of(resource("SgxDevicePlugin", "{enclaveLimit: null}"), resource("GpuDevicePlugin", ""))
    assert migration.values["devices"] == {**NONE, "gpu": {}, "sgx": {"enclaveLimit": 1, "provisionLimit": 1}}
    assert migration.text.count("# the operator's default\n") == 2


def test_accelerators_on_vfio_are_carried_over() -> None:
    migration = of(resource("DsaDevicePlugin", "{driver: vfio-pci, sharedDevNum: 3, initImage: a/b:1}"))
    carried: Json = {"driver": "vfio-pci", "sharedDevNum": 3}
    assert migration.values == {"devices": {**NONE, "dsa": carried}}
    assert [each.partition("no equivalent: ")[2] for each in said(migration)] == [
        "the agent does not set up work queues and drivers: see docs/migrate.md, What is not replaced"
    ]


def test_every_kind_of_the_configuration_has_a_resource() -> None:
    others = {"gaudi", "nic"}  # their plugins have no custom resource
    assert set(kinds.sections()) == {each.section for each in kinds.KINDS} | others
    for kind in kinds.KINDS:
        assert {"enabled", "cdi"}.isdisjoint(kind.settings)


def test_unknown_fields_are_named_with_their_lines() -> None:
    text = resource("GpuDevicePlugin", "{sharedDevNums: 3, enabled: false, cdi: ''}") + "data: {}\n"
    unknown = "no field of GpuDevicePlugin that is known here"
    assert said(of(text)) == [
        f"f1:4: GpuDevicePlugin x: spec.sharedDevNums: found 3; {unknown}; did you mean sharedDevNum?",
        f"f1:4: GpuDevicePlugin x: spec.enabled: found false; {unknown}",
        f'f1:4: GpuDevicePlugin x: spec.cdi: found ""; {unknown}',
        "f1:5: GpuDevicePlugin x: data: found {}; no field that is known here",
    ]


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        ("{sharedDevNum: 0}", "spec.sharedDevNum: found 0; left out: found 0; allowed a whole number from 1 to 10000"),
        ("{sharedDevNum: '2'}", 'spec.sharedDevNum: found "2"; left out: found "2"; allowed a whole number'),
        ("{allowIDs: '56c0'}", "left out: '56c0' is not a PCI device id"),
        ("{logLevel: high}", "spec.logLevel: found high; left out: allowed a whole number"),
        ("{nodeSelector: a}", "spec.nodeSelector: found a; left out: allowed labels and their values"),
        ("{nodeSelector: {a: b c}}", 'left out: a: "b c": no label that a node can have'),
        ("{nodeSelector: {a: true}}", "taken as a text: a: true: write the value in quotes"),
        ("{tolerations: {}, image: a}", "spec.image: found a; no equivalent: the agent has its own image"),
        ("{tolerations: x}", "spec.tolerations: found x; left out: allowed a list"),
        ("{tolerations: [x]}", 'spec.tolerations: found ["x"]; left out: x'),
        ("[]", "spec: left out: allowed a section"),
    ],
)
def test_what_the_agent_cannot_take_is_left_out_and_said(spec: str, note: str) -> None:
    migration = of(resource("GpuDevicePlugin", spec))
    assert len(migration.notes) == 1
    assert note in str(migration.notes[0])
    assert migration.values["devices"] == {**NONE, "gpu": {}}


def test_another_version_of_the_api_is_said() -> None:
    migration = of(resource("GpuDevicePlugin", "{sharedDevNum: 2}").replace("/v1", "/v2"))
    assert said(migration) == [
        "f1:1: GpuDevicePlugin x: apiVersion: found v2; taken for v1, the only one that is known"
    ]
    assert migration.values["devices"] == {**NONE, "gpu": {"sharedDevNum": 2}}


def test_what_is_printed_is_a_configuration_with_those_values() -> None:
    migration = of(resource("GpuDevicePlugin", GPU), resource("SgxDevicePlugin", "{nodeSelector: {pool: gpus}}"))
    assert yaml.safe_load(migration.text) == migration.values
    known = {each.encode_name for each in msgspec.structs.fields(Config)}
    ours = yaml.safe_dump({key: value for key, value in migration.values.items() if key in known})
    loaded = config.parse(ours, "values").config
    assert (loaded.devices.gpu.shared_dev_num, loaded.devices.sgx.enclave_limit, loaded.log.level) == (10, 1, "debug")
    assert [each.name for each in loaded.devices.backends] == ["gpu", "sgx"]


def test_texts_of_people_cannot_break_out_of_comments() -> None:
    text = resource("GpuDevicePlugin", '{image: "a\\nlog: {level: error}\\u2028x: 1"}', name='"a\\n\\u0085b"')
    migration = of(text)
    assert yaml.safe_load(migration.text) == migration.values == {"devices": {**NONE, "gpu": {}}}
    assert '"a\\nlog: {level: error}\\u2028x: 1"' in migration.text


def test_the_documentation_is_current() -> None:
    assert kinds.reference() in DOCS.read_text(encoding="utf-8"), (
        "put the output of `python -c 'from intel_agent import migrate; print(migrate.reference())'` there"
    )


def test_infinity_stays_a_number() -> None:
    migration = of(resource("GpuDevicePlugin", "{tolerations: [{a: .inf, b: [-.inf, {c: .inf}]}]}"))
    assert migration.values["tolerations"] == [{"a": float("inf"), "b": [float("-inf"), {"c": float("inf")}]}]
    assert yaml.safe_load(migration.text) == migration.values
