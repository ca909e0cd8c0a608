"""What Node Feature Discovery sees of a node, and what its own judge makes of that with the chart's rules."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import yaml

from intel_agent.simulation.tree import File, Tree

from .helm import CHART, built

RULES = yaml.safe_load((CHART / "files" / "node-feature-rules.yaml").read_text())
FEATURE = "intel.feature.node.kubernetes.io"
_FUNCTION = re.compile(r"(/sys/devices/.*/[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])/class")


def pci_devices(machine: Tree) -> list[dict[str, str]]:
    """Return the functions of a machine as NFD's worker names them: four digits of the class, ids without 0x."""
    functions = [match[1] for path in machine.entries if (match := _FUNCTION.fullmatch(path))]
    return [
        {
            "class": _text(machine, f"{each}/class")[2:6],
            "vendor": _text(machine, f"{each}/vendor")[2:],
            "device": _text(machine, f"{each}/device")[2:],
        }
        for each in functions
    ]


def _text(machine: Tree, path: str) -> str:
    entry = machine.entries[path]
    assert isinstance(entry, File)
    return entry.content.decode().strip()


class Answer(NamedTuple):
    """What a node gets."""

    labels: Mapping[str, str]
    resources: Mapping[str, str]


class Processor(NamedTuple):
    """What NFD's worker finds of SGX: by default all that the rule asks for."""

    instructions: tuple[str, ...] = ("SGX", "SGXLC")
    enabled: str = "true"
    configuration: tuple[str, ...] = ("X86_SGX",)


NO_SGX = Processor(instructions=(), enabled="false")


def judged(devices: Iterable[Mapping[str, str]], modules: Iterable[str], processor: Processor = NO_SGX) -> Answer:
    """Return what a node gets with these PCI functions, loaded kernel modules and processor."""
    features = {
        "flags": {
            "kernel.loadedmodule": _flags(modules),
            "cpu.cpuid": _flags(processor.instructions),
        },
        "attributes": {
            "cpu.security": {"elements": {"sgx.enabled": processor.enabled}},
            "kernel.config": {"elements": dict.fromkeys(processor.configuration, "y")},
        },
        "instances": {"pci.device": {"elements": [{"attributes": each} for each in devices]}},
    }
    question = json.dumps({"rules": RULES, "nodes": [features]})
    done = subprocess.run([built("nfd") / "nfd"], input=question, stdout=subprocess.PIPE, check=True, text=True)
    (answer,) = json.loads(done.stdout)
    return Answer(answer["labels"], answer["extendedResources"])


def _flags(names: Iterable[str]) -> dict[str, dict[str, dict[str, str]]]:
    return {"elements": {each: {} for each in names}}
