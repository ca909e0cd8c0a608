"""Whatever is given: it never crashes, what is printed loads, and nothing that was given vanishes."""

import json
import re

import msgspec
import yaml
from hypothesis import given
from hypothesis import strategies as st

from intel_agent import config
from intel_agent.config import Config
from intel_agent.config.document import resolved
from intel_agent.config.schema import Json, entries, items
from intel_agent.errors import AgentError
from intel_agent.migrate import Migration, kinds, migrated

# PyYAML writes some texts without quotes that are numbers in YAML 1.2; a number is no key.
KEYS = st.text(max_size=6).filter(lambda text: resolved(text) == text)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20000) | st.floats(allow_nan=False, width=32) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


def toleration(key: str) -> Json:
    return {"key": key}


SOUND: dict[str, st.SearchStrategy[Json]] = {
    "sharedDevNum": st.integers(1, 12),
    "enclaveLimit": st.sampled_from([1, 20, 110]),
    "driver": st.sampled_from(["idxd", "vfio-pci"]),
    "enableMonitoring": st.booleans(),
    "monitoringMode": st.sampled_from(["single", "split"]),
    "allowIDs": st.sampled_from(["", "0x56c0", "0x56c0,0x56c1"]),
    "denyIDs": st.sampled_from(["", "0x56c0"]),
    "logLevel": st.integers(0, 9),
    "nodeSelector": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2).map(dict[str, Json]),
    "tolerations": st.lists(st.sampled_from("ab").map(toleration), max_size=2),
}


def both(one: dict[str, Json], two: dict[str, Json]) -> Json:
    return {**one, **two}


def resource(kind: kinds.Kind, name: str, spec: Json) -> Json:
    group: Json = f"{kinds.GROUP}/{kinds.VERSION}"
    return {"apiVersion": group, "kind": kind.name, "metadata": {"name": name}, "spec": spec}


def daemon_set(image: str, arguments: list[Json], pod: dict[str, Json]) -> Json:
    containers: Json = [{"image": image, "args": arguments}]
    spec: Json = {"template": {"spec": {"containers": containers, **pod}}}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "x"}, "spec": spec}


def daemon_sets() -> st.SearchStrategy[Json]:
    images = st.sampled_from([f"intel/intel-{kind.section}-plugin:0.36.0" for kind in kinds.KINDS])
    flags = st.sampled_from(["-v", "-shared-dev-num=2", "--allow-ids", "-enable-monitoring", "-mode=af", "-wsl", "3"])
    pod = {name: SOUND[name] | ANY for name in ("nodeSelector", "tolerations")} | {"initContainers": ANY}
    return st.builds(daemon_set, images, st.lists(flags | ANY, max_size=4), st.fixed_dictionaries({}, optional=pod))


def specs(kind: kinds.Kind) -> st.SearchStrategy[Json]:
    known = {name: SOUND.get(name, ANY) | ANY for name in (*kind.settings, *kinds.COMMON)}
    odd = st.dictionaries(KEYS, ANY, max_size=2)
    return st.builds(both, odd, st.fixed_dictionaries({}, optional=known)) | ANY


def resources() -> st.SearchStrategy[Json]:
    return st.sampled_from(kinds.KINDS).flatmap(
        lambda kind: st.builds(resource, st.just(kind), st.text(max_size=5), specs(kind))
    )


def given_as(objects: list[Json]) -> list[tuple[str, str]]:
    """Return the objects as files, every key on a line of its own, so that a line means one field."""
    return [
        (f"file{index}", yaml.safe_dump(each, width=10**6, allow_unicode=False)) for index, each in enumerate(objects)
    ]


def loads(migration: Migration) -> None:
    """Check that the agent takes the values, on every node."""
    assert yaml.safe_load(migration.text) == migration.values
    devices = entries(migration.values["devices"])
    known = {each.encode_name for each in msgspec.structs.fields(Config)}
    config.parse(json.dumps({key: each for key, each in migration.values.items() if key in known}), "f")
    for each in items(migration.values.get("nodeOverrides")):
        laid = dict(devices)
        for section, keys in entries(entries(each)["devices"]).items():
            laid[section] = {**entries(laid[section]), **entries(keys)}
        config.parse(json.dumps({"devices": laid}), "f")


def fields(source: str, text: str) -> list[tuple[str, int]]:
    """Return the fields of the spec that say something, with their lines."""
    found: list[tuple[str, int]] = []
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        if key.value == "spec" and isinstance(value, yaml.MappingNode):
            for name, inner in value.value:
                empty = inner.value in ([], "") or inner.tag.endswith("null")
                known = name.value in kinds.COMMON or any(name.value in each.settings for each in kinds.KINDS)
                if not (empty and known):
                    found.append((f"{source}:{name.start_mark.line + 1}", name.start_mark.line))
    return found


@given(st.lists(resources(), min_size=1, max_size=4))
def test_any_resources_become_values_that_load_and_lose_nothing(objects: list[Json]) -> None:
    files = given_as(objects)
    migration = migrated(files)
    loads(migration)
    said = migration.text + "\n".join(str(note) for note in migration.notes)
    for source, text in files:
        for place, _ in fields(source, text):
            assert re.search(rf"{place}\b", said), (place, text, said)


@given(
    st.lists(resources() | daemon_sets() | ANY, min_size=1, max_size=3),
    st.sampled_from(["", "keep"]),
    st.sampled_from([None, "gpu"]),
)
def test_any_objects_become_values_that_load_or_an_expected_error(
    objects: list[Json], keep: str, chart: str | None
) -> None:
    try:
        migration = migrated(given_as(objects), chart=chart, keep_hardware_labels=bool(keep))
    except AgentError:
        return
    loads(migration)


@given(st.text(alphabet="ab: -[]{}\n\t'\"#&*!|>%@,0x.kindapiVersionspecresourceList", max_size=60))
def test_any_text_becomes_values_that_load_or_an_expected_error(text: str) -> None:
    try:
        migration = migrated([("f", text)], chart="gpu")
    except AgentError:
        return
    loads(migration)


@given(st.lists(resources(), min_size=1, max_size=3))
def test_each_file_alone_or_all_in_one_say_the_same(objects: list[Json]) -> None:
    apart = migrated(given_as(objects))
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    assert migrated([("list", yaml.safe_dump(json.loads(whole)))]).values == apart.values
