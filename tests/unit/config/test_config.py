"""The configuration as a whole: defaults, round trips, mutations, what is shown and documented."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.sgx import Sgx
from intel_agent.config import Config, Devices, Health, Loaded, Log, changed, load, parse, reference, schema, show
from intel_agent.config.schema import Json, Schema, choices, entries, items, words
from intel_agent.config.sections import Machine
from intel_agent.errors import ConfigError
from intel_agent.simulation.tree import names

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def leaves(part: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every key path that has a value, and its schema."""
    for key, each in entries(part.get("properties")).items():
        inner = entries(each)
        if "properties" in inner:
            yield from leaves(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", inner


LEAVES = dict(leaves(schema()))


RULES: list[Json] = [
    {"match": {}, "hide": True},
    {"match": {"pciAddress": "0000:3b:*", "numaNode": [0, 1]}, "reserve": True},
    {"match": {"deviceId": "0x56c0", "discrete": False, "attributes": {"a": ["b", "c: d"]}}, "preferLast": True},
    {"match": {"model": ["Arc A*", "*"], "name": "card?"}, "resource": "a.B_c-1"},
]


def sound(path: str, part: Schema) -> st.SearchStrategy[Json]:
    """Return values that the schema and the section allow."""
    if "enum" in part:
        return st.sampled_from(items(part["enum"]))
    low, high = part.get("minimum"), part.get("maximum")
    match part.get("type"):
        case "boolean":
            return st.booleans()
        case "integer" | "number" as kind if isinstance(low, int | float) and isinstance(high, int | float):
            return st.integers(int(low), int(high)) if kind == "integer" else st.floats(low, high)
        case "string":
            label = r"[a-z]{1,9}(\.[a-z]{1,9}/[A-Z0-9]{1,9})?"
            if path == "faultTaint.key":  # never that of startupTaint
                label = r"broken\.[a-z]{1,9}/[A-Z0-9]{1,9}"
            file = r"/[ -~\x85\xa0-\ud7ff]{0,18}"
            forms = {
                "the key of a label": label,
                "an address": r"([0-9A-Za-z.:-]{1,20})?",
                "a domain": r"[a-z]{1,9}(\.[a-z0-9]{1,9}){0,2}",
            }
            return st.from_regex(forms.get(words(part), file), fullmatch=True)
        case "object":
            keys = st.sampled_from(choices(entries(part["propertyNames"])))
            return st.dictionaries(keys, sound(path, entries(part["additionalProperties"])), max_size=3)
        case _:
            return lists(path, part)


def lists(path: str, part: Schema) -> st.SearchStrategy[Json]:
    """Return lists of what a list may have, or of ids."""
    branches = [entries(each) for each in items(part.get("anyOf"))]
    if words_ := [each for branch in branches for each in items(entries(branch.get("items")).get("enum"))]:
        return st.lists(st.sampled_from(words_), min_size=1, max_size=3).map(list[Json])
    if path.endswith(".rules"):
        # Pools say how network functions are called.
        rules = [each for each in RULES if "resource" not in entries(each)] if ".nic." in path else RULES
        return st.lists(st.sampled_from(rules).map(deepcopy), max_size=3).map(list[Json])
    item = entries(part.get("items"))
    if allowed := [*choices(item), *items(item.get("enum"))]:
        return st.lists(st.sampled_from(allowed), min_size=path == "eviction.reasons", max_size=3).map(list[Json])
    ids = st.from_regex(r"0x[0-9a-f]{4}", fullmatch=True)
    return st.lists(ids, max_size=3 if path.endswith("allowIDs") else 0).map(list[Json])


def put(data: dict[str, Json], path: str, value: Json) -> None:
    key, _, rest = path.partition(".")
    if rest:
        data[key] = inner = entries(data.get(key))
        put(inner, rest, value)
    else:
        data[key] = value


def nested(flat: dict[str, Json]) -> dict[str, Json]:
    data: dict[str, Json] = {}
    for path, value in flat.items():
        put(data, path, value)
    return data


CONFIGS = st.fixed_dictionaries({}, optional={path: sound(path, part) for path, part in LEAVES.items()}).map(nested)


def test_without_a_file_everything_is_a_default() -> None:
    assert load(None) == Loaded(Config(), None)
    assert load(None).origin("log.level") == "default"


def test_an_empty_file_is_one_without_settings() -> None:
    assert parse("# nothing yet\n", "f").config == Config()


def test_defaults_are_allowed() -> None:
    assert parse(show(Loaded()), "f").config == Config()


@given(CONFIGS)
def test_any_configuration_survives_being_shown_and_read(data: dict[str, Json]) -> None:
    loaded = parse(json.dumps(data), "f")
    assert loaded.config == msgspec.convert(data, Config)
    assert parse(show(loaded), "g").config == loaded.config
    assert entries(json.loads(show(loaded, "json")))["config"] == json.loads(msgspec.json.encode(loaded.config))


@given(CONFIGS)
def test_the_reader_agrees_with_a_common_yaml_library(data: dict[str, Json]) -> None:
    assert parse(yaml.safe_dump(data), "f").config == parse(json.dumps(data), "f").config


@given(CONFIGS, st.data())
def test_any_single_mutation_is_refused_with_its_key(data: dict[str, Json], draw: st.DataObject) -> None:
    path = draw.draw(st.sampled_from(sorted(LEAVES)))
    kinds: list[Json] = [None, {"a": 1}, "\u2603", -1, 1e9, "yes, please", [[]]]
    value = draw.draw(st.sampled_from(kinds))
    if draw.draw(st.booleans()):
        path += "x"
    put(data, path, value)
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(data), "f")
    assert any(each.startswith((f"f:1: {path}:", f"f:1: {path}[", f"f:1: {path}.")) for each in caught.value.problems)


