"""Makes the report of `intel-agent status` from a snapshot: pure functions."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from intel_agent import model
from intel_agent.history import Key
from intel_agent.publish.roster import Line
from intel_agent.remedies import REMEDIES
from intel_agent.status.form import (
    Configuration,
    Device,
    Events,
    Exclusion,
    Fault,
    Holder,
    Id,
    Kind,
    Kubelet,
    Report,
    Resource,
)
from intel_agent.sysfs import natural
from intel_agent.web.snapshot import Resource as Offered
from intel_agent.web.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Context:
    """What a report says beside the snapshot."""

    revision: str
    node: str
    file: str | None
    problems: tuple[str, ...]
    allocatable: Mapping[str, frozenset[str]] | None
    since: Callable[[Key], float | None]


def reported(snapshot: Snapshot, context: Context) -> Report:
    """Return the report of the agent at this moment."""
    log: Counter[str] = Counter()
    for (event, _), count in snapshot.log_events.items():
        log[event] += count
    return Report(
        revision=context.revision,
        version=snapshot.version,
        node=context.node,
        ready=not snapshot.missing,
        missing=snapshot.missing,
        kubelet=Kubelet(snapshot.kubelet_since or None, snapshot.holders_known),
        configuration=Configuration(context.file, snapshot.generation, context.problems),
        resources=tuple(_resources(snapshot, context)),
        devices=tuple(_devices(snapshot, context)),
        excluded=tuple(_excluded(snapshot)),
        kinds=tuple(_kinds(snapshot)),
        events=Events(dict(snapshot.kernel_events), dict(sorted(log.items())), snapshot.log_lines_lost),
    )


def _resources(snapshot: Snapshot, context: Context) -> Iterator[Resource]:
    held = Counter(resource for resource, _ in snapshot.holders)
    for each in sorted(snapshot.resources, key=lambda each: each.name):
        lines = each.listing.lines
        allocatable = None if context.allocatable is None else context.allocatable.get(each.name, frozenset[str]())
        yield Resource(
            name=each.name,
            kind=each.listing.backend,
            registered=each.registered,
            listed=each.listed,
            devices=len({line.device.id for line in lines}),
            ids=sum(len(line.ids) for line in lines),
            healthy=sum(len(line.ids) for line in lines if not line.faults),
            allocatable=None if allocatable is None else len(allocatable),
            held=held[each.name] if snapshot.holders_known else None,
        )


def _devices(snapshot: Snapshot, context: Context) -> Iterator[Device]:
    """Yield every device that was found or that kubelet still hears of, by resource and id."""
    found = {
        (device.resource, device.id): (kind, device)
        for kind, look in snapshot.inventory.found.items()
        for device in look.devices
    }
    lines = _lines(snapshot.resources)
    for name, offered in lines.items():
        kind, line = offered[0]
        found.setdefault(name, (kind, line.device))
    for name in sorted(found, key=lambda each: (each[0], natural(each[1]))):
        kind, device = found[name]
        yield _device(kind, device, [line for _, line in lines.get(name, ())], snapshot, context)


def _lines(resources: Iterable[Offered]) -> dict[Key, list[tuple[str, Line]]]:
    lines: dict[Key, list[tuple[str, Line]]] = {}
    for resource in resources:
        for line in resource.listing.lines:
            lines.setdefault((resource.name, line.device.id), []).append((resource.listing.backend, line))
    return lines


def _device(kind: str, device: model.Device, lines: list[Line], snapshot: Snapshot, context: Context) -> Device:
    faults = frozenset(device.faults).union(*(line.faults for line in lines))
    healthy = None if context.allocatable is None else context.allocatable.get(device.resource, frozenset[str]())
    ids = [(each, line.health) for line in lines for each in line.ids]
    return Device(
        kind=kind,
        resource=device.resource,
        id=device.id,
        health=str(model.Health.UNHEALTHY if faults else model.Health.HEALTHY),
        faults=told(faults),
        warnings=told(device.warnings),
        since=context.since((device.resource, device.id)),
        shares=device.shares,
        numa_nodes=device.numa_nodes,
        sysfs_path=device.sysfs_path,
        attributes=dict(device.attributes),
        decided_by=device.decided_by,
        ids=tuple(
            Id(
                each,
                str(health),
                None if healthy is None else each in healthy,
                _holder(snapshot.holders.get((device.resource, each))),
            )
            for each, health in ids
        ),
    )


def told(faults: Iterable[model.Fault]) -> tuple[Fault, ...]:
    """Return faults or warnings with their remedies."""
    return tuple(Fault(str(each.reason), each.source, each.detail, REMEDIES[each.reason]) for each in sorted(faults))


def _holder(name: str | None) -> Holder | None:
    return None if name is None else Holder(*name.split("/", 2))


def _excluded(snapshot: Snapshot) -> Iterator[Exclusion]:
    for kind, found in snapshot.inventory.found.items():
        for each in found.exclusions:
            yield Exclusion(kind, each.path, each.rule, each.evidence, each.remedy)


def _kinds(snapshot: Snapshot) -> Iterator[Kind]:
    for name, looks in snapshot.looks.items():
        found = snapshot.inventory.found.get(name)
        yield Kind(
            name=name,
            devices=0 if found is None else len(found.devices),
            excluded=0 if found is None else len(found.exclusions),
            looks=looks.count,
            failures=looks.failures,
            seconds=round(looks.seconds, 6),
            last_look=looks.succeeded or None,
            problem=None if found is None else found.problem,
        )
