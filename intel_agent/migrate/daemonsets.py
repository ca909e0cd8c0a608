"""DaemonSets of the old plugins that nobody but a manifest made, as the resources that would give their arguments.

Of a DaemonSet, what says how devices are offered is read: arguments, images, node selector and tolerations.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from intel_agent.config.schema import Json
from intel_agent.migrate.kinds import KINDS, Kind
from intel_agent.migrate.model import Given, Note
from intel_agent.migrate.objects import Object
from intel_agent.migrate.plugin import Resource
from intel_agent.migrate.text import scalar, shown

_IMAGE = re.compile(r"(?:.*/)?intel-([a-z]+)-plugin(?:[:@].*)?")
_TRUE = frozenset({"", "1", "t", "T", "true", "True", "TRUE"})
"""What Go takes for true; nothing, because a switch needs no value."""


def _number(text: str) -> Json:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else text


def _switch(text: str) -> Json:
    return text in _TRUE


def _list(text: str) -> Json:
    return [*text.split(",")]


_FLAGS: Mapping[str, tuple[str, Callable[[str], Json]]] = MappingProxyType(
    {
        "v": ("logLevel", _number),
        "shared-dev-num": ("sharedDevNum", _number),
        "allocation-policy": ("preferredAllocationPolicy", str),
        "enable-monitoring": ("enableMonitoring", _switch),
        "monitoring-mode": ("monitoringMode", str),
        "allow-ids": ("allowIDs", str),
        "deny-ids": ("denyIDs", str),
        "bypath": ("bypathMode", str),
        "enclave-limit": ("enclaveLimit", _number),
        "provision-limit": ("provisionLimit", _number),
        "dcap-infra-resources": ("dcapInfraResources", _switch),
        "driver": ("driver", str),
        "dpdk-driver": ("dpdkDriver", str),
        "kernel-vf-drivers": ("kernelVfDrivers", _list),
        "max-num-devices": ("maxNumDevices", _number),
        "mode": ("mode", str),
    }
)
"""The plugins' flags and the fields of the resources that set them."""

_SWITCHES = {name for name, (_, kind) in _FLAGS.items() if kind is _switch} | {"health-management", "wsl"}

_DEFAULTS: Mapping[str, Mapping[str, Json]] = MappingProxyType(
    {
        "sgx": {"enclaveLimit": 110, "provisionLimit": 110},
        "qat": {"dpdkDriver": "vfio-pci", "kernelVfDrivers": ["4xxxvf", "420xxvf"], "maxNumDevices": 64},
    }
)
"""What the plugins take for flags that are absent, where the operator would take something else."""


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    text: str
    """Its value; nothing for a switch that stands alone."""
    given: Given


def resource(daemon_set: Object, subject: str) -> tuple[Resource, tuple[Note, ...]] | None:
    """Return the resource that a DaemonSet stands for, and what of it is lost; `None` if it is of no plugin."""
    pod = daemon_set.inside("spec", "template", "spec")
    if pod is None:
        return None
    containers = [each for each in pod.each("containers") if isinstance(each, Object)]
    for container in containers:
        if (kind := _kind(container)) is not None:
            others = [each for each in containers if each is not container]
            given, notes = _given(pod, container, kind, subject)
            beside = (_lost(each, subject, "beside the plugin: the agent needs no helper") for each in others)
            found = Resource(kind, subject, daemon_set.place, given, _defaults(kind), "the plugin's default")
            return found, (*notes, *beside)
    return None


def _kind(container: Object) -> Kind | None:
    image = _IMAGE.fullmatch(container.text("image"))
    return next((each for each in KINDS if image and each.section == image[1]), None)


def _defaults(kind: Kind) -> dict[str, Json]:
    of_operator = {key: each.default for key, each in kind.settings.items() if each.default is not None}
    return {**of_operator, **_DEFAULTS.get(kind.section, {})}


def _given(pod: Object, container: Object, kind: Kind, subject: str) -> tuple[dict[str, Given], tuple[Note, ...]]:
    given = {key: each for key, each in pod.fields.items() if key in {"nodeSelector", "tolerations"}}
    given["image"] = container.fields["image"]
    notes: list[Note] = []
    for each in pod.each("initContainers"):
        if isinstance(each, Object) and "initImage" in kind.settings and "image" in each.fields:
            given["initImage"] = each.fields["image"]
        else:
            notes.append(_lost(each, subject, "before the plugin: the agent needs no helper"))
    for flag in _flags(each for each in container.each("args") if isinstance(each, Given)):
        field, read = _FLAGS.get(flag.name, ("", str))
        if field == "logLevel" or field in kind.settings:
            given[field] = Given(flag.given.path, flag.given.place, read(flag.text))
        else:
            notes.append(_lost(flag.given, subject, f"found {shown(scalar(flag.given.value))}"))
    elsewhere = {key: each for key, each in container.fields.items() if key in {"command", "env"} and _says(each)}
    notes += [_lost(each, subject, f"found {shown(scalar(each.value))}") for each in elsewhere.values()]
    notes += [_lost(each, subject, "see the chart's affinity") for key, each in pod.fields.items() if key == "affinity"]
    return given, tuple(notes)


def _says(given: Given) -> bool:
    """Return whether the plugin regards it: of its environment, it reads one variable."""
    return given.path.endswith("command") or "PODS_PER_CORE" in scalar(given.value)


def _lost(part: Object | Given, subject: str, what: str) -> Note:
    return Note(part.place, subject, part.path.rstrip("."), f"{what}; no equivalent")


def _flags(arguments: Iterable[Given]) -> Iterator[_Flag]:
    """Yield the flags as Go reads them: one dash or two, the value behind `=` or in the next argument."""
    rest = iter(arguments)
    for each in rest:
        name, equals, text = str(each.value).lstrip("-").partition("=")
        path = f"{each.path} -{name}"
        if equals:
            yield _Flag(name, text, Given(path, each.place, text))
        elif name in _SWITCHES:
            yield _Flag(name, "", Given(path, each.place, True))
        else:
            value = next(rest, each)
            yield _Flag(name, str(value.value), Given(path, value.place, value.value))
