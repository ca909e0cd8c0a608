"""Checks of the configuration against the node: what is switched off, what offers nothing, what contradicts."""

from collections.abc import Iterator

from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Node
from intel_agent.model import Device


def disabled(node: Node) -> Iterator[Finding]:
    for name, kind in node.kinds.items():
        here = [each.address for each in node.accelerators if each.kind.name == name]
        if here and not kind.enabled:
            evidence = f"devices.{name}.enabled: false; {', '.join(here)}"
            remedy = f"set devices.{name}.enabled to true (Helm value devices.{name}.enabled)"
            yield Finding(Severity.NOTE, name, "the section is switched off, and there is hardware", evidence, remedy)


def nothing_offered(node: Node) -> Iterator[Finding]:
    for name, found in node.inventory.found.items():
        here = [each for each in node.accelerators if each.kind.name == name]
        chosen = [each for each in found.exclusions if each.rule in node.kinds[name].choices]
        if not here or found.devices or found.problem or len(chosen) != len(found.exclusions) or not chosen:
            continue
        evidence = "; ".join(dict.fromkeys(f"{each.rule}: {each.evidence}" for each in chosen))
        remedy = f"{chosen[0].remedy}; or set devices.{name}.enabled to false"
        yield Finding(
            Severity.WARNING, name, f"nothing is offered of {len(here)} accelerators of this kind", evidence, remedy
        )


def doubles(node: Node) -> Iterator[Finding]:
    first: dict[str, tuple[str, Device]] = {}
    for name, found in node.inventory.found.items():
        for device in found.devices:
            for path in device.paths:
                kind, other = first.setdefault(path, (name, device))
                if kind != name:
                    yield Finding(
                        Severity.ERROR,
                        path,
                        f"devices.{kind} and devices.{name} both offer it",
                        f"{other.id} of {other.resource}, {device.id} of {device.resource}",
                        f"switch one of them off, or hide it in one: rules of devices.{name} with match and hide: true",
                    )


def rules(node: Node) -> Iterator[Finding]:
    for each in node.inventory.rule_problems:
        remedy = "compare what it matches with `intel-agent devices -o json`"
        yield Finding(Severity.WARNING, each.setting, "the rule does nothing here", each.problem, remedy)


def files(node: Node) -> Iterator[Finding]:
    for each in node.problems:
        path, _, problem = each.partition(": ")
        yield Finding(Severity.ERROR, path, "the file cannot be used", problem, "mend the file: it is read again")


def overrides(node: Node) -> Iterator[Finding]:
    if node.overridden:
        return
    evidence = (
        f"nodeOverrides: {len(node.config.node_overrides)}; the state directory remembers no sections of this node"
    )
    remedy = (
        "see whether the agent runs and may read its node's labels (intel-agent status); "
        "outside its pod, give --state-directory and NODE_NAME"
    )
    problem = "it is not known which of them mean this node: what is said here goes without them"
    yield Finding(Severity.WARNING, "nodeOverrides", problem, evidence, remedy)
