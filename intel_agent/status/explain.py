"""One thing's life, for `intel-agent explain`: seen, judged, offered, allocated, and what happened last. Pure.

A thing is what a person calls so: a resource, a device or an id of it, with or without its resource, a PCI address, or
a path below /sys, also of what is seen and not offered, or was there and is gone.
"""

from collections.abc import Iterable, Iterator

from intel_agent.errors import AgentError
from intel_agent.history import Entry, History
from intel_agent.status.form import Device, Event, Exclusion, Explanation, Report


def explained(name: str, report: Report, history: History) -> Explanation:
    """Return what is known of the thing.

    Raises:
        AgentError: nothing is called so, nor was anything lately.
    """
    resources = tuple(each for each in report.resources if each.name == name)
    if resources:
        devices = tuple(each for each in report.devices if each.resource == name)
        excluded: tuple[Exclusion, ...] = ()
        things = [name]
    else:
        devices = tuple(each for each in report.devices if name in _names(each))
        excluded = tuple(each for each in report.excluded if name in _called(each.path))
        names = {each.resource for each in devices}
        resources = tuple(each for each in report.resources if each.name in names)
        things = [name, *(each.path for each in excluded)]
    things += [each for device in devices for each in _things(device)]
    events = tuple(_events(history, things, {each.name for each in resources}))
    if not (resources or devices or excluded or events):
        offered = ", ".join(each.name for each in report.resources) or "nothing"
        raise AgentError(f"{name!r} is nothing here: `intel-agent status` lists what is there; offered is {offered}")
    kinds = {each.kind for each in resources} | {each.kind for each in devices} | {each.kind for each in excluded}
    looks = tuple(each for each in report.kinds if each.name in kinds)
    return Explanation(name, resources, devices, excluded, looks, events)


def _names(device: Device) -> Iterator[str]:
    ids = (device.id, *(each.id for each in device.ids))
    yield from ids
    yield from (f"{device.resource}/{each}" for each in ids)
    yield from _called(device.sysfs_path)
    yield device.attributes.get("pciAddress", device.sysfs_path)


def _called(path: str) -> tuple[str, str]:
    """Return what a path below /sys is called: itself, or by its last name, which may be a PCI address."""
    return path, path.rpartition("/")[2]


def _things(device: Device) -> Iterator[str]:
    yield device.sysfs_path
    yield from (f"{device.resource}/{each.id}" for each in device.ids)


def _events(history: History, things: Iterable[str], resources: Iterable[str]) -> Iterator[Event]:
    """Yield what happened to things, and to their resources as a whole, oldest first."""
    whole = [each for each in history.of(resources) if each.event.startswith(("resource.", "registration."))]
    for each in sorted({*history.of(things), *whole}):
        yield _event(each)


def _event(entry: Entry) -> Event:
    return Event(entry.time, entry.level, entry.event, entry.text)
