"""Each kind of custom resource becomes its section; every field has its equivalent, or is said to have none."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from intel_agent import config
from intel_agent.backends import Backend
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
        "f1:11: GpuDevicePlugin x: spec.monitoringMode: found split",
        'f1:13: GpuDevicePlugin x: spec.denyIDs: found "0x56a0"',
    ]
    assert "left out: cannot be given together with allowIDs" in said(migration)[-1]
    assert '# f1:5: spec.image: "intel/intel-gpu-plugin:0.36.0": the agent has its own image' in migration.text


def test_every_field_of_an_sgx_plugin_is_a_value_or_a_note() -> None:
    spec = "{enclaveLimit: 20, provisionLimit: 110, dcapInfraResources: true, initImage: a/intel-sgx-initcontainer:1}"
    migration = of(resource("SgxDevicePlugin", spec))
    assert migration.values == {"devices": {**NONE, "sgx": {"enclaveLimit": 20}}}
    assert [each.split(": ")[2] for each in said(migration)] == [
        WEBHOOK,
        "spec.dcapInfraResources",
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


def test_what_the_agent_does_anyway_needs_no_value() -> None:
    dsa = resource("DsaDevicePlugin", "{driver: idxd, logLevel: 4}")
    sgx = resource("GpuDevicePlugin", "{monitoringMode: split, bypathMode: single, sharedDevNum: 1}")
    migration = of(dsa, sgx)
    assert migration.values == {"devices": {**NONE, "gpu": {}, "dsa": {}}}
    assert migration.notes == ()
    assert "# f1:4: spec.driver: idxd: as the agent does anyway" in migration.text
    assert "# f1:4: spec.logLevel: 4: asks for no more than info" in migration.text
    assert "# f2:4: spec.monitoringMode: split: without effect, as enableMonitoring is not set" in migration.text


def test_the_operators_defaults_are_written_where_ours_differ() -> None:
    migration = of(resource("SgxDevicePlugin", "{enclaveLimit: null}"), resource("GpuDevicePlugin", ""))
    assert migration.values["devices"] == {**NONE, "gpu": {}, "sgx": {"enclaveLimit": 1, "provisionLimit": 1}}
    assert migration.text.count("# the operator's default\n") == 2


def test_another_driver_makes_another_plugin_of_it() -> None:
    migration = of(resource("DsaDevicePlugin", "{driver: vfio-pci, sharedDevNum: 3, nodeSelector: {a: b}}"))
    assert migration.values == {"devices": NONE}
    (note,) = said(migration)
    assert note == (
        "f1:4: DsaDevicePlugin x: spec.driver: found vfio-pci; dsa.intel.com/vfio is not offered by this version: "
        "keep the old plugin for it"
    )
    for line in (
        "# dsa:",
        "#   driver: vfio-pci  # f1:4: spec.driver",
        '#   nodeSelector: {"a": "b"}',
        "sharedDevNum: 3",
    ):
        assert line in migration.text


MISSING = [each for each in kinds.KINDS if not each.offered]


@pytest.mark.parametrize("kind", MISSING, ids=[each.name for each in MISSING])
def test_a_kind_that_this_version_has_not_is_named_and_its_fields_are_kept(kind: kinds.Kind) -> None:
    others: dict[str, Json] = {"logLevel": 7, "nodeSelector": {"a": "b"}, "y": 2}
    spec: dict[str, Json] = {**dict.fromkeys(kind.settings, "v"), **others}
    migration = of(resource(kind.name, json.dumps(spec)))
    assert migration.values == {"devices": NONE}
    assert said(migration) == [
        f"f1:1: {kind.name} x: {kind.section.upper()} is not offered by this version: keep the old plugin for it",
        f"f1:4: {kind.name} x: spec.y: found 2; no field of {kind.name} that is known here",
    ]
    for name in (*kind.settings, "logLevel", "nodeSelector"):
        assert f"#   {name}: " in migration.text


def test_every_kind_of_the_configuration_has_a_resource() -> None:
    assert set(kinds.sections()) <= {each.section for each in kinds.KINDS}
    for kind in kinds.KINDS:
        section = getattr(Config().devices, kind.section, None)
        assert kind.offered == isinstance(section, Backend)
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
