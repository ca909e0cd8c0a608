"""One resource of the old plugins in the words of our configuration, and what of it has no equivalent."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from intel_agent import config
from intel_agent.config.schema import Json
from intel_agent.errors import ConfigError
from intel_agent.migrate.kinds import COMMON, Kind
from intel_agent.migrate.model import Given, Leaf, Note, Plugin
from intel_agent.migrate.text import scalar, shown

_THEIR_IMAGE = re.compile(r"(docker\.io/)?intel/intel-[a-z-]+([:@].*)?")
_LABEL = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
DEBUG_ABOVE = 4
"""The verbosity that the charts of the old plugins have by default: nobody asked for more by that."""

_ABSENT: tuple[Json, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of one kind, wherever it was read from: its fields under the names that the operator knows."""

    kind: Kind
    subject: str
    place: str
    given: Mapping[str, Given]
    defaults: Mapping[str, Json]
    """What the operator, or the chart, takes for fields that are absent."""
    whose: str
    """Whose defaults these are."""
    rules: Leaf | None = None
    """Whether rules for Node Feature Discovery come with it, as they do with a chart."""

    def note(self, name: str, text: str) -> Note:
        """Return what to say of the field `name`; of the resource itself if it has no such field."""
        if name not in self.given:
            return Note(self.place, self.subject, name, text)
        given = self.given[name]
        return Note(given.place, self.subject, given.path, f"found {_brief(given.value)}; {text}")

    def leaf(self, name: str) -> Leaf:
        """Return the field `name`, or its default."""
        if name not in self.given:
            return Leaf(self.defaults[name], self.whose, given=False)
        given = self.given[name]
        return Leaf(given.value, f"{given.place}: {given.path}")


def plugin(resource: Resource) -> tuple[Plugin, tuple[Note, ...]]:
    """Return what the resource asks for, and what of it cannot be had."""
    unknown = tuple(_unknown(resource))
    # What is empty is as good as absent: the operator cannot tell the two apart.
    present = {name: each for name, each in resource.given.items() if each.value not in _ABSENT}
    resource = replace(resource, given=present)
    beyond = (Note(resource.place, resource.subject, "", resource.kind.beyond),) if resource.kind.beyond else ()
    return _carried(resource, (*unknown, *beyond))


def _unknown(resource: Resource) -> Iterator[Note]:
    known = (*resource.kind.settings, *COMMON)
    for name in resource.given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield resource.note(name, f"no field of {resource.kind.name} that is known here{meant}")


def _carried(resource: Resource, notes: tuple[Note, ...]) -> tuple[Plugin, tuple[Note, ...]]:
    settings, refused = _settings(resource)
    selector, bad_labels = _selector(resource)
    tolerations, bad_tolerations = _tolerations(resource)
    debug, level, bad_level = _log_level(resource)
    comments, lost = _rest(resource)
    found = Plugin(
        subject=resource.subject,
        place=resource.place,
        section=resource.kind.section,
        settings=settings,
        selector=selector,
        tolerations=tolerations,
        debug=debug,
        rules=resource.rules,
        comments=(*level, *_elsewhere(resource), *comments),
    )
    return found, (*refused, *lost, *bad_labels, *bad_tolerations, *bad_level, *notes)


def _settings(resource: Resource) -> tuple[dict[str, Leaf], tuple[Note, ...]]:
    """Return the keys of the section, and what our configuration does not allow."""
    section, kept, notes = resource.kind.section, dict[str, Leaf](), list[Note]()
    for name in resource.kind.settings:
        if name in resource.kind.keys and (name in resource.given or name in resource.defaults):
            leaf = resource.leaf(name)
            problem = section_problem(section, {**{key: each.value for key, each in kept.items()}, name: leaf.value})
            if problem is None:
                kept[name] = leaf
            else:
                notes.append(resource.note(name, f"left out: {problem}"))
    return kept, tuple(notes)


