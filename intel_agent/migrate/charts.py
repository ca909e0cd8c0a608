"""Values of the charts of the old plugins (intel-device-plugins-gpu and its sisters), as the resources they render."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from intel_agent.config.schema import Json, entries
from intel_agent.errors import AgentError
from intel_agent.migrate.kinds import KINDS, Kind
from intel_agent.migrate.model import Given, Leaf, Note
from intel_agent.migrate.objects import Object
from intel_agent.migrate.plugin import Resource

_LABEL = "intel.feature.node.kubernetes.io/"
_NAME = re.compile(r"([a-z]+)deviceplugin\b.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What one chart takes when a value is absent, and which images it gives by parts."""

    defaults: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    init_image: str | None = None
    switched: bool = False
    """Whether the initial container is only there if `initImage.enable` says so."""
    version: str = "0.36.0"


CHARTS: Mapping[str, Chart] = MappingProxyType(
    {
        "gpu": Chart(
            defaults={
                "sharedDevNum": 1,
                "enableMonitoring": True,
                "preferredAllocationPolicy": "none",
                "bypathMode": "single",
                "monitoringMode": "single",
            },
            init_image="intel-gpu-initcontainer",
            switched=True,
        ),
        "sgx": Chart(defaults={"enclaveLimit": 110, "provisionLimit": 110}),
        "dsa": Chart(defaults={"driver": "idxd", "sharedDevNum": 10}, init_image="intel-idxd-config-initcontainer"),
        "iaa": Chart(defaults={"sharedDevNum": 10}, init_image="intel-idxd-config-initcontainer"),
        "qat": Chart(
            defaults={"dpdkDriver": "vfio-pci", "kernelVfDrivers": ["4xxxvf", "420xxvf"], "maxNumDevices": 128},
            init_image="intel-qat-initcontainer",
        ),
        "npu": Chart(defaults={"sharedDevNum": 1}),
        "dlb": Chart(init_image="intel-dlb-initcontainer", version="0.32.1"),
    }
)

_RENAMED = {"allocationPolicy": "preferredAllocationPolicy"}
_TELLING = {
    "gpu": {"enableMonitoring", "monitoringMode", "allocationPolicy", "allowIDs", "denyIDs", "bypathMode"},
    "sgx": {"enclaveLimit", "provisionLimit"},
    "dsa": {"driver"},
    "qat": {"dpdkDriver", "kernelVfDrivers", "maxNumDevices"},
}
"""Values that only one chart has."""

_OPERATOR = {"manager", "privateRegistry", "controllerExtraArgs"}


def resource(values: Object, chart: str | None) -> tuple[Resource | None, tuple[Note, ...]]:
    """Return the resource that the chart would render from a values file, and what is not part of it.

    Raises:
        AgentError: nothing in the file tells whose values these are.
    """
    if _OPERATOR & values.fields.keys():
        return None, tuple(_of_operator(values))
    section = _section(values) or chart
    if section is None:
        known = ", ".join(CHARTS)
        raise AgentError(
            f"{values.place}: found neither an object with apiVersion and kind, nor values that tell their chart; "
            f"if it is a values file of one of {known}: say which by --chart"
        )
    kind = next(each for each in KINDS if each.section == section)
    subject = f"values of the chart intel-device-plugins-{section}"
    given, notes = _given(values, kind, CHARTS[section], subject)
    defaults = {key: each for key, each in CHARTS[section].defaults.items() if key in kind.settings}
    whose = "the old chart's default"
    return Resource(kind, subject, values.place, given, defaults, whose, _rules(values, whose)), notes


def _rules(values: Object, whose: str) -> Leaf:
    """Return whether the chart renders a NodeFeatureRule: what Helm's templates take for true."""
    if "nodeFeatureRule" not in values.fields:
        return Leaf(True, whose, given=False)
    given = values.fields["nodeFeatureRule"]
    return Leaf(bool(given.value), f"{given.place}: {given.path}")


def _section(values: Object) -> str | None:
    name = _NAME.fullmatch(values.text("name"))
    if name and name[1] in CHARTS:
        return name[1]
    selector = entries(values.fields["nodeSelector"].value) if "nodeSelector" in values.fields else {}
    labels = [each.removeprefix(_LABEL) for each in selector if each.startswith(_LABEL)]
    if len(labels) == 1 and labels[0] in CHARTS:
        return labels[0]
    told = [section for section, keys in _TELLING.items() if keys & values.fields.keys()]
    return told[0] if len(told) == 1 else None


def _given(values: Object, kind: Kind, chart: Chart, subject: str) -> tuple[dict[str, Given], tuple[Note, ...]]:
    given: dict[str, Given] = {}
    notes: list[Note] = []
    for key, each in values.fields.items():
        match key:
            case "name" | "nodeFeatureRule":
                pass
            case "image":
                given["image"] = _image(each, f"intel-{kind.section}-plugin", chart)
            case "initImage":
                notes += _unswitched(each, subject) if chart.init_image is None else ()
            case "annotations" if not each.value:
                pass
            case _:
                given[_RENAMED.get(key, key)] = each
    if (image := _init_image(values, chart)) is not None:
        given["initImage"] = image
    given["nodeSelector"] = _selector(given.get("nodeSelector", Given("nodeSelector", values.place, {})), kind)
    return given, tuple(notes)


def _unswitched(given: Given, subject: str) -> Iterator[Note]:
    yield Note(given.place, subject, given.path, "no value of this chart: without effect before, too")


def _init_image(values: Object, chart: Chart) -> Given | None:
    """Return the image of the initial container, which most charts always have."""
    given = values.fields.get("initImage", Given("initImage", values.place, None))
    if chart.init_image is None or (chart.switched and entries(given.value).get("enable") is not True):
        return None
    return _image(given, chart.init_image, chart)


def _selector(given: Given, kind: Kind) -> Given:
    """Return the node selector: Helm adds what is given to the chart's own, and takes away what is null."""
    if not isinstance(given.value, dict | None):
        return given
    labels: dict[str, Json] = {f"{_LABEL}{kind.label}": "true", **entries(given.value)}
    return Given(given.path, given.place, {key: each for key, each in labels.items() if each is not None})


def _image(given: Given, name: str, chart: Chart) -> Given:
    parts = entries(given.value)
    hub, tag = parts.get("hub") or "intel", parts.get("tag") or chart.version
    return Given(given.path, given.place, f"{hub}/{name}:{tag}")


def _of_operator(values: Object) -> Iterator[Note]:
    subject = "values of the operator's chart"
    yield Note(values.place, subject, "", "the operator has no counterpart: no value of it is carried over")
    registry = entries(values.fields["privateRegistry"].value) if "privateRegistry" in values.fields else {}
    if any(registry.values()):
        text = "copy the agent's image there, and set image.registry and image.pullSecrets"
        yield Note(values.fields["privateRegistry"].place, subject, "privateRegistry", text)
