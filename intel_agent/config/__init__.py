"""The configuration: one YAML file, strict, with defaults that work without any file.

`load` reads it, `schema` and `reference` describe it, `show` prints what is in force.
A new kind of device is one line in `Devices`.
"""

from intel_agent.config.advice import warnings
from intel_agent.config.file import Loaded, load, parse
from intel_agent.config.further import Whole, whole
from intel_agent.config.overlay import matching, of_node
from intel_agent.config.schema import reference, schema
from intel_agent.config.sections import (
    Cdi,
    Config,
    DeviceInfo,
    Devices,
    Eviction,
    FaultTaint,
    Health,
    Kubelet,
    KubernetesEvents,
    Log,
    NodeCondition,
    NodeOverride,
    Simulation,
    StartupTaint,
)
from intel_agent.config.selector import Labels, Selector, labels
from intel_agent.config.show import changed, show

__all__ = [
    "Cdi",
    "Config",
    "DeviceInfo",
    "Devices",
    "Eviction",
    "FaultTaint",
    "Health",
    "Kubelet",
    "KubernetesEvents",
    "Labels",
    "Loaded",
    "Log",
    "NodeCondition",
    "NodeOverride",
    "Selector",
    "Simulation",
    "StartupTaint",
    "Whole",
    "changed",
    "labels",
    "load",
    "matching",
    "of_node",
    "parse",
    "reference",
    "schema",
    "show",
    "warnings",
    "whole",
]
