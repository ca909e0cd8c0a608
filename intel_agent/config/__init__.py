"""The configuration: one YAML file, strict, with defaults that work without any file.

`load` reads it, `schema` and `reference` describe it, `show` prints what is in force.
A new kind of device is one line in `Devices`.
"""

from intel_agent.config.file import Loaded, load, parse
from intel_agent.config.overlay import matching, of_node
from intel_agent.config.schema import reference, schema
from intel_agent.config.sections import (
    Cdi,
    Config,
    Devices,
    Health,
    Kubelet,
    Log,
    NodeOverride,
    Simulation,
    StartupTaint,
)
from intel_agent.config.selector import Labels, Selector, labels
from intel_agent.config.show import changed, show

__all__ = [
    "Cdi",
    "Config",
    "Devices",
    "Health",
    "Kubelet",
    "Labels",
    "Loaded",
    "Log",
    "NodeOverride",
    "Selector",
    "Simulation",
    "StartupTaint",
    "changed",
    "labels",
    "load",
    "matching",
    "of_node",
    "parse",
    "reference",
    "schema",
    "show",
]
