"""The custom resources of the Intel device plugins operator (deviceplugin.intel.com/v1), as a table.

A field is carried over when the section of its kind has a key of the same name. So a kind that is added to
`config.Devices` is migrated as soon as its row here names its section.
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
_FUNCTIONS = _PROVISIONING.format(what="virtual functions")
_NFD = "the agent makes no node labels: nodeFeatureRules.enabled has Node Feature Discovery make them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field of a custom resource that says how devices are offered."""

    default: Json = None
    """What the operator takes when the field is absent. `None`: it says nothing, as we do."""
    same: tuple[Json, ...] = ()
    """Values that ask for what the agent does anyway."""
    instead: str = "this version has no such setting"
    """What to do about other values when the section has no key of this name."""
    decides: bool = False
    """Whether another value makes another plugin of it, so that nothing of the resource can be carried over."""
    only_with: str = ""
    """The field without which this one has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of custom resource."""

    name: str
    section: str
    """The key below `devices`, which a later version may have if this one has not."""
    label: str
    """The node label that NFD's rules of the old plugins give to nodes with the hardware and its driver."""
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    beyond: str = ""
    """What the operator does for this kind without any field, and the agent does not."""

    @property
    def keys(self) -> Mapping[str, Json]:
        """The keys of the section in this version, with our defaults; nothing when there is no such section."""
        return _sections().get(self.section, {})

    @property
    def offered(self) -> bool:
        """Whether this version has such devices at all."""
        return bool(self.keys)


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
            "monitoringMode": Setting(
                same=("single",),
                only_with="enableMonitoring",
                instead="there is one gpu.intel.com/monitoring for all drivers: let pods request that",
            ),
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
            "dcapInfraResources": Setting(
                same=(False,),
                instead="sgx.intel.com/qe and sgx.intel.com/registration are not offered: let pods request "
                "sgx.intel.com/enclave and sgx.intel.com/provision",
            ),
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
            "driver": Setting(
                default="idxd",
                same=("idxd",),
                decides=True,
                instead="dsa.intel.com/vfio is not offered by this version: keep the old plugin for it",
            ),
            "sharedDevNum": _SHARED,
            "initImage": Setting(instead=_QUEUES),
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
    ),
    Kind(name="NpuDevicePlugin", section="npu", label="npu", settings={"sharedDevNum": _SHARED}),
    Kind(name="DlbDevicePlugin", section="dlb", label="dlb", settings={"initImage": Setting(instead=_FUNCTIONS)}),
    Kind(
        name="FpgaDevicePlugin",
        section="fpga",
        label="fpga-arria10",
        settings={
            "mode": Setting(default="af"),
            "initImage": Setting(instead="the agent installs no hook for programming on the node: install it yourself"),
        },
        beyond="the operator's webhook, which translates the names of AcceleratorFunctions and FpgaRegions, is not "
        "replaced: let pods request the resources that `intel-agent devices` lists",
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
    if not kind.offered:
        yield f"This version has no section `devices.{kind.section}`: keep the old plugin; its fields become comments."
        return
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
    same = " or ".join(f"`{scalar(each)}`" for each in setting.same)
    return f"nothing for {same}; otherwise: {setting.instead}" if same else f"none: {setting.instead}"


def _sections() -> Mapping[str, Mapping[str, Json]]:
    """Return the sections of `devices` with their keys and defaults."""
    defaults = Devices()
    return {
        name: _defaults(section)
        for name in defaults.__struct_fields__
        if isinstance(section := getattr(defaults, name), Backend)
    }


def _defaults(section: Backend) -> Mapping[str, Json]:
    data: dict[str, Json] = msgspec.to_builtins(section)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}


def sections() -> tuple[str, ...]:
    """Return the keys below `devices`."""
    return tuple(_sections())