@given(st.text(alphabet="ab: -[]{}\n\t'\"#&*!|>%@,0x.logdevicsgpu", max_size=60))
def test_any_text_is_a_configuration_or_an_expected_error(text: str) -> None:
    assert all(each.startswith("f:") for each in said(text))


def said(text: str) -> list[str]:
    try:
        parse(text, "f")
    except ConfigError as error:
        return error.problems
    return []


def test_enabled_sections_are_the_backends_in_a_fixed_order() -> None:
    # Without pools there are no network functions to look for.
    names = [each.encode_name for each in msgspec.structs.fields(Devices) if each.encode_name != "nic"]
    assert [each.name for each in Devices().backends] == names
    without = Devices(sgx=Sgx(enabled=False)).backends
    assert [each.name for each in without] == [each for each in names if each != "sgx"]
    assert without[0] == Gpu()


def test_sections_are_called_what_their_backends_are_called() -> None:
    sections = {each.encode_name: each.type for each in msgspec.structs.fields(Devices)}
    assert sections == {each.name: each for each in sections.values() if issubclass(each, Backend)}


def test_every_packaged_machine_can_be_simulated() -> None:
    assert get_args(Machine) == ("", *names())


def test_a_file_says_where_values_come_from(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("\ufeffdevices:\n  gpu:\n    sharedDevNum: 4\r\n", encoding="utf-8")
    loaded = load(file)
    assert loaded.config == Config(devices=Devices(gpu=Gpu(shared_dev_num=4)))
    assert loaded.origin("devices.gpu.sharedDevNum") == f"{file}:3"
    assert f"    sharedDevNum: 4  # {file}:3\n    preferredAllocationPolicy: none  # default\n" in show(loaded)
    assert json.loads(show(loaded, "json"))["origins"]["devices.gpu.sharedDevNum"] == f"{file}:3"


def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    for version, level in (("..1", "debug"), ("..2", "error")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "agent.yaml").write_text(f"log: {{level: {level}}}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "agent.yaml").symlink_to("..data/agent.yaml")
    before = load(tmp_path / "agent.yaml").config
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    after = load(tmp_path / "agent.yaml").config
    assert (before.log.level, after.log.level) == ("debug", "error")
    assert changed(before, after) == ("log.level",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"a: 1\nb: \xff\n", ":2: found bytes that are no text; allowed UTF-8", id="not UTF-8"),
        pytest.param(b"#" * ((1 << 20) + 1), ": found more than 1048576 bytes; allowed 1048576", id="too large"),
        pytest.param(b"a: [\n", ":1: found no YAML", id="no YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "agent.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}{said}")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        load(tmp_path / "agent.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path)


def test_changes_are_key_paths() -> None:
    after = Config(
        log=Log(level="error"), health=Health(rescan_seconds=5), devices=Devices(gpu=Gpu(allow_ids=("0x1",)))
    )
    assert changed(Config(), Config()) == ()
    assert changed(Config(), after) == ("log.level", "health.rescanSeconds", "devices.gpu.allowIDs")


def test_the_schema_is_closed_described_and_without_references() -> None:
    def check(part: Schema, path: str) -> None:
        assert part["description"], path
        if "properties" in part:
            assert part["additionalProperties"] is False, path
            for key, each in entries(part["properties"]).items():
                check(entries(each), f"{path}.{key}")
        if "properties" in (item := entries(part.get("items"))):
            check(item, f"{path}[]")

    check(schema(), "")
    assert schema()["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "$ref" not in json.dumps(schema())
    assert "$defs" not in json.dumps(schema())


def test_the_documentation_is_current() -> None:
    assert reference().strip() in DOCS.read_text(encoding="utf-8"), (
        "put the output of `python -c 'from intel_agent import config; print(config.reference())'` there"
    )
