"""Rules in a file: everything that is wrong with them, and where their values come from."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from intel_agent.cli import main
from intel_agent.config import labels, parse, show, warnings
from intel_agent.errors import ConfigError
from intel_agent.rules import Match, Rule


def said(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return caught.value.problems


ALL_AT_ONCE = """\
devices:
  gpu:
    rules:
      - match: {pciAddress: 3B:00.0, deviceId: 0x56c0, resource: i915}
        shares: 4
      - match: {discrete: "false", model: "", name: []}
        hide: true
        shares: 3
        preferLast: false
      - {matches: {}, model: x}
      - match: {driver: [xe, 5]}
        resource: gpu.intel.com/flex
      - match: {}
      - {match: {}, resource: monitoring, reserve: true, preferLast: true}
      - match: {attributes: {a: 1}, deviceId: ""}
        resource: a-name-of-sixty-three-letters-for-which-there-is-no-place-here
      - {match: {pciAddress: [card0, "0000:3B:*"]}, shares: 0}
  sgx:
    rules: [{match: {numaNode: -1}, shares: 3}]
nodeOverrides:
  - selector: {}
    devices:
      gpu: {rules: [{match: {pciAddress: "3b:00.0"}, hide: true, resource: x}]}
      sgx: {rules: [{match: {}, shares: 3}]}
      dsa: {rules: [{match: {}, resource: "a-name-of-sixty-three-letters-for-which-there-is-no-place-here"}]}
"""
ACTIONS = "shares, resource, hide, reserve, preferLast and reasons"
KEYS = "match, shares, resource, hide, reserve, preferLast, reasons"
ADDRESS = "an address as the kernel writes it, like 0000:3b:00.0, or a pattern of one; did you mean 0000:3b"
WORD = "a text, not empty"
TEXT = f"{WORD}; or a list, each item {WORD}"
ROOM = "so that the path of its socket in kubelet.devicePluginDirectory has at most 107 bytes"


def test_everything_is_said_at_once() -> None:
    gpu, override = "devices.gpu.rules", "nodeOverrides[0].devices"
    assert said(ALL_AT_ONCE) == [
        f'f:4: {gpu}[0].match.deviceId: 22208 is a number: quote the id, for example "0x56c0"',
        f'f:4: {gpu}[0].match.pciAddress: found "3B:00.0"; allowed {ADDRESS}:00.0?',
        f'f:4: {gpu}[0].match.resource: found "i915"; allowed a full name with its domain, or a pattern of one',
        f'f:6: {gpu}[1].match.discrete: found "false"; allowed true or false',
        f'f:6: {gpu}[1].match.model: found ""; allowed {TEXT}',
        f"f:6: {gpu}[1].match.name: found 0 items; allowed at least 1",
        f"f:8: {gpu}[1].shares: cannot be given together with hide: what is hidden has none of it",
        f"f:10: {gpu}[2]: found no match; allowed a section",
        f"f:10: {gpu}[2].matches: found an unknown key; allowed {KEYS}; did you mean match?",
        f"f:10: {gpu}[2].model: found an unknown key; allowed {KEYS}; did you mean match.model?",
        f'f:11: {gpu}[3].match.driver[1]: found 5; allowed {WORD}; write it in quotes: "5"',
        f'f:12: {gpu}[3].resource: found "gpu.intel.com/flex"; allowed the name of a resource without its domain',
        (f"f:13: {gpu}[4]: found no action; allowed {ACTIONS}, or hide: false for devices that stay as they are"),
        f"f:14: {gpu}[5].preferLast: cannot be given together with reserve: no container gets what is reserved",
        f'f:14: {gpu}[5].resource: found "monitoring", which means something else here; allowed any other name',
        f'f:15: {gpu}[6].match.attributes.a: found 1; allowed {TEXT}; write it in quotes: "1"',
        f"f:15: {gpu}[6].match.deviceId: found no id; name one, or leave the key out",
        f"f:16: {gpu}[6].resource: found a name of 62 letters; allowed 55, {ROOM}",
        (
            f'f:17: {gpu}[7].match.pciAddress[0]: found "card0"; '
            "allowed a PCI address like 0000:3b:00.0, or a pattern of one"
        ),
        f"f:17: {gpu}[7].shares: found 0; allowed a whole number from 1 to 10000",
        (
            "f:19: devices.sgx.rules[0].match.numaNode: found -1; "
            "allowed a whole number from 0; or a list, each item a whole number from 0"
        ),
        "f:19: devices.sgx.rules[0].shares: found 3; devices of this kind are not shared: leave it out",
        f'f:23: {override}.gpu.rules[0].match.pciAddress: found "3b:00.0"; allowed {ADDRESS}:00.0?',
        f"f:23: {override}.gpu.rules[0].resource: cannot be given together with hide: what is hidden has none of it",
        f"f:24: {override}.sgx.rules[0].shares: found 3; devices of this kind are not shared: leave it out",
        f"f:25: {override}.dsa.rules[0].resource: found a name of 62 letters; allowed 55, {ROOM}",
    ]


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("0000:3B:00.0", "; did you mean 0000:3b:00.0?"),
        ("0000:3B:*", "; did you mean 0000:3b:*?"),
        ("3b:00.0", "; did you mean 0000:3b:00.0?"),
        ("3b:00", ""),
        ("0000:3b:00.9", ""),
    ],
)
def test_an_address_is_compared_as_the_kernel_writes_it(address: str, meant: str) -> None:
    allowed = "an address as the kernel writes it, like 0000:3b:00.0, or a pattern of one"
    assert said(f'devices: {{gpu: {{rules: [{{match: {{pciAddress: "{address}"}}, hide: true}}]}}}}') == [
        f'f:1: devices.gpu.rules[0].match.pciAddress: found "{address}"; allowed {allowed}{meant}'
    ]


@pytest.mark.parametrize(
    "rule",
    [
        "{match: {}, hide: false}",
        "{match: {}, hide: false, shares: 2}",
        "{match: {}, hide: true, reserve: false, preferLast: false}",
        "{match: {}, reserve: true, resource: x, shares: 2}",
        "{match: {pciAddress: 0001:3b:00.0}, preferLast: true}",
        "{match: {}, reserve: true, reasons: {hung: fault, off-bus: warning, hot: ignore}}",
        '{match: {pciAddress: ["0000:3b:0?.0", "10000:e1:00.0"], resource: "*"}, preferLast: true}',
    ],
)
def test_what_makes_sense_is_allowed(rule: str) -> None:
    assert len(parse(f"devices: {{gpu: {{rules: [{rule}]}}}}", "f").config.devices.gpu.rules) == 1


def test_a_longer_directory_leaves_less_room_for_names() -> None:
    text = "kubelet: {{devicePluginDirectory: /{}}}\ndevices: {{gpu: {{rules: [{{match: {{}}, resource: {}}}]}}}}\n"
    parse(text.format("x" * 60, "y" * 25), "f")
    assert said(text.format("x" * 60, "y" * 26)) == [
        f"f:2: devices.gpu.rules[0].resource: found a name of 26 letters; allowed 25, {ROOM}"
    ]


OVERRIDES = """\
devices:
  gpu:
    rules:
      - match: {driver: xe}
        hide: true
