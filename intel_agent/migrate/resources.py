"""Resources found in objects: custom resources, values of the old charts, the SR-IOV plugin's configuration."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intel_agent.config.schema import Json
from intel_agent.errors import AgentError
from intel_agent.migrate import charts, daemonsets, sriov
from intel_agent.migrate.kinds import GROUP, KINDS, VERSION
from intel_agent.migrate.model import Given, Note, Plugin
from intel_agent.migrate.objects import Object, objects
from intel_agent.migrate.plugin import Resource, plugin
from intel_agent.migrate.text import scalar, shown

_IDENTITY = frozenset({"apiVersion", "kind", "metadata", "status"})
"""What an object says of itself, and what others say of it: nothing that anybody set."""

_PROVISIONING = re.compile(r"(dsa|iaa|qat)(-.*)?\.conf")

HOSTNAME = "kubernetes.io/hostname"
"""The label that kubelet gives to its node: nearly always the node's name."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an object comes to."""

    plugins: tuple[Plugin, ...] = ()
    notes: tuple[Note, ...] = ()


def found(given: Object, chart: str | None) -> Found:
    """Return what the object asks for; `chart` says whose a values file is that does not say it itself."""
    if given.text("kind") and "apiVersion" in given.fields:
        return _of_kubernetes(given)
    if sriov.is_configuration(given):
        found_here, notes = sriov.plugin(given, {})
        return Found((found_here,), _by_line(notes))
    resource, notes = charts.resource(given, chart)
    return _plugin(resource, notes) if resource is not None else Found((), notes)


def _plugin(resource: Resource, notes: tuple[Note, ...]) -> Found:
    asked, lost = plugin(resource)
    return Found((asked,), _by_line((*notes, *lost)))


def _by_line(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return the notes on one object in the order of its lines."""
    return tuple(sorted(notes, key=lambda note: int(note.place.rpartition(":")[2])))


def _of_kubernetes(given: Object) -> Found:
    name = given.text("metadata", "name")
    subject = f"{shown(given.text('kind'))} {shown(name)}".rstrip()
    group, _, version = given.text("apiVersion").rpartition("/")
    kind = next((each for each in KINDS if group == GROUP and each.name == given.text("kind")), None)
    if kind is None:
        if given.text("kind") == "ConfigMap":
            return _config_map(given, subject)
        if given.text("kind") == "DaemonSet":
            return _daemon_set(given, subject)
        return Found((), (_foreign(given, subject),))
    notes = [_unknown(subject, each) for key, each in given.fields.items() if key not in {*_IDENTITY, "spec"}]
    if version != VERSION:
        text = f"found {shown(version)}; taken for {VERSION}, the only one that is known"
        notes.append(Note(given.fields["apiVersion"].place, subject, "apiVersion", text))
    spec = given.inside("spec")
    if spec is None and given.fields.get("spec", Given("", "", None)).value is not None:
        notes.append(Note(given.fields["spec"].place, subject, "spec", "left out: allowed a section"))
    defaults = {key: each.default for key, each in kind.settings.items() if each.default is not None}
    fields: Mapping[str, Given] = spec.fields if spec else {}
    return _plugin(Resource(kind, subject, given.place, fields, defaults, "the operator's default"), tuple(notes))


def _daemon_set(given: Object, subject: str) -> Found:
    owners = given.inside("metadata")
    for each in owners.each("ownerReferences") if owners else ():
        if isinstance(each, Object) and any(kind.name == each.text("kind") for kind in KINDS):
            made_by = f"{each.text('kind')} {each.text('name')}"
            return Found((), (Note(given.place, subject, "", f"made by the operator: give {made_by} instead"),))
    found_here = daemonsets.resource(given, subject)
    return Found((), (_foreign(given, subject),)) if found_here is None else _plugin(*found_here)


def _foreign(given: Object, subject: str) -> Note:
    if given.text("apiVersion").startswith("fpga.intel.com/"):
        return Note(given.place, subject, "", "the operator's FPGA webhook is not replaced: keep the operator for it")
    known = ", ".join(each.name for each in KINDS)
    return Note(given.place, subject, "", f"not read; read are {known}, and DaemonSets of plugins")


def _unknown(subject: str, given: Given) -> Note:
    return Note(given.place, subject, given.path, f"found {scalar(given.value)}; no field that is known here")


def _config_map(given: Object, subject: str) -> Found:
    notes: list[Note] = []
    plugins: list[Plugin] = []
    data = given.inside("data")
    inner = {
        key: document
        for key, each in (data.fields.items() if data else ())
        if (document := _document(each.value, f"{each.place}: data.{shown(key)}")) and sriov.is_configuration(document)
    }
    for key, each in data.fields.items() if data else ():
        if key in inner:
            # Of several, each is of the node after which it is called.
            plugin_here, said = sriov.plugin(inner[key], {HOSTNAME: key} if len(inner) > 1 else {})
            plugins.append(plugin_here)
            notes += _by_line(said)
        elif _PROVISIONING.fullmatch(key):
            text = "the agent does not set up devices: see docs/migrate.md, What is not replaced"
            notes.append(Note(each.place, subject, each.path, f"no equivalent: {text}"))
        else:
            notes.append(Note(each.place, subject, each.path, "not read: no configuration of the SR-IOV plugin"))
    notes += [_unknown(subject, each) for key, each in given.fields.items() if key not in {*_IDENTITY, "data"}]
    return Found(tuple(plugins), tuple(notes))


def _document(value: Json, source: str) -> Object | None:
    """Return the one object in a text, or `None` when it is something else."""
    try:
        inner = objects(value, source) if isinstance(value, str) else ()
    except AgentError:
        return None
    return inner[0] if len(inner) == 1 else None
