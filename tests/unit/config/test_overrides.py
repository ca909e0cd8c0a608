"""Overrides of a node: which ones mean it, what they change, and what is wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends.gpu import Gpu
from intel_agent.cli import main
from intel_agent.config import Config, Devices, NodeOverride, Selector, labels, matching, of_node, parse, schema, show
from intel_agent.config.overlay import overlaid
from intel_agent.config.schema import Json, entries, items, root
from intel_agent.config.sections import Value
from intel_agent.config.selector import Expression, Operator, satisfiable
from intel_agent.errors import ConfigError
from intel_agent.simulation.tree import names

KEYS = st.sampled_from(["type", "a.b/zone", "x"])
VALUES = st.sampled_from(["", "flex", "max", "1"])
LABELS = st.dictionaries(KEYS, VALUES)


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    operators: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")
    operator = draw(st.sampled_from(operators))
    values = draw(st.lists(VALUES, min_size=1, max_size=2)) if operator in {"In", "NotIn"} else []
    return Expression(key=draw(KEYS), operator=operator, values=tuple(values))


SELECTORS = st.builds(
    Selector,
    match_labels=st.dictionaries(KEYS, VALUES, max_size=2),
    match_expressions=st.lists(expressions(), max_size=2).map(tuple),
)

KEYS_OF_SECTIONS: dict[str, dict[str, st.SearchStrategy[Value]]] = {
    "gpu": {"sharedDevNum": st.integers(1, 9), "bypathMode": st.sampled_from(["single", "none", "all"])},
    "sgx": {"enabled": st.booleans(), "enclaveLimit": st.integers(0, 9)},
}


@st.composite
def parts(draw: st.DrawFn) -> dict[str, dict[str, Value]]:
    return {
        section: {key: draw(values) for key, values in keys.items() if draw(st.booleans())}
        for section, keys in KEYS_OF_SECTIONS.items()
        if draw(st.booleans())
    }


PARTS = parts()
DEVICES = PARTS.map(lambda part: overlaid(Devices(), [part]))


def requirement(each: Expression, node: Mapping[str, str]) -> bool:
    """Judge as k8s.io/apimachinery/pkg/labels does: NotIn and DoesNotExist also mean nodes without the label."""
    there = each.key in node
    return {
        "In": there and node.get(each.key) in each.values,
        "NotIn": not there or node.get(each.key) not in each.values,
        "Exists": there,
        "DoesNotExist": not there,
    }[each.operator]


@given(SELECTORS, LABELS)
def test_a_selector_means_what_it_means_in_kubernetes(selector: Selector, node: dict[str, str]) -> None:
    named = all(key in node and node[key] == value for key, value in selector.match_labels.items())
    meant = named and all(requirement(each, node) for each in selector.match_expressions)
    assert selector.matches(node) == meant


@given(LABELS)
def test_an_empty_selector_means_every_node(node: dict[str, str]) -> None:
    assert Selector().matches(node)


@given(st.lists(SELECTORS, max_size=3), LABELS)
def test_selectors_that_no_node_fulfils_together_have_none(selectors: list[Selector], node: dict[str, str]) -> None:
    if all(each.matches(node) for each in selectors):
        assert satisfiable(selectors)


@given(SELECTORS, SELECTORS)
def test_selectors_that_can_be_fulfilled_have_a_node(first: Selector, second: Selector) -> None:
    values = [None, "", "flex", "max", "1", "another"]
    nodes = (
        {key: value for key, value in zip(("type", "a.b/zone", "x"), each, strict=True) if value is not None}
        for each in ((one, two, three) for one in values for two in values for three in values)
    )
    assert satisfiable((first, second)) == any(first.matches(node) and second.matches(node) for node in nodes)


@given(DEVICES, st.lists(PARTS, max_size=4))
def test_overrides_are_laid_over_in_order_key_by_key(devices: Devices, over: list[dict[str, dict[str, Value]]]) -> None:
    expected: dict[str, dict[str, Value]] = json.loads(msgspec.json.encode(devices))
    for part in over:
        for section, keys in part.items():
            for key, value in keys.items():
                expected[section][key] = value
    assert json.loads(msgspec.json.encode(overlaid(devices, over))) == expected


@given(DEVICES, PARTS)
def test_an_override_laid_over_twice_changes_nothing_more(devices: Devices, part: dict[str, dict[str, Value]]) -> None:
    once = overlaid(devices, [part])
    assert overlaid(once, [part]) == once


@given(DEVICES, LABELS)
def test_empty_overrides_change_nothing(devices: Devices, node: dict[str, str]) -> None:
    empty = NodeOverride(selector=Selector(), devices={})
    without_keys = NodeOverride(selector=Selector(), devices={"gpu": {}})
    assert of_node(devices, [], node) == devices
    assert of_node(devices, [empty, without_keys], node) == devices


@given(DEVICES, st.lists(st.builds(NodeOverride, selector=SELECTORS, devices=PARTS), max_size=3), LABELS)
def test_only_overrides_that_mean_the_node_count(
    devices: Devices, overrides: list[NodeOverride], node: dict[str, str]
) -> None:
    meant = [each for each in overrides if each.selector.matches(node)]
    assert of_node(devices, overrides, node) == overlaid(devices, (each.devices for each in meant))
    assert [overrides[place] for place in matching(overrides, node)] == meant


@given(DEVICES, st.lists(st.builds(NodeOverride, selector=SELECTORS, devices=PARTS), max_size=3), LABELS)
def test_any_overrides_survive_being_shown_and_read(
    devices: Devices, overrides: list[NodeOverride], node: dict[str, str]
) -> None:
    config = Config(devices=devices, node_overrides=tuple(overrides))
    loaded = parse(msgspec.json.encode(config).decode(), "f")
    assert loaded.config == config
    assert parse(show(loaded), "g").config == config
    on_node = loaded.on_node(node)
    assert on_node.config.devices == of_node(devices, overrides, node)
    assert parse(show(on_node), "g").on_node(node).config == on_node.config


OVERRIDES = """\
devices: {gpu: {sharedDevNum: 2, allowIDs: ["0x56c0"]}}
nodeOverrides:
  - selector: {matchLabels: {type: flex}}
    devices:
      gpu:
        sharedDevNum: 4
  - selector: {matchExpressions: [{key: type, operator: NotIn, values: [max]}]}
    devices: {gpu: {sharedDevNum: 5, allowIDs: []}, sgx: {enabled: false}}
