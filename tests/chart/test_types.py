"""The chart's files against the types that they are made of. These need no Helm."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator

from intel_agent.config import Config
from intel_agent.config.schema import Json, Schema, entries, items
from intel_agent.config.sections import Http

from .apis import complaints

CHARTS = Path(__file__).parents[2] / "charts"
CHART = CHARTS / "intel-agent"
DOCS = CHARTS.parent / "docs"
VALUES: dict[str, Json] = yaml.safe_load((CHART / "values.yaml").read_text())


def module(name: str) -> ModuleType:
    """Return a module of the directory of charts, which is no package."""
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, CHARTS / f"{name}.py")
        assert specification is not None
        assert specification.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def schema() -> Schema:
    module("values")
    made: Schema = module("generate").schema()
    return made


def own() -> dict[str, Json]:
    """Return those of the chart's values that are not in the agent's file."""
    names = {each.encode_name for each in msgspec.structs.fields(module("values").Values)}
    return {key: value for key, value in VALUES.items() if key in names}


def leaves(part: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    for key, each in entries(part.get("properties")).items():
        yield f"{path}{key}", entries(each)
        yield from leaves(entries(each), f"{path}{key}.")


def test_generated_files_are_current() -> None:
    module("values")
    for path, content in module("generate").made().items():
        assert path.read_text() == content, f"run `python charts/generate.py --write`: {path} is old"


def test_the_schemas_file_has_references_in_place_of_what_is_there_several_times(schema: Schema) -> None:
    file: dict[str, Json] = json.loads((CHART / "values.schema.json").read_text())
    definitions = entries(file.pop("definitions"))

    assert _spelled_out(file, definitions) == schema
    large = [text for part in (file, definitions) for text in _parts(part) if len(text) >= 300]
    assert len(large) == len(set(large))


def _spelled_out(value: Json, definitions: Schema) -> Json:
    match value:
        case {"$ref": str(reference)}:
            return _spelled_out(definitions[reference.removeprefix("#/definitions/")], definitions)
        case dict():
            return {key: _spelled_out(each, definitions) for key, each in value.items()}
        case list():
            return [_spelled_out(each, definitions) for each in value]
        case _:
            return value


def _parts(value: Json) -> Iterator[str]:
    """Yield every section and list in the schema as text."""
    if isinstance(value, dict) and "type" in value:
        yield json.dumps(value)
    for each in value.values() if isinstance(value, dict) else items(value):
        yield from _parts(each)


def test_the_values_file_says_the_defaults() -> None:
    values = module("values").Values
    assert msgspec.convert(own(), values) == values()
    known = {each.encode_name for each in msgspec.structs.fields(Config)}
    agents = msgspec.convert({key: value for key, value in VALUES.items() if key in known}, Config)
    # What a cluster wants otherwise than a process that somebody starts by hand.
    assert agents == Config(http=Http(host="pod"))


def test_the_values_file_shows_every_value_of_the_chart(schema: Schema) -> None:
    assert set(VALUES) == set(entries(schema["properties"])) - {"global"}
    values = module("values").Values
    assert set(own()) == {each.encode_name for each in msgspec.structs.fields(values)}


def test_the_schema_is_one_and_takes_the_defaults(schema: Schema) -> None:
    Draft7Validator.check_schema(schema)
    assert complaints(schema, VALUES) == []


def test_every_value_is_described(schema: Schema) -> None:
    assert [path for path, part in leaves(schema) if not part.get("description") and "properties" not in part] == []


def test_the_template_knows_which_values_are_not_the_agents() -> None:
    (line,) = re.findall(r"\$own := list ([^}]*)\}", (CHART / "templates" / "_helpers.tpl").read_text())
    assert re.findall(r'"(\w+)"', line) == sorted({*own(), "global"})


def examples() -> Iterator[tuple[str, str]]:
    """Yield the values files that people read, with their place: blocks of the documentation, comments of the chart."""
    for page in (*DOCS.glob("install/*.md"), DOCS / "configuration.md", DOCS.parent / "README.md"):
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
            if "limits:" not in block:  # what a pod says
                yield page.name, block
    for block in re.findall(r"(?:^#   .*\n)+", (CHART / "values.yaml").read_text(), re.MULTILINE):
        yield "values.yaml", re.sub(r"^#   ", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize("text", [pytest.param(text, id=place) for place, text in examples()])
def test_examples_are_values(schema: Schema, text: str) -> None:
    sections: dict[str, Json] = {key: _open(each) for key, each in entries(schema["properties"]).items()}
    part: dict[str, Json] = {**schema, "required": [], "properties": sections}
    assert complaints(part, yaml.safe_load(text)) == []


def _open(part: Json) -> dict[str, Json]:
    """Return the section's schema without what has to be there: Helm adds the defaults."""
    return {key: each for key, each in entries(part).items() if key != "required"}


def test_templates_know_no_kind_of_device() -> None:
    templates = {each.name: each.read_text() for each in (CHART / "templates").rglob("*") if each.is_file()}
    # What a pod may not have without need can be decided nowhere else: the host's network, and xpumd's socket.
    decision = re.compile(r'\{\{- define "intel-agent.(?:hostNetwork|xpumd)" -\}\}.*?\n\n', re.DOTALL)
    templates["_helpers.tpl"], decisions = decision.subn("", templates["_helpers.tpl"])
    assert decisions == 2
    assert [name for name, text in templates.items() if re.search(r"\.(devices|log|health)\b", text)] == []


def test_questions_are_about_values_there_are(schema: Schema) -> None:
    known = dict(leaves(schema))
    questions: list[Json] = []
    for each in items(yaml.safe_load((CHART / "questions.yaml").read_text())["questions"]):
        questions += [each, *items(entries(each).get("subquestions"))]
    for question in map(entries, questions):
        part = known[str(question["variable"])]
        assert complaints(part, question["default"]) == []
        assert question["default"] == part.get("default")
        assert set(items(question.get("options"))) == set(items(part.get("enum")))
        assert (question.get("min"), question.get("max")) == (part.get("minimum"), part.get("maximum"))


def test_rules_give_each_kind_its_label() -> None:
    rules = yaml.safe_load((CHART / "files" / "node-feature-rules.yaml").read_text())
    kinds = ["dlb", "dsa", "iaa", "fpga-arria10", "fpga-stratix10", "gaudi", "gpu", "npu", "qat", "sgx"]
    prefix = "intel.feature.node.kubernetes.io"
    labels = {each["name"]: each.get("labels", {}) for each in rules}
    assert {kind: labels[f"intel.{kind}"] for kind in kinds} == {kind: {f"{prefix}/{kind}": "true"} for kind in kinds}
    others = {name for name in labels if name.removeprefix("intel.") not in kinds}
    assert {name for name in others if not name.startswith("intel.gpu.")} == set()
    assert rules[-1]["extendedResources"] == {"sgx.intel.com/epc": "@cpu.security.sgx.epc"}
