"""The list of what the image is made of: CycloneDX 1.6, as JSON.

A component `pkg:pypi` is a distribution of Python's, `pkg:deb` a package of Debian's that the image has files of.
Where no package has the interpreter, it is the component `pkg:generic/python`.
"""

import json
import platform
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import TypeAlias
from urllib.parse import quote

from assemble.packages import Package

Json: TypeAlias = "str | int | list[Json] | dict[str, Json]"

PLACE = "usr/share/sbom/intel-agent.cdx.json"

NAMESPACE = uuid.UUID("5e0a9d6c-8f1b-5a53-9d0e-4a0f6a1d7c11")
"""For serial numbers: the same contents have the same number."""


def sbom(
    distributions: Iterable[metadata.Distribution],
    packages: Iterable[Package],
    *,
    release: str,
    architecture: str,
    epoch: int,
) -> str:
    """Return the list as text. The same contents give the same text.

    `release` is the distribution of the base, such as `debian-12`; `epoch` is when the list is said to be made.
    """
    python = [_of_distribution(each) for each in distributions]
    debian = [_of_package(each, release) for each in packages]
    if not any(str(each["name"]).startswith("python3") for each in debian):
        debian.append(_interpreter())
    components = sorted([*python, *debian], key=lambda each: str(each["purl"]))
    agent = next(each for each in components if each["name"] == "intel-agent")
    image = {
        "type": "container",
        "bom-ref": f"image/{architecture}",
        "name": "intel-agent",
        "version": agent["version"],
    }
    contents = "\n".join([architecture, *(str(each["purl"]) for each in components)])
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, contents)}",
        "version": 1,
        "metadata": {"timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(), "component": image},
        "components": components,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}],
    }
    return json.dumps(whole, indent=1) + "\n"


def _of_distribution(distribution: metadata.Distribution) -> dict[str, Json]:
    name = distribution.name.lower().replace("_", "-")
    component = _component("library", distribution.name, distribution.version, f"pkg:pypi/{name}")
    if expression := distribution.metadata.get_all("License-Expression"):
        component["licenses"] = [{"expression": str(expression[0])}]
    elif (named := distribution.metadata.get_all("License")) and "\n" not in named[0]:
        component["licenses"] = [{"license": {"name": str(named[0])}}]
    return component


def _of_package(package: Package, release: str) -> dict[str, Json]:
    qualifiers = f"arch={package.architecture}&distro={quote(release)}"
    return _component("library", package.name, package.version, f"pkg:deb/debian/{package.name}", qualifiers)


def _interpreter() -> dict[str, Json]:
    return _component("platform", "python", platform.python_version(), "pkg:generic/python")


def _component(kind: str, name: str, version: str, purl: str, qualifiers: str = "") -> dict[str, Json]:
    url = f"{purl}@{quote(version, safe=':')}" + (f"?{qualifiers}" if qualifiers else "")
    return {"type": kind, "bom-ref": url, "name": name, "version": version, "purl": url}
