"""Several resources, each with its own nodes, become one agent that offers the same on the same nodes."""

import pytest
import yaml

from intel_agent.config.schema import Json, entries
from intel_agent.migrate import Migration, kinds, migrated

OFF: Json = {"enabled": False}
NONE: dict[str, Json] = dict.fromkeys(kinds.sections(), OFF)
LABEL = "intel.feature.node.kubernetes.io"


def resource(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: deviceplugin.intel.com/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def of(*texts: str, keep: bool = False) -> Migration:
    sources = [(f"f{number}", text) for number, text in enumerate(texts, 1)]
    migration = migrated(sources, keep_hardware_labels=keep)
    assert yaml.safe_load(migration.text) == migration.values
    return migration


def overridden(section: str, labels: dict[str, Json], keys: dict[str, Json]) -> Json:
    return {"selector": {"matchLabels": labels}, "devices": {section: keys}}


def said(migration: Migration) -> list[str]:
    return [str(note) for note in migration.notes]


def test_labels_that_all_share_select_the_agents_nodes() -> None:
    migration = of(
        resource("DsaDevicePlugin", "dsa", "{nodeSelector: {pool: a, zone: b}}"),
        resource("IaaDevicePlugin", "iaa", "{nodeSelector: {zone: b, pool: a}, sharedDevNum: 2}"),
    )
    assert migration.values == {
        "devices": {**NONE, "dsa": {}, "iaa": {"sharedDevNum": 2}},
        "nodeSelector": {"pool": "a", "zone": "b"},
    }
    assert migration.notes == ()


def test_labels_that_differ_become_overrides() -> None:
    migration = of(
        resource("DsaDevicePlugin", "dsa", "{nodeSelector: {pool: a, zone: b}}"),
        resource("IaaDevicePlugin", "iaa", "{nodeSelector: {pool: a}, sharedDevNum: 2}"),
    )
    assert migration.values == {
        "devices": {**NONE, "iaa": {"sharedDevNum": 2}},
        "nodeOverrides": [overridden("dsa", {"zone": "b"}, {"enabled": True})],
        "nodeSelector": {"pool": "a"},
    }
    assert migration.notes == ()


def test_each_override_says_all_that_any_of_its_kind_changes() -> None:
    migration = of(
        resource("GpuDevicePlugin", "one", "{nodeSelector: {pool: a}, allowIDs: '0x56c0'}"),
        resource("GpuDevicePlugin", "two", "{nodeSelector: {pool: b}, denyIDs: '0x56c0', sharedDevNum: 2}"),
    )
    first: dict[str, Json] = {"enabled": True, "sharedDevNum": 1, "allowIDs": "0x56c0", "denyIDs": []}
    second: dict[str, Json] = {"enabled": True, "sharedDevNum": 2, "allowIDs": [], "denyIDs": "0x56c0"}
    assert migration.values == {
        "devices": NONE,
        "nodeOverrides": [overridden("gpu", {"pool": "a"}, first), overridden("gpu", {"pool": "b"}, second)],
    }
    assert migration.notes == ()


def test_a_resource_for_all_nodes_is_the_section_and_others_are_laid_over_it() -> None:
    migration = of(
        resource("GpuDevicePlugin", "special", "{nodeSelector: {pool: b}}"),
        resource("GpuDevicePlugin", "general", "{sharedDevNum: 4}"),
    )
    assert migration.values == {
        "devices": {**NONE, "gpu": {"sharedDevNum": 4}},
        "nodeOverrides": [overridden("gpu", {"pool": "b"}, {"sharedDevNum": 1})],
    }
    (note,) = said(migration)
    other = "GpuDevicePlugin general (f2:1)"
    assert note == f"f1:1: GpuDevicePlugin special: where {other} is wanted, too, both ran; this one holds there"


def test_of_two_for_the_same_nodes_the_last_is_carried_over_and_the_other_kept() -> None:
    migration = of(
        resource("GpuDevicePlugin", "one", "{sharedDevNum: 2, logLevel: 1}"),
        resource("GpuDevicePlugin", "two", "{sharedDevNum: 3}"),
    )
    assert migration.values == {"devices": {**NONE, "gpu": {"sharedDevNum": 3}}}
    (note,) = said(migration)
    other = "GpuDevicePlugin two (f2:1): both ran there; the other one is carried over"
    assert note == f"f1:1: GpuDevicePlugin one: for the same nodes as {other}"
    assert "#   sharedDevNum: 2  # f1:4: spec.sharedDevNum" in migration.text
    assert "#   f1:4: spec.logLevel: 1: asks for no more than info" in migration.text


MORE = "f2:1: DsaDevicePlugin dsa: tolerations: other resources tolerate more"
GPU = resource("GpuDevicePlugin", "gpu", f"{{nodeSelector: {{{LABEL}/gpu: 'true'}}}}")
SGX = resource("DsaDevicePlugin", "dsa", f"{{nodeSelector: {{{LABEL}/dsa: 'true'}}}}")


def test_labels_of_the_hardware_are_left_to_the_agents_own_eyes() -> None:
    migration = of(GPU, SGX)
    assert migration.values == {"devices": {**NONE, "gpu": {}, "dsa": {}}}
    assert migration.notes == ()
    assert f'GpuDevicePlugin gpu: nodeSelector {LABEL}/gpu: "true": the agent looks for' in migration.text


def test_labels_of_the_hardware_can_be_kept() -> None:
    assert of(GPU, keep=True).values == {"devices": {**NONE, "gpu": {}}, "nodeSelector": {f"{LABEL}/gpu": "true"}}
    assert of(GPU, SGX, keep=True).values == {
        "devices": NONE,
        "nodeOverrides": [
            overridden("gpu", {f"{LABEL}/gpu": "true"}, {"enabled": True}),
            overridden("dsa", {f"{LABEL}/dsa": "true"}, {"enabled": True}),
        ],
    }


@pytest.mark.parametrize("labels", [f"{LABEL}/gpu: 'false'", f"{LABEL}/npu: 'true'"])
def test_other_values_and_kinds_are_no_labels_of_the_hardware(labels: str) -> None:
    migration = of(resource("GpuDevicePlugin", "gpu", f"{{nodeSelector: {{{labels}}}}}"))
    assert entries(migration.values["nodeSelector"])


def test_tolerations_are_added_up_and_the_difference_is_said() -> None:
    migration = of(
        resource("GpuDevicePlugin", "gpu", "{tolerations: [{key: a}, {key: b}]}"),
        resource("DsaDevicePlugin", "dsa", "{tolerations: [{key: b}]}"),
    )
    assert migration.values["tolerations"] == [{"key": "a"}, {"key": "b"}]
    assert [each.partition(": there is")[0] for each in said(migration)] == [MORE]


@pytest.mark.parametrize(("levels", "log"), [((0, 4), None), ((1, 5), {"level": "debug"})])
def test_the_most_verbose_decides_the_level(levels: tuple[int, int], log: Json) -> None:
    one, two = levels
    migration = of(
        resource("GpuDevicePlugin", "gpu", f"{{logLevel: {one}}}"),
        resource("DsaDevicePlugin", "dsa", f"{{logLevel: {two}}}"),
    )
    assert migration.values.get("log") == log