def section_problem(section: str, keys: Mapping[str, Json]) -> str | None:
    """Return what the configuration says against these keys of a section, or `None`."""
    try:
        config.parse(f"devices: {{{section}: {scalar(dict(keys))}}}", "")
    except ConfigError as error:
        return error.problems[0].split(": ", 2)[-1]
    return None


def _elsewhere(resource: Resource) -> Iterator[str]:
    """Yield where to find what does not stand in the section."""
    for name, where in (("nodeSelector", "nodeSelector and nodeOverrides"), ("tolerations", "tolerations")):
        if name in resource.given:
            given = resource.given[name]
            yield f"{given.place}: {given.path}: {_brief(given.value)}: see {where}"


def _rest(resource: Resource) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Return what to remark on fields without a key of ours, and which of them are lost."""
    comments, notes = list[str](), list[Note]()
    for name, setting in resource.kind.settings.items():
        if name not in resource.given or name in resource.kind.keys:
            continue
        notes.append(resource.note(name, f"no equivalent: {setting.instead}"))
    if (image := resource.given.get("image")) is not None:
        if isinstance(image.value, str) and _THEIR_IMAGE.fullmatch(image.value):
            comments.append(f"{image.place}: {image.path}: {_brief(image.value)}: the agent has its own image")
        else:
            instead = "the agent has its own image: copy that to your registry and set image.registry"
            notes.append(resource.note("image", f"no equivalent: {instead}"))
    return tuple(comments), tuple(notes)


def _selector(resource: Resource) -> tuple[dict[str, str], tuple[Note, ...]]:
    if "nodeSelector" not in resource.given:
        return {}, ()
    value = resource.given["nodeSelector"].value
    if not isinstance(value, dict):
        return {}, (resource.note("nodeSelector", "left out: allowed labels and their values"),)
    sound = {key: _spelled(each) for key, each in value.items() if _is_label(key, each)}
    odd = [f"{key}: {scalar(each)}" for key, each in value.items() if not _is_label(key, each)]
    texts = [f"{key}: {scalar(each)}" for key, each in value.items() if key in sound and not isinstance(each, str)]
    notes = [resource.note("nodeSelector", f"left out: {each}: no label that a node can have") for each in odd]
    notes += [resource.note("nodeSelector", f"taken as a text: {each}: write the value in quotes") for each in texts]
    return sound, tuple(notes)


def _is_label(key: str, value: Json) -> bool:
    if not _LABEL.fullmatch(key) or not isinstance(value, str | bool | int):
        return False
    return _LABEL_VALUE.fullmatch(_spelled(value)) is not None


def _spelled(value: Json) -> str:
    return value if isinstance(value, str) else scalar(value)


def _tolerations(resource: Resource) -> tuple[tuple[Json, ...], tuple[Note, ...]]:
    if "tolerations" not in resource.given:
        return (), ()
    value = resource.given["tolerations"].value
    if not isinstance(value, list):
        return (), (resource.note("tolerations", "left out: allowed a list"),)
    odd = [resource.note("tolerations", f"left out: {_brief(each)}") for each in value if not isinstance(each, dict)]
    return tuple(each for each in value if isinstance(each, dict)), tuple(odd)


def _log_level(resource: Resource) -> tuple[Leaf | None, tuple[str, ...], tuple[Note, ...]]:
    """Return the level if it is ours for debugging, a remark on it, and what is wrong with it."""
    if "logLevel" not in resource.given:
        return None, (), ()
    leaf = resource.leaf("logLevel")
    if not isinstance(leaf.value, int) or isinstance(leaf.value, bool):
        return None, (), (resource.note("logLevel", "left out: allowed a whole number"),)
    debug = leaf.value > DEBUG_ABOVE
    remark = f"{leaf.origin}: {leaf.value}: {'see log.level' if debug else 'asks for no more than info'}"
    return (Leaf("debug", f"{leaf.origin} {leaf.value}") if debug else None), (remark,), ()


def _brief(value: Json) -> str:
    return shown(scalar(value))
