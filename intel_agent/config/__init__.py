"""The configuration: one YAML file, strict, with defaults that work without any file.

`load` reads it, `schema` and `reference` describe it, `show` prints what is in force.
A new kind of device is one line in `Devices`.
"""

from intel_agent.config.file import Loaded, load, parse
from intel_agent.config.schema import reference, schema
from intel_agent.config.sections import Cdi, Config, Devices, Health, Kubelet, Log
from intel_agent.config.show import changed, show

__all__ = [
    "Cdi",
    "Config",
    "Devices",
    "Health",
    "Kubelet",
    "Loaded",
    "Log",
    "changed",
    "load",
    "parse",
    "reference",
    "schema",
    "show",
]