"""


def test_a_value_says_which_override_gave_it() -> None:
    loaded = parse(OVERRIDES, "f").on_node({"type": "flex"})
    assert loaded.config.devices.gpu == Gpu(shared_dev_num=5)
    assert loaded.origin("devices.gpu.sharedDevNum") == "f:8 (nodeOverrides[1])"
    assert loaded.origin("devices.gpu.cdi") == "default"
    assert parse(OVERRIDES, "f").on_node({"type": "max"}).origin("devices.gpu.sharedDevNum") == "f:1"
    assert json.loads(show(loaded, "json"))["origins"]["devices.sgx.enabled"] == "f:8 (nodeOverrides[1])"


def test_the_command_line_shows_the_configuration_of_a_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(OVERRIDES)
    assert main(["config", "show", "--config", str(file), "--node-labels", "type=flex,x="]) == 0
    assert f"    sharedDevNum: 5  # {file}:8 (nodeOverrides[1])\n" in capsys.readouterr().out
    assert main(["config", "show", "--config", str(file)]) == 0
    assert f"    sharedDevNum: 2  # {file}:1\n" in capsys.readouterr().out
    assert main(["config", "show", "--node-labels", "type:flex,a b=c,x=-"]) == 1
    assert capsys.readouterr().err == "".join(
        f"intel-agent: found '{part}'; allowed labels, each as KEY=VALUE\n" for part in ("type:flex", "a b=c", "x=-")
    )


def test_labels_are_read_from_a_text() -> None:
    assert labels("") == {}
    assert labels("type=flex,intel.com/gpu=,") == {"type": "flex", "intel.com/gpu": ""}


WRONG = """\
nodeOverrides:
  - selector: {matchLabels: {type: flex, a b: c, zone: 1}}
    devices:
      gpu: {sharedDevNum: 0, sharedDevNums: 4}
      gqu: {}
  - selector:
      matchExpressions:
        - {key: type, operator: in, values: [flex]}
        - {key: type, operator: In}
        - {key: type, operator: Exists, values: [flex]}
        - {operator: Exists}
    devices: {}
  - devices: {gpu: {allowIDs: [0x56c0]}}
  - selector: {}
    devices: {gpu: {denyIDs: [5]}}
