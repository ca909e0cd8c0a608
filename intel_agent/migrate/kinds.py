"""The custom resources of the Intel device plugins operator (deviceplugin.intel.com/v1), as a table.

A field is carried over when the section of its kind has a key of the same name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from intel_agent.backends import Backend
from intel_agent.config import Devices
from intel_agent.config.schema import Json
from intel_agent.migrate.text import scalar

GROUP = "deviceplugin.intel.com"
VERSION = "v1"

_PROVISIONING = "the agent does not set up {what}: see docs/migrate.md, What is not replaced"
_QUEUES = _PROVISIONING.format(what="work queues")
_QUEUES_AND_DRIVERS = _PROVISIONING.format(what="work queues and drivers")
_FUNCTIONS = _PROVISIONING.format(what="virtual functions")
_NFD = "the agent makes no node labels: nodeFeatureRules.enabled has Node Feature Discovery make them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field of a custom resource that says how devices are offered."""

    default: Json = None
    """What the operator takes when the field is absent. `None`: it says nothing, as we do."""
    instead: str = "this version has no such setting"
    """What to do about a value when the section has no key of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of custom resource."""

    name: str
    section: str
    """The key below `devices`."""
    label: str
    """The node label that NFD's rules of the old plugins give to nodes with the hardware and its driver."""
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    beyond: str = ""
    """What the operator does for this kind without any field, and the agent does not."""

    @property
    def keys(self) -> Mapping[str, Json]:
        """The keys of the section, with our defaults."""
        return defaults(self.section)


COMMON: Mapping[str, str] = MappingProxyType(
    {
        "nodeSelector": "`nodeSelector`: what all resources have in common; the rest is the selector of an entry of "
        "`nodeOverrides`; see [Which nodes](#which-nodes)",
        "tolerations": "`tolerations`: those of all resources together",
        "logLevel": "`log.level`: `debug` above 4 in any of the resources, else `info`",
        "image": "none, as the agent has its own; if it is not of `intel/`: copy that to your registry and set "
        "`image.registry`",
    }
)
"""The fields that every kind has, and where they go."""

_SHARED = Setting(default=1)

KINDS = (
    Kind(
        name="GpuDevicePlugin",
        section="gpu",
        label="gpu",
        settings={
            "sharedDevNum": _SHARED,
            "preferredAllocationPolicy": Setting(default="none"),
            "enableMonitoring": Setting(default=False),
            "monitoringMode": Setting(default="single"),
            "allowIDs": Setting(),
            "denyIDs": Setting(),
            "bypathMode": Setting(default="single"),
            "initImage": Setting(instead=_NFD),
        },
    ),
    Kind(
        name="SgxDevicePlugin",
        section="sgx",
        label="sgx",
        settings={
            "enclaveLimit": Setting(default=1),
            "provisionLimit": Setting(default=1),
            "dcapInfraResources": Setting(default=False),
            "initImage": Setting(
                instead="the agent does not measure enclave memory: sgx.intel.com/epc comes from Node Feature Discovery"
            ),
        },
        beyond="the operator's webhook, which turns sgx.intel.com/epc into sgx.intel.com/enclave and mounts aesmd's "
        "socket, is not replaced: keep the operator for it, or let pods request sgx.intel.com/enclave: 1",
    ),
    Kind(
        name="DsaDevicePlugin",
        section="dsa",
        label="dsa",
        settings={
            "driver": Setting(default="idxd"),
            "sharedDevNum": _SHARED,
            "initImage": Setting(instead=_QUEUES_AND_DRIVERS),
            "provisioningConfig": Setting(instead=_QUEUES),
        },
    ),
    Kind(
        name="IaaDevicePlugin",
        section="iaa",
        label="iaa",
        settings={
            "sharedDevNum": _SHARED,
            "initImage": Setting(instead=_QUEUES),
            "provisioningConfig": Setting(instead=_QUEUES),
        },
    ),
    Kind(
        name="QatDevicePlugin",
        section="qat",
        label="qat",
        settings={
            "dpdkDriver": Setting(default="vfio-pci"),
            "kernelVfDrivers": Setting(default=["c6xxvf", "4xxxvf"]),
            "maxNumDevices": Setting(default=32),
            "preferredAllocationPolicy": Setting(),
            "initImage": Setting(instead=_FUNCTIONS),
            "provisioningConfig": Setting(instead=_FUNCTIONS),
        },
        beyond="the plugin gave virtual functions to dpdkDriver by itself, and the agent does not: see "
        "docs/migrate.md, What is not replaced",
    ),
    Kind(name="NpuDevicePlugin", section="npu", label="npu", settings={"sharedDevNum": _SHARED}),
    Kind(name="DlbDevicePlugin", section="dlb", label="dlb", settings={"initImage": Setting(instead=_FUNCTIONS)}),
    Kind(
        name="FpgaDevicePlugin",
        section="fpga",
        label="fpga-arria10",
        settings={
            "mode": Setting(default="af"),
            "initImage": Setting(
                instead="the agent installs nothing on the node: leave or put intel-fpga-crihook into "
                "/opt/intel/fpga-sw for mode region, or set devices.fpga.hook"
            ),
        },
        beyond="the operator's webhook, which translates the names of AcceleratorFunctions and FpgaRegions, is not "
        "replaced: let pods request the resources that `intel-agent devices` lists. The node annotation "
        "fpga.intel.com/device-plugin-mode is not read: make it a label and an entry of nodeOverrides",
    ),
)


def reference() -> str:
    """Return the tables of docs/migrate.md: every field of every kind and what becomes of it."""
    lines = ["### Every kind", "", "| field | value |", "| --- | --- |"]
    lines += [f"| `{name}` | {what} |" for name, what in COMMON.items()]
    for kind in KINDS:
        lines += ["", f"### {kind.name}", "", *_table(kind)]
    return "\n".join(lines)


def _table(kind: Kind) -> Iterator[str]:
    yield from ("| field | value |", "| --- | --- |")
    for name, setting in kind.settings.items():
        yield f"| `{name}` | {_becomes(kind, name, setting)} |"
    if kind.beyond:
        yield from ("", f"Besides, {kind.beyond}.")


def _becomes(kind: Kind, name: str, setting: Setting) -> str:
    if name in kind.keys:
        ours, theirs = kind.keys[name], setting.default
        absent = "" if theirs in (None, ours) else f"; absent: {scalar(theirs)}, the operator's default"
        return f"`devices.{kind.section}.{name}`{absent}"
    return f"none: {setting.instead}"


def sections() -> tuple[str, ...]:
    """Return the keys below `devices`."""
    return tuple(name for name in Devices.__struct_fields__ if isinstance(getattr(Devices(), name), Backend))


def defaults(section: str) -> Mapping[str, Json]:
    """Return the keys of a section with their defaults."""
    data: dict[str, Json] = msgspec.to_builtins(getattr(Devices(), section))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
