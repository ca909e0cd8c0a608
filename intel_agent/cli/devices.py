"""`intel-agent devices`: one look at the node, without kubelet."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, assert_never

import anyio

from intel_agent import log as logs
from intel_agent.backends import Backend
from intel_agent.cluster.membership import NODE_NAME
from intel_agent.cluster.memory import Memory
from intel_agent.config import Config, Devices, load
from intel_agent.errors import AgentError, SysfsError
from intel_agent.inventory import Found, Inventory
from intel_agent.machine import pretended
from intel_agent.model import Device, Exclusion
from intel_agent.sources.look import Looker
from intel_agent.sysfs import Host

Row = tuple[str, ...]

OFFERED: Row = ("RESOURCE", "ID", "SHARES", "HEALTH", "NUMA", "NODES")
LEFT_OUT: Row = ("NOT OFFERED", "RULE", "EVIDENCE", "REMEDY")

_STDERR = 2

_FOLDED = frozenset({"HEALTH", "NODES", "EVIDENCE", "REMEDY"})
"""Columns that may take several lines on a terminal; the others are for copying."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the node is, where a pretended one can be made, and where the agent remembers its sections."""

    root: str
    host_root: str
    runtime_directory: str
    state_directory: str


def run(config: Path | None, place: Place, output: Literal["table", "json", "yaml"]) -> int:
    """Print what the node offers; return 1 when a kind of device could not be looked at, and else 0.

    Raises:
        AgentError: the configuration cannot be used, there is no node at `root`, or none can be pretended.
    """
    if not os.path.isdir(place.root):
        raise AgentError(f"{place.root}: no such directory (--root)")
    wanted = load(config).config
    logs.configure("error", "console", _STDERR)
    with _host(wanted.simulation.node, place) as host:
        backends, deadline = _in_force(wanted, place).backends, wanted.health.read_deadline_seconds
        inventory = anyio.run(look, backends, host, deadline)
    match output:
        case "table":
            print_tables(inventory)
        case "json":
            sys.stdout.write(json.dumps(report(inventory), indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            import yaml

            yaml.safe_dump(report(inventory), sys.stdout, sort_keys=False, allow_unicode=True)
        case _:
            assert_never(output)
    return 1 if any(found.problem for found in inventory.found.values()) else 0


def _in_force(config: Config, place: Place) -> Devices:
    if not config.node_overrides:
        return config.devices
    remembered = Memory(place.state_directory, os.environ.get(NODE_NAME, "")).recalled(config)
    if remembered is None:
        sys.stderr.write(
            "intel-agent: nodeOverrides: not applied, as the agent has not applied them on this node yet\n"
        )
    return remembered or config.devices


def _host(machine: str, place: Place) -> AbstractContextManager[Host]:
    return pretended(machine, place.runtime_directory) if machine else nullcontext(Host(place.root, place.host_root))


async def look(backends: Sequence[Backend], host: Host, deadline: float) -> Inventory:
    """Return what is there. A kind that cannot be looked at says why; a device that does not answer is left out."""
    looker = Looker(host, lambda: deadline, lambda: None)
    found: dict[str, Found] = {}

    async def look_at(backend: Backend) -> None:
        try:
            found[backend.name] = await looker.at(backend, Found())
        except (SysfsError, TimeoutError) as error:
            found[backend.name] = Found(problem=str(error))
        except Exception as error:  # noqa: BLE001 - the border of one kind: it must not keep the others from being told
            found[backend.name] = Found(problem=f"unexpected: {error!r}")

    async with anyio.create_task_group() as group:
        for backend in backends:
            group.start_soon(look_at, backend)
    return Inventory.of({backend.name: found[backend.name] for backend in backends})


def report(inventory: Inventory) -> dict[str, list[dict[str, object]]]:
    """Return everything that is known, for programs."""
    found = inventory.found.items()
    return {
        "devices": [{"backend": name, **_described(each)} for name, look in found for each in look.devices],
        "excluded": [{"backend": name, **asdict(each)} for name, look in found for each in look.exclusions],
        "problems": [{"backend": name, "problem": look.problem} for name, look in found if look.problem],
    }


def _described(device: Device) -> dict[str, object]:
    return {
        "resource": device.resource,
        "id": device.id,
        "shares": device.shares,
        "health": str(device.health),
        "faults": [
            {"reason": str(each.reason), "source": each.source, "detail": each.detail} for each in sorted(device.faults)
        ],
        "numaNodes": list(device.numa_nodes),
        "nodes": [
            {"path": each.path, "hostPath": each.host_path, "permissions": each.permissions}
            for each in device.edits.device_nodes
        ],
        "sysfsPath": device.sysfs_path,
        "attributes": dict(device.attributes),
    }


def print_tables(inventory: Inventory) -> None:
    tables = [(OFFERED, [_offered(each) for each in inventory.devices])]
    if inventory.exclusions:
        tables.append((LEFT_OUT, [_left_out(each) for each in inventory.exclusions]))
    if sys.stdout.isatty():
        _print_for_people(tables)
    else:
        sys.stdout.write("\n\n".join("\n".join(aligned([head, *rows])) for head, rows in tables) + "\n")
    for name, found in inventory.found.items():
        if found.problem:
            sys.stderr.write(f"intel-agent: {name}: {found.problem}\n")


def _offered(device: Device) -> Row:
    return (
        device.resource,
        device.id,
        "-" if device.shares is None else str(device.shares),
        ", ".join([device.health, *(f"{each.reason}: {each.detail}" for each in sorted(device.faults))]),
        ",".join(map(str, device.numa_nodes)) or "-",
        ",".join(each.path for each in device.edits.device_nodes) or "-",
    )


def _left_out(exclusion: Exclusion) -> Row:
    return (exclusion.path, exclusion.rule, exclusion.evidence, exclusion.remedy)


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line a row, columns two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print_for_people(tables: Sequence[tuple[Row, list[Row]]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for head, rows in tables:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for title in head:
            table.add_column(title, overflow="fold", no_wrap=title not in _FOLDED)
        for row in rows:
            table.add_row(*(Text(cell, style="red" if cell.startswith("Unhealthy") else "") for cell in row))
        console.print(table)
        console.print()
