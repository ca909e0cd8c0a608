"""`intel-agent devices`: one look at the node, without kubelet."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import anyio

from intel_agent.cli.sight import NOT_APPLIED, Place, sight
from intel_agent.cli.tables import Form, Row, Table, write
from intel_agent.health import fate
from intel_agent.inventory import Inventory
from intel_agent.model import Device, Exclusion, Fault

OFFERED: Row = ("RESOURCE", "ID", "SHARES", "HEALTH", "NUMA", "NODES")
DECIDED_BY = "DECIDED BY"
"""A column more where rules decided about devices."""
LEFT_OUT: Row = ("NOT OFFERED", "RULE", "EVIDENCE", "REMEDY")
IGNORED: Row = ("RULE IGNORED", "PROBLEM")

_FOLDED = frozenset({"HEALTH", "NODES", "EVIDENCE", "REMEDY", "PROBLEM"})


def run(config: Path | None, place: Place, output: Form) -> int:
    """Print what the node offers; return 1 when a kind of device could not be looked at, or its file not be used.

    Raises:
        AgentError: the configuration cannot be used, there is no node at `root`, or none can be pretended.
    """
    with sight(config, place) as node:
        seen = anyio.run(node.inventory, node.looker)
        inventory = fate.at_first_sight(seen, node.config)
        if not node.overridden:
            sys.stderr.write(f"intel-agent: nodeOverrides: {NOT_APPLIED}\n")
    show(inventory, output)
    sections = node.sections
    for text in (*sections.problems, *(f"{path}: {said}" for path, said in sections.remarks)):
        sys.stderr.write(f"intel-agent: {text}\n")
    return 1 if sections.problems or any(found.problem for found in inventory.found.values()) else 0


def show(inventory: Inventory, output: Form) -> None:
    """Print what the node offers; what cannot be looked at is said on standard error, too, where a table does not."""
    write(output, tables(inventory), report(inventory), _FOLDED)
    if output == "table":
        for name, found in inventory.found.items():
            if found.problem:
                sys.stderr.write(f"intel-agent: {name}: {found.problem}\n")


def report(inventory: Inventory) -> dict[str, list[dict[str, object]]]:
    """Return everything that is known, for programs."""
    found = inventory.found.items()
    return {
        "devices": [{"backend": name, **_described(each)} for name, look in found for each in look.devices],
        "excluded": [{"backend": name, **_seen(each)} for name, look in found for each in look.exclusions],
        "ignoredRules": [{"backend": name, **asdict(each)} for name, look in found for each in look.rule_problems],
        "problems": [{"backend": name, "problem": look.problem} for name, look in found if look.problem],
    }


def _seen(exclusion: Exclusion) -> dict[str, object]:
    # YAML knows words, but no members of an enumeration.
    return {**asdict(exclusion), "reason": str(exclusion.reason)}


def _described(device: Device) -> dict[str, object]:
    return {
        "resource": device.resource,
        "id": device.id,
        "shares": device.shares,
        "health": str(device.health),
        "faults": _told(device.faults),
        "warnings": _told(device.warnings),
        "numaNodes": list(device.numa_nodes),
        "nodes": [
            {"path": each.path, "hostPath": each.host_path, "permissions": each.permissions}
            for each in device.edits.device_nodes
        ],
        "sysfsPath": device.sysfs_path,
        "attributes": dict(device.attributes),
        "preferLast": device.prefer_last,
        "reasons": {str(reason): treatment for reason, treatment in device.treatments.items()},
        "decidedBy": device.decided_by,
    }


def _told(faults: Iterable[Fault]) -> list[dict[str, str]]:
    return [{"reason": str(each.reason), "source": each.source, "detail": each.detail} for each in sorted(faults)]


def tables(inventory: Inventory) -> Iterator[Table]:
    """Yield what is offered, what is not, and which rules of the configuration do nothing."""
    yield _offered(inventory.devices)
    if inventory.exclusions:
        yield LEFT_OUT, [_left_out(each) for each in inventory.exclusions]
    if inventory.rule_problems:
        yield IGNORED, [(each.setting, each.problem) for each in inventory.rule_problems]


def _offered(devices: Sequence[Device]) -> Table:
    rows = [_row(each) for each in devices]
    if not any(each.decided_by for each in devices):
        return OFFERED, rows
    decided = [each.decided_by or "-" for each in devices]
    return (*OFFERED, DECIDED_BY), [(*row, by) for row, by in zip(rows, decided, strict=True)]


def _row(device: Device) -> Row:
    return (
        device.resource,
        device.id,
        "-" if device.shares is None else str(device.shares),
        ", ".join([device.health, *_words(device.faults), *_words(device.warnings)]),
        ",".join(map(str, device.numa_nodes)) or "-",
        ",".join(each.path for each in device.edits.device_nodes) or "-",
    )


def _words(faults: Iterable[Fault]) -> Iterator[str]:
    return (f"{each.reason}: {each.detail}" for each in sorted(faults))


def _left_out(exclusion: Exclusion) -> Row:
    return (exclusion.path, exclusion.rule, exclusion.evidence, exclusion.remedy)
