"""Everything that is wrong with a file is said at once, each with its place, what was found and what is allowed."""

import pytest

from intel_agent.config import parse
from intel_agent.config.check import Check
from intel_agent.config.document import read
from intel_agent.config.schema import Json, Schema, words
from intel_agent.errors import ConfigError


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return caught.value.problems


ALL_AT_ONCE = """\
log: {level: inf, formt: json}
rescanSeconds: 3
kubelet:
  devicePluginDirectory: relative/path
health: {rescanSeconds: 0, rescanSeconds: 5}
devices:
  gpu:
    enabled: yes
    shared_dev_num: 2
    bypathMode: most
  sgx: {enclaveLimit: -1, provisionLimit: "3"}
  dsa: [1]
  iaa: {sharedDevNum: *x, 3: 4}
cdi:
"""


def test_everything_is_said_at_once() -> None:
    assert problems(ALL_AT_ONCE) == [
        "f:1: log.formt: found an unknown key; allowed level, format; did you mean format?",
        'f:1: log.level: found "inf"; allowed one of debug, error, info, warning; did you mean info?',
        (
            "f:2: rescanSeconds: found an unknown key; allowed log, kubelet, cdi, deviceInfo, health, devices, "
            "nodeOverrides, startupTaint, kubernetesEvents, nodeCondition, faultTaint, eviction, http, simulation; "
            "did you mean health.rescanSeconds?"
        ),
        'f:4: kubelet.devicePluginDirectory: found "relative/path"; allowed an absolute path',
        "f:5: health.rescanSeconds: found 0; allowed a number from 1 to 3600",
        "f:5: health.rescanSeconds: found twice, first in line 5; allowed once",
        'f:8: devices.gpu.enabled: found "yes"; allowed true or false; did you mean true?',
        (
            "f:9: devices.gpu.shared_dev_num: found an unknown key; allowed enabled, cdi, rules, reasons, "
            "sharedDevNum, preferredAllocationPolicy, enableMonitoring, monitoringMode, allowIDs, denyIDs, bypathMode, "
            "temperatureLimit; did you mean sharedDevNum?"
        ),
        'f:10: devices.gpu.bypathMode: found "most"; allowed one of all, none, single',
        "f:11: devices.sgx.enclaveLimit: found -1; allowed a whole number from 0 to 10000",
        'f:11: devices.sgx.provisionLimit: found "3"; allowed a whole number from 0 to 10000',
        "f:12: devices.dsa: found a list; allowed a section",
        'f:13: devices.iaa: found 3 as a key; allowed a text; write it in quotes: "3"',
        (
            "f:13: devices.iaa.sharedDevNum: found the alias *x; allowed a whole number from 1 to 10000: "
            "write the value out"
        ),
        "f:14: cdi: found nothing; allowed a section; write {} or leave the key out",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "f:1: found 5; allowed a section"),
        ("*x : 1", "f:1: found the alias *x as a key; allowed a text"),
        ("!!str a: 1", "f:1: found the tag tag:yaml.org,2002:str as a key; allowed a text"),
        ("[a]: 1", "f:1: found a list as a key; allowed a text"),
        (r'"a\nb": 1', r'f:1: "a\nb": found an unknown key; allowed log'),
        (
            "zzz: 1",
            "f:1: zzz: found an unknown key; allowed log, kubelet, cdi, deviceInfo, health, devices, nodeOverrides",
        ),
        ("devices: {gpu: {enabled: off}}", "did you mean false?"),
        ("health: {rescanSeconds: .nan}", "found .nan; allowed a number from 1 to 3600"),
        ("health: {rescanSeconds: .inf}", "found .inf; allowed a number from 1 to 3600"),
        ("health: {rescanSeconds: true}", "found true; allowed a number from 1 to 3600"),
        ("devices: {gpu: {sharedDevNum: 2.0}}", "found 2.0; allowed a whole number from 1 to 10000"),
        ("log: {level: false}", "found false; allowed one of debug, error, info, warning"),
        ("log: {level: {}}", "found a section; allowed one of debug, error, info, warning"),
        ("cdi: {directory: 5}", 'found 5; allowed an absolute path; write it in quotes: "5"'),
        ("cdi: {directory: !!str /x}", "found the tag tag:yaml.org,2002:str; allowed an absolute path"),
        (f"cdi: {{directory: {'x' * 80}}}", f'found "{"x" * 57}..."; allowed'),
    ],
)
def test_one_thing_wrong_is_one_line(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem


def test_an_integer_where_an_id_belongs_is_told_to_be_quoted() -> None:
    (problem,) = problems("devices:\n  gpu:\n    enabled: true\n    allowIDs: [0x56c0]\n")
    assert problem.startswith("f:4: devices.gpu.allowIDs")
    assert "quote" in problem
    assert '"0x56c0"' in problem


def test_a_section_judges_its_sound_values_even_when_others_are_wrong() -> None:
    text = "devices:\n  gpu:\n    enabled: 3\n    allowIDs: ['0x1']\n    denyIDs: ['0x2']\n"
    assert [each.split(":")[1] for each in problems(text)] == ["3", "4", "5"]


@pytest.mark.parametrize(("key", "longest"), [("devicePluginDirectory", 69), ("podResourcesSocket", 107)], ids=str)
def test_paths_of_sockets_fit_into_an_address(key: str, longest: int) -> None:
    parse(f"kubelet: {{{key}: /{'x' * (longest - 1)}}}", "f")
    (problem,) = problems(f"kubelet: {{{key}: /{'ö' * (longest // 2)}x}}")
    assert f"f:1: kubelet.{key}: found a path of {longest + 1} bytes; allowed {longest}" in problem


LIST: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}
MAP: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
POOL: Schema = {
    "type": "object",
    "properties": {"resource": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["resource"],
}


@pytest.mark.parametrize(
    ("schema", "text", "data", "said"),
    [
        pytest.param(LIST, "[a, b]", ["a", "b"], [], id="list"),
        pytest.param(LIST, "[]", [], ["found 0 items; allowed 1 to 2"], id="too short"),
        pytest.param(LIST, "[a, [], 5]", None, [
            "found 3 items; allowed 1 to 2", "found a list; allowed a text",
            'found 5; allowed a text; write it in quotes: "5"',
        ], id="items"),
        pytest.param(MAP, "{a: 1, b: 2}", {"a": 1, "b": 2}, [], id="map"),
        pytest.param(MAP, "{a: -1}", {"a": -1}, ["found -1; allowed a whole number from 0"], id="map of what"),
        pytest.param(POOL, "{resource: abc}", {"resource": "abc"}, [], id="required and there"),
        pytest.param(POOL, "{}", {}, ["found no resource; allowed a text that matches ^[a-z]+$"], id="required"),
        pytest.param({"type": "null"}, "~", None, [], id="null"),
        pytest.param({"type": "number", "maximum": 3}, "4", 4, ["found 4; allowed a number up to 3"], id="maximum"),
        pytest.param({"anyOf": [LIST, {"type": "string"}]}, "5", None, [
            'found 5; allowed a list, each item a text; or a text; write it in quotes: "5"',
        ], id="none of several"),
        pytest.param({}, "[1]", [1], [], id="anything"),
    ],
)  # fmt: skip
def test_shapes_that_later_sections_may_have(schema: Schema, text: str, data: Json, said: list[str]) -> None:
    check = Check()
    node = read(text)
    assert node is not None
    result = check.value(node, schema, "x")
    assert [problem.text for problem in check.problems] == said
    assert data is None or result == data


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"anyOf": [LIST, {"type": "string"}]}, "a list, each item a text; or a text"),
        ({"type": "array"}, "a list"),
        ({}, "anything"),
    ],
)
def test_schemas_in_words(schema: Schema, said: str) -> None:
    assert words(schema) == said


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        pytest.param(
            "{key: node.kubernetes.io/unreachable}",
            'faultTaint.key: found "node.kubernetes.io/unreachable"; '
            "allowed a key of a domain that is not one of Kubernetes",
            id="a taint of Kubernetes",
        ),
        pytest.param(
            "{enabled: true, key: intel.com/agent-not-ready}",
            'faultTaint.key: found "intel.com/agent-not-ready", which startupTaint takes away; allowed another key',
            id="the other taint",
        ),
        pytest.param(
            "{effect: NoRun}",
            'faultTaint.effect: found "NoRun"; allowed one of NoExecute, NoSchedule, PreferNoSchedule',
            id="effect",
        ),
    ],
)
def test_a_taint_that_is_not_ours_is_refused(section: str, problem: str) -> None:
    (found,) = problems(f"startupTaint: {{enabled: true}}\nfaultTaint: {section}")
    assert found.startswith(f"f:2: {problem}")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        pytest.param(
            "{reasons: []}", "eviction.reasons: found no reason; allowed one or more: without any,", id="none"
        ),
        pytest.param(
            "{reasons: [unreadable]}", 'eviction.reasons[0]: found "unreadable"; allowed one of', id="unknown"
        ),
        pytest.param("{reasons: [held]}", 'eviction.reasons[0]: found "held"; allowed one of', id="decided"),
        pytest.param(
            "{namespaces: [Train]}",
            'eviction.namespaces[0]: found "Train"; allowed the name of a namespace',
            id="namespace",
        ),
        pytest.param("{perMinute: 0}", "eviction.perMinute: found 0; allowed a whole number from 1 to 100", id="rate"),
        pytest.param("{dryrun: true}", "eviction.dryrun: found an unknown key;", id="key"),
    ],
)
def test_nobody_is_evicted_by_mistake(section: str, problem: str) -> None:
    (found,) = problems(f"eviction: {section}")
    assert found.startswith(f"f:1: {problem}")