nodeOverrides:
  - selector: {matchLabels: {type: flex}}
    devices:
      gpu:
        rules:
          - match: {model: "*Flex*"}
            shares: 4
          - match: {}
            preferLast: true
"""


def test_an_override_replaces_the_rules_as_a_whole() -> None:
    loaded = parse(OVERRIDES, "f")
    flex = loaded.on_node(labels("type=flex"))

    assert [each.shares for each in flex.config.devices.gpu.rules[:1]] == [4]
    assert len(flex.config.devices.gpu.rules) == 2
    assert loaded.on_node({}).config.devices == loaded.config.devices
    assert parse(show(loaded), "g").config == loaded.config


def test_each_part_of_a_rule_says_where_it_comes_from() -> None:
    loaded = parse(OVERRIDES, "f")
    flex = loaded.on_node(labels("type=flex"))

    assert loaded.origin("devices.gpu.rules[0].match.driver") == "f:4"
    assert flex.origin("devices.gpu.rules[0].match.model") == "f:11 (nodeOverrides[0])"
    assert flex.origin("devices.gpu.rules[1].preferLast") == "f:14 (nodeOverrides[0])"
    assert '          model: "*Flex*"  # f:11 (nodeOverrides[0])\n        shares: 4  # f:12 (nodeOverrides[0])\n' in (
        show(flex)
    )
    assert json.loads(show(flex, "json"))["origins"]["devices.gpu.rules"] == "f:10 (nodeOverrides[0])"


SHADOWED = """\
devices:
  gpu:
    rules:
      - {match: {driver: "x*"}, hide: true}
      - {match: {driver: xe, numaNode: 1}, shares: 2}
      - {match: {driver: i915}, shares: 2}
      - {match: {}, hide: false}
      - {match: {resource: "*/monitoring"}, hide: true}
      - {match: {name: card0}, hide: true}
  sgx: {rules: [{match: {}, hide: true}]}
nodeOverrides:
  - selector: {}
    devices:
      dsa: {rules: [{match: {}, hide: true}, {match: {}, hide: false}]}
      gpu: {sharedDevNum: 2}
"""


def test_a_rule_that_can_never_decide_is_a_warning() -> None:
    gpu, dsa = "devices.gpu.rules", "nodeOverrides[0].devices.dsa.rules"
    reason = "comes first and matches all that it matches"
    assert list(warnings(parse(SHADOWED, "f"))) == [
        f"f:5: warning: {gpu}[1]: never decides: {gpu}[0] (f:4) {reason}",
        f"f:9: warning: {gpu}[5]: never decides: {gpu}[3] (f:7) {reason}",
        f"f:14: warning: {dsa}[1]: never decides: {dsa}[0] (f:14) {reason}",
    ]


def test_the_command_line_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(SHADOWED)
    assert main(["config", "check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"intel-agent: {file}:5: warning: devices.gpu.rules[1]: never decides: ")
    assert len(err.splitlines()) == 3


PAGE = Path(__file__).parents[3] / "docs" / "rules.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_documentation_are_right(example: str) -> None:
    assert list(warnings(parse(example, "docs/rules.md"))) == []


def test_the_documentation_names_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)", text, re.MULTILINE))
    assert named == {each.encode_name for kind in (Rule, Match) for each in msgspec.structs.fields(kind)} - {"match"}
