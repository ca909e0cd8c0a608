"""`intel-agent explain`: one thing's life, as the running agent knows it."""

import sys
from collections.abc import Iterable, Iterator

import msgspec

from intel_agent import control
from intel_agent.cli.status import moment
from intel_agent.cli.tables import Form, dump
from intel_agent.status.form import Device, Exclusion, Explanation, Fault, Id, Kind, Resource

_decoder = msgspec.json.Decoder(Explanation)


def run(directory: str, name: str, output: Form) -> int:
    """Print what the agent knows of a thing.

    Raises:
        AgentError: the agent does not run, may not be asked, or knows nothing of that name.
    """
    explanation = control.report(directory, "explain", {"name": name}, _decoder)
    if output == "table":
        sys.stdout.write("\n".join(lines(explanation)) + "\n")
    else:
        dump(output, msgspec.to_builtins(explanation))
    return 0


def lines(explanation: Explanation) -> Iterator[str]:
    """Yield an explanation as text."""
    looks = {each.name: each for each in explanation.kinds}
    resources = {each.name: each for each in explanation.resources}
    for resource in resources.values():
        yield resource.name
        yield from _stated(_resource(resource))
    for device in explanation.devices:
        yield f"{device.id} of {device.resource}"
        yield from _stated(_device(device, looks.get(device.kind)))
    for each in explanation.excluded:
        yield each.path
        yield from _stated(_exclusion(each, looks.get(each.kind)))
    yield "last events"
    for event in explanation.events:
        yield f"  {moment(event.time)}  {event.level:<7}  {event.event}  {event.text}"
    if not explanation.events:
        yield "  none since the agent began"


def _stated(statements: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (f"  {word:<10}  {text}" for word, text in statements)


def _resource(resource: Resource) -> Iterator[tuple[str, str]]:
    yield "kubelet", "has taken it" if resource.registered else "has not taken it, or there is no kubelet"
    yield "list", "kubelet has the present one" if resource.listed else "kubelet does not have the present one"
    yield "offered", f"{resource.ids} ids of {resource.devices} devices, {resource.healthy} of them healthy"
    if resource.allocatable is not None:
        yield "", f"kubelet takes {resource.allocatable} for healthy"
    yield "allocated", "kubelet does not tell" if resource.held is None else f"{resource.held} ids"


def _device(device: Device, looks: Kind | None) -> Iterator[tuple[str, str]]:
    yield "seen", f"{device.sysfs_path}, {_looked(looks)}"
    if device.attributes:
        yield "", ", ".join(f"{name}: {value}" for name, value in device.attributes.items() if value)
    since = "" if device.since is None else f" since {moment(device.since)}"
    yield "judged", f"{device.health}{since}"
    yield from _wrong(device.faults, "")
    yield from _wrong(device.warnings, "warning ")
    yield "decided by", device.decided_by or f"the section devices.{device.kind}: no rule means it"
    yield "offered", ", ".join(f"{each.id} ({each.health})" for each in device.ids) or "not yet"
    unheeded = [each.id for each in device.ids if each.allocatable is not None and each.allocatable != _healthy(each)]
    if unheeded:
        yield "", f"kubelet sees these otherwise: {', '.join(unheeded)}"
    holders = [f"{each.id}: {each.holder}" for each in device.ids if each.holder is not None]
    yield "allocated", ", ".join(holders) or "to nobody that kubelet tells of"


def _healthy(each: Id) -> bool:
    return each.health == "Healthy"


def _wrong(faults: Iterable[Fault], kind: str) -> Iterator[tuple[str, str]]:
    for each in faults:
        yield "", f"{kind}{each.reason}: {each.detail} (by {each.source})"
        yield "  remedy", each.remedy


def _exclusion(exclusion: Exclusion, looks: Kind | None) -> Iterator[tuple[str, str]]:
    yield "seen", _looked(looks)
    yield "judged", "not offered"
    yield "decided by", f"the rule {exclusion.rule} of {exclusion.kind}"
    yield "evidence", exclusion.evidence
    yield "remedy", exclusion.remedy


def _looked(looks: Kind | None) -> str:
    if looks is None:
        return "its kind is not looked at any more"
    problem = "" if looks.problem is None else f", and cannot be looked at now: {looks.problem}"
    return f"{looks.name} was last looked at {moment(looks.last_look)}{problem}"
