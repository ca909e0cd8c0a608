"""`intel-agent doctor`: why a device is not there."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import anyio

from intel_agent.cli import complain
from intel_agent.cli.sight import Place, Sight, sight
from intel_agent.cli.tables import Form, Row, Table, write
from intel_agent.cluster.api import Access, Api
from intel_agent.cluster.membership import NODE_NAME
from intel_agent.cluster.node import OwnNode
from intel_agent.config import Config
from intel_agent.config.overlay import kinds
from intel_agent.control import NAME as CONTROL
from intel_agent.doctor.checks import diagnosed
from intel_agent.doctor.finding import Diagnosis, Told
from intel_agent.doctor.node import Accelerator, Node, Registered, on_bus
from intel_agent.errors import AgentError, ClusterError
from intel_agent.health import fate
from intel_agent.publish.probe import probe

SOUND, FINDINGS, BLIND = 0, 1, 2
"""Exit codes."""

ACCELERATORS: Row = ("ACCELERATOR", "ID", "WHAT", "DRIVER", "SECTION", "OFFERED AS")
SECTIONS: Row = ("SECTION", "STATE", "OFFERED", "LEFT OUT")
TOLD: Row = ("SEVERITY", "CHECK", "ABOUT", "PROBLEM", "EVIDENCE", "REMEDY")
_NO_RIGHT = "only nodeOverrides, startupTaint, faultTaint and nodeCondition give the agent the right to read its node"
_FOLDED = frozenset({"WHAT", "OFFERED AS", "OFFERED", "ABOUT", "PROBLEM", "EVIDENCE", "REMEDY"})


def run(config: Path | None, place: Place, account: str, output: Form) -> int:
    """Print what there is and what is wrong; return 0 for a sound node, 1 for findings, 2 if it could not look."""
    try:
        with sight(config, place) as seen:
            node, diagnosis = anyio.run(_examined, seen, account)
    except (AgentError, TimeoutError) as error:
        complain(error if isinstance(error, AgentError) else AgentError(str(error)))
        return BLIND
    write(output, _tables(node, diagnosis), _report(node, diagnosis), _FOLDED)
    for check, problem in diagnosis.blind:
        sys.stderr.write(f"intel-agent: {check}: could not look: {problem}\n")
    if diagnosis.sound:
        return BLIND if diagnosis.blind else SOUND
    return FINDINGS


async def _examined(seen: Sight, account: str) -> tuple[Node, Diagnosis]:
    """Look, ask kubelet, and make all checks, in a thread and with the deadline of a look.

    Raises:
        AgentError: the bus cannot be listed.
        TimeoutError: a read does not come back, and no single device is to blame.
    """
    config, looker = seen.config, seen.looker
    known, kubelet = kinds(config.devices), config.kubelet
    inventory = fate.at_first_sight(await seen.inventory(looker), config)
    control = f"{seen.place.runtime_directory}/{CONTROL}"
    answers = await probe(kubelet.device_plugin_directory, kubelet.pod_resources_socket, control)
    problems = (*seen.sections.problems, *(f"{path}: {said}" for path, said in seen.sections.remarks))
    accelerators, strangers = await looker.read("doctor", "bus", lambda look: on_bus(seen.host.looking(look), known))
    registered = await _registered(config, os.environ, account)
    node = Node(
        seen.host, config, known, inventory, accelerators, strangers, answers, seen.overridden, registered, problems
    )
    return node, await looker.read("doctor", "checks", lambda _: diagnosed(node))


async def _registered(config: Config, environment: Mapping[str, str], account: str) -> Registered | None:
    """Return what this node's object says, where the configuration gives the agent the right to read it."""
    if "KUBERNETES_SERVICE_HOST" not in environment:
        return None
    allowing = (config.startup_taint.enabled, config.fault_taint.enabled, config.node_condition.enabled)
    if not config.node_overrides and not any(allowing):
        return Registered(problem=_NO_RIGHT)
    try:
        api = Api(Access.from_pod(environment, account))
        try:
            seen = await OwnNode(api, environment.get(NODE_NAME, "")).seen()
        finally:
            await api.close()
    except ClusterError as error:
        return Registered(problem=str(error))
    return Registered(seen.labels, seen.kubelet)


def _tables(node: Node, diagnosis: Diagnosis) -> Iterator[Table]:
    if node.accelerators:
        yield ACCELERATORS, [_row(node, each) for each in node.accelerators]
    yield SECTIONS, [*_sections(node)]
    if diagnosis.sound:
        yield ("NOTHING IS WRONG",), []
    if diagnosis.told:
        yield TOLD, [_finding(each) for each in diagnosis.told]


def _finding(told: Told) -> Row:
    each = told.finding
    return (each.severity, told.check, each.subject, each.problem, each.evidence, each.remedy)


def _row(node: Node, accelerator: Accelerator) -> Row:
    return (
        accelerator.address,
        str(accelerator.identity),
        accelerator.hardware.name,
        accelerator.driver or "-",
        accelerator.kind.name,
        ", ".join(_offered(node, accelerator)) or "-",
    )


def _offered(node: Node, accelerator: Accelerator) -> list[str]:
    return list(dict.fromkeys(each.resource for each in node.of(accelerator)))


def _sections(node: Node) -> Iterator[Row]:
    for name, kind in node.kinds.items():
        found = node.inventory.found.get(name)
        if found is None:
            yield name, "nothing to look for" if kind.enabled else "off", "-", "-"
            continue
        counts: dict[str, int] = {}
        for each in found.devices:
            counts[each.resource] = counts.get(each.resource, 0) + 1
        offered = ", ".join(f"{count} {resource}" for resource, count in counts.items())
        yield name, "failed" if found.problem else "on", offered or "-", str(len(found.exclusions) or "-")


def _report(node: Node, diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "sound": diagnosis.sound,
        "accelerators": [
            {
                "address": each.address,
                "id": str(each.identity),
                "what": each.hardware.name,
                "driver": each.driver,
                "section": each.kind.name,
                "offeredAs": _offered(node, each),
            }
            for each in node.accelerators
        ],
        "sections": [
            {"section": name, "state": state, "offered": offered, "leftOut": left_out}
            for name, state, offered, left_out in _sections(node)
        ],
        "findings": [
            {"check": each.check, **asdict(each.finding), "severity": str(each.finding.severity)}
            for each in diagnosis.told
        ],
        "couldNotLook": [{"check": check, "problem": problem} for check, problem in diagnosis.blind],
    }
