"""`intel-agent status`: what the running agent holds, asked over its own socket.

Whoever watches asks once a second and says what he has: the agent answers nothing while that is all. So nobody keeps
one of the few calls that the agent answers at a time, and an agent that comes after it is found by itself.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from intel_agent import control
from intel_agent.cli.tables import Form, Row, aligned, dump
from intel_agent.errors import AgentError
from intel_agent.status.form import Device, Report

_decoder: "msgspec.json.Decoder[Report | None]" = msgspec.json.Decoder(Report | None)

PAUSE = 1.0
"""Seconds between two questions of who watches."""
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Empties a terminal's screen (ECMA-48)."""


def run(directory: str, output: Form, *, watch: bool) -> int:
    """Print what the agent holds; with `watch`, again whenever that changed.

    Raises:
        AgentError: it does not run, or may not be asked.
    """
    report = asked(directory, "")
    show(report, output, again=watch)
    problem = ""
    while watch:
        time.sleep(PAUSE)  # no event loop here: a command with one thread
        try:
            newer = asked(directory, "" if report is None else report.revision)
        except AgentError as error:
            if str(error) != problem:
                sys.stderr.write(f"intel-agent: {error}\n")
            problem = str(error)
            continue
        problem = ""
        if newer is not None:
            show(report := newer, output, again=True)
    return 0


def asked(directory: str, revision: str) -> Report | None:
    """Return what the agent holds; `None` if that is still the report with the `revision`.

    Raises:
        AgentError: it does not run, or may not be asked.
    """
    return control.report(directory, "status", {"revision": revision}, _decoder)


def show(report: Report | None, output: Form, *, again: bool) -> None:
    """Print a report; one of several is set apart from the one before it."""
    if report is None:
        return
    if output == "table":
        if again:
            sys.stdout.write(_CLEAR if sys.stdout.isatty() else "\n")
        sys.stdout.write("\n\n".join(tables(report)) + "\n")
    else:
        dump(output, msgspec.to_builtins(report), again=again)
    sys.stdout.flush()


def tables(report: Report) -> Iterator[str]:
    """Yield the parts of a report as text."""
    yield "\n".join(_head(report))
    yield _table(
        ("RESOURCE", "REGISTERED", "LISTED", "DEVICES", "IDS", "HEALTHY", "ALLOCATABLE", "HELD"),
        [
            (
                each.name,
                _yes(each.registered),
                _yes(each.listed),
                str(each.devices),
                str(each.ids),
                str(each.healthy),
                _known(each.allocatable),
                _known(each.held),
            )
            for each in report.resources
        ],
    )
    yield _table(
        ("DEVICE", "RESOURCE", "SHARES", "NUMA", "SINCE", "HEALTH", "HELD BY"),
        [_device(each) for each in report.devices],
    )
    if report.excluded:
        rows = [(each.path, each.rule, each.evidence, each.remedy) for each in report.excluded]
        yield _table(("NOT OFFERED", "RULE", "EVIDENCE", "REMEDY"), rows)
    yield _table(
        ("KIND", "DEVICES", "NOT OFFERED", "LOOKS", "FAILED", "LAST LOOK", "PROBLEM"),
        [
            (
                each.name,
                str(each.devices),
                str(each.excluded),
                str(each.looks),
                str(each.failures),
                moment(each.last_look),
                each.problem or "-",
            )
            for each in report.kinds
        ],
    )
    counts = [*((f"kernel: {name}", count) for name, count in report.events.kernel.items()), *report.events.log.items()]
    yield _table(("EVENT", "COUNT"), [(name, str(count)) for name, count in counts])


def _head(report: Report) -> Iterator[str]:
    yield f"{report.node}, intel-agent {report.version}: {'ready' if report.ready else 'not ready'}"
    yield from (f"  missing: {each}" for each in report.missing)
    told = "tells who holds what" if report.kubelet.tells_holders else "does not tell who holds what"
    yield f"kubelet: since {moment(report.kubelet.since)}, {told}"
    yield f"configuration: {report.configuration.file or 'defaults'}, generation {report.configuration.generation}"
    yield from (f"  refused: {each}" for each in report.configuration.problems)


def _device(device: Device) -> Row:
    holders = [f"{each.holder} ({each.id})" for each in device.ids if each.holder is not None]
    wrong = [f"{each.reason}: {each.detail}" for each in (*device.faults, *device.warnings)]
    return (
        device.id,
        device.resource,
        _known(device.shares),
        ",".join(map(str, device.numa_nodes)) or "-",
        moment(device.since),
        ", ".join([device.health, *wrong]),
        ", ".join(holders) or "-",
    )


def _table(head: Row, rows: Sequence[Row]) -> str:
    return "\n".join(aligned([head, *rows]))


def _yes(word: bool) -> str:  # noqa: FBT001 - a word for a truth value
    return "yes" if word else "no"


def _known(number: int | None) -> str:
    return "-" if number is None else str(number)


def moment(seconds: float | None) -> str:
    """Return a time in the form of the log, to the second; `-` if it is not known."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