startupTaint: {enabled: yes, key: a b}
simulation: {node: labtop}
"""
GPU_KEYS = (
    "enabled, cdi, rules, reasons, sharedDevNum, preferredAllocationPolicy, enableMonitoring, monitoringMode, "
    "allowIDs, denyIDs, bypathMode, temperatureLimit"
)
KINDS = ", ".join(each.encode_name for each in msgspec.structs.fields(Devices))


def test_everything_is_said_at_once() -> None:
    assert said(WRONG) == [
        'f:2: nodeOverrides[0].selector.matchLabels.a b: found "a b" as a key; allowed the key of a label',
        (
            "f:2: nodeOverrides[0].selector.matchLabels.zone: found 1; allowed the value of a label; "
            'write it in quotes: "1"'
        ),
        "f:4: nodeOverrides[0].devices.gpu.sharedDevNum: found 0; allowed a whole number from 1 to 10000",
        (
            f"f:4: nodeOverrides[0].devices.gpu.sharedDevNums: found an unknown key; allowed {GPU_KEYS}; "
            "did you mean sharedDevNum?"
        ),
        f"f:5: nodeOverrides[0].devices.gqu: found an unknown key; allowed {KINDS}; did you mean gpu?",
        (
            'f:8: nodeOverrides[1].selector.matchExpressions[0].operator: found "in"; '
            "allowed one of DoesNotExist, Exists, In, NotIn; did you mean In?"
        ),
        (
            "f:9: nodeOverrides[1].selector.matchExpressions[1].values: found nothing to compare with; "
            "In needs at least one value"
        ),
        (
            "f:10: nodeOverrides[1].selector.matchExpressions[2].values: cannot be given together with Exists: "
            "leave it out, or use In"
        ),
        "f:11: nodeOverrides[1].selector.matchExpressions[3]: found no key; allowed the key of a label",
        "f:13: nodeOverrides[2]: found no selector; allowed a section",
        'f:15: nodeOverrides[3].devices.gpu.denyIDs: 5 is a number: quote the id, for example "0x0005"',
        'f:16: startupTaint.enabled: found "yes"; allowed true or false; did you mean true?',
        'f:16: startupTaint.key: found "a b"; allowed the key of a label',
        (f'f:17: simulation.node: found "labtop"; allowed one of "", {", ".join(names())}; did you mean laptop?'),
    ]


def said(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return caught.value.problems


BOTH = "cannot be given together with allowIDs: keep one of them"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            'devices: {gpu: {allowIDs: ["0x0001"]}}\n'
            'nodeOverrides: [{selector: {}, devices: {gpu: {denyIDs: ["0x0002"]}}}]\n',
            [f"f:2: nodeOverrides[0].devices.gpu.denyIDs: {BOTH}"],
            id="with devices",
        ),
        pytest.param(
            'nodeOverrides:\n  - {selector: {matchLabels: {a: b}}, devices: {gpu: {allowIDs: ["0x0001"]}}}\n'
            '  - {selector: {matchLabels: {c: d}}, devices: {gpu: {denyIDs: ["0x0002"]}}}\n',
            [f"f:3: nodeOverrides[1].devices.gpu.denyIDs: {BOTH} (nodeOverrides[0] can mean the same node)"],
            id="with another override",
        ),
        pytest.param(
            'devices: {gpu: {allowIDs: ["0x0001"], denyIDs: ["0x0002"]}}\n'
            "nodeOverrides: [{selector: {}, devices: {}}]\n",
            [f"f:1: devices.gpu.denyIDs: {BOTH}"],
            id="what devices have by themselves is said once",
        ),
    ],
)
def test_sections_are_judged_with_overrides_laid_over_them(text: str, problems: list[str]) -> None:
    assert said(text) == problems


def test_overrides_that_no_node_can_both_have_are_no_conflict() -> None:
    parse(
        'nodeOverrides:\n  - {selector: {matchLabels: {a: b}}, devices: {gpu: {allowIDs: ["0x0001"]}}}\n'
        '  - {selector: {matchLabels: {a: c}}, devices: {gpu: {denyIDs: ["0x0002"]}}}\n',
        "f",
    )


def test_what_only_three_overrides_do_together_is_found_on_the_node() -> None:
    def override(key: str, value: tuple[str, ...]) -> NodeOverride:
        return NodeOverride(selector=Selector(), devices={"gpu": {key: value}})

    overrides = [override("allowIDs", ()), override("denyIDs", ("0x0002",)), override("allowIDs", ("0x0001",))]
    with pytest.raises(ConfigError) as caught:
        of_node(Devices(), overrides, {})
    assert caught.value.problems == [
        f"devices.gpu.denyIDs: {BOTH} (with nodeOverrides[0], nodeOverrides[1], nodeOverrides[2] on this node)"
    ]


def test_the_schema_of_an_override_is_that_of_devices_without_defaults() -> None:
    def stripped(part: Json) -> Json:
        if isinstance(part, dict):
            return {key: stripped(each) for key, each in part.items() if key != "default"}
        return [stripped(each) for each in part] if isinstance(part, list) else part

    properties = entries(root()["properties"])
    override = entries(entries(properties["nodeOverrides"])["items"])
    partial = entries(entries(override["properties"])["devices"])
    assert partial["properties"] == stripped(entries(properties["devices"])["properties"])
    assert partial["additionalProperties"] is False
    assert items(override["required"]) == ["selector", "devices"]
    assert '"default"' not in json.dumps(partial)
    assert schema()["properties"] == properties
