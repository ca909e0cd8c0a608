"""Device sections of one node: those of the file, with the overrides that mean the node laid over them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import msgspec
from msgspec import UNSET

from intel_agent.backends import Backend
from intel_agent.config.sections import LONGEST_SOCKET_PATH, Devices, NodeOverride, Value
from intel_agent.config.selector import Labels, satisfiable
from intel_agent.errors import ConfigError
from intel_agent.rules import Rule
from intel_agent.section import below
from intel_agent.section import problems as inner_problems

Partial = Mapping[str, Mapping[str, Value]]
"""Keys of device sections, by the name of the section."""


def matching(overrides: Iterable[NodeOverride], labels: Labels) -> tuple[int, ...]:
    """Return the places, from 0, of the overrides that mean a node with these labels."""
    return tuple(place for place, each in enumerate(overrides) if each.selector.matches(labels))


def overlaid(devices: Devices, parts: Iterable[Partial]) -> Devices:
    """Return the sections with `parts` laid over them, in order and key by key."""
    whole: dict[str, dict[str, object]] = msgspec.to_builtins(devices)
    for part in parts:
        for section, keys in part.items():
            whole[section] |= keys
    return msgspec.convert(msgspec.to_builtins(whole), Devices)


def of_node(devices: Devices, overrides: Sequence[NodeOverride], labels: Labels) -> Devices:
    """Return the sections of a node with these labels.

    Raises:
        ConfigError: the overrides that mean it cannot be used together.
    """
    places = matching(overrides, labels)
    sections = overlaid(devices, (overrides[each].devices for each in places))
    if found := problems(sections):
        together = ", ".join(f"nodeOverrides[{each}]" for each in places)
        raise ConfigError([f"devices.{path}: {text} (with {together} on this node)" for path, text in found.items()])
    return sections


def kinds(devices: Devices) -> dict[str, Backend]:
    """Return the kinds of devices, enabled or not, by their keys."""
    sections = {each.encode_name: getattr(devices, each.name) for each in msgspec.structs.fields(Devices)}
    return {name: section for name, section in sections.items() if isinstance(section, Backend)}


def problems(devices: Devices, directory: str = "") -> dict[str, str]:
    """Return what is wrong with the sections beyond their types: key path below `devices` to problem.

    `directory` is where sockets are made, if their names are to be judged.
    """
    found: dict[str, str] = {}
    for name, section in kinds(devices).items():
        found |= {below(name, key): text for key, text in inner_problems(section)}
        for place, rule in enumerate(section.rules):
            found |= {
                f"{name}.rules[{place}].{key}": text for key, text in objections(section, rule, directory).items()
            }
    return found


def objections(kind: Backend, rule: Rule, directory: str) -> dict[str, str]:
    """Return what a rule cannot say because of the kind it is for, or of the directory of sockets: key to problem."""
    found = kind.objections(rule)
    if rule.resource is not UNSET:
        room = LONGEST_SOCKET_PATH - len(f"{directory}/.{kind.domain()}-.sock".encode())
        if len(rule.resource) > room:
            found["resource"] = (
                f"found a name of {len(rule.resource)} letters; allowed {room}, so that the path of its socket in "
                f"kubelet.devicePluginDirectory has at most {LONGEST_SOCKET_PATH} bytes"
            )
    return found


def conflicts(
    devices: Devices, overrides: Mapping[int, NodeOverride], directory: str
) -> Iterator[tuple[int, str, str]]:
    """Yield what is wrong with an override laid over `devices`, alone or together with one before it.

    Each comes with the override's place, the key path below `devices`, and the problem. What is wrong with `devices`
    themselves is not said again, and two overrides that no node can have both are no conflict.
    Those of three and more are left to the node that has them.
    """
    known = problems(devices, directory)
    alone = {place: problems(overlaid(devices, [each.devices]), directory) for place, each in overrides.items()}
    for place, found in alone.items():
        yield from ((place, path, text) for path, text in found.items() if known.get(path) != text)
    for first, second in combinations(overrides, 2):
        both = (overrides[first], overrides[second])
        if not satisfiable(each.selector for each in both):
            continue
        for path, text in problems(overlaid(devices, (each.devices for each in both)), directory).items():
            if path not in {*known, *alone[first], *alone[second]}:
                yield second, path, f"{text} (nodeOverrides[{first}] can mean the same node)"
