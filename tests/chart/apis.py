"""What Kubernetes and others allow in their objects: the published descriptions, made strict."""

import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml
from jsonschema import Draft7Validator, ValidationError

from intel_agent.config.schema import Json, Schema, entries

from .helm import HERE, Object

KUBERNETES = HERE.parents[0] / "e2e" / "kubernetes"


def problems(thing: Object) -> list[str]:
    """Return everything in the object that its API does not know or not allow."""
    version, kind = str(thing["apiVersion"]), str(thing["kind"])
    return complaints(_custom().get(kind) or _builtin(version, kind), thing)


def complaints(schema: Schema, thing: object) -> list[str]:
    """Return where and why the schema does not allow the thing."""
    found: Iterator[ValidationError] = Draft7Validator(schema).iter_errors(thing)  # type: ignore[arg-type,unused-ignore]  # pyright: ignore[reportUnknownMemberType,reportArgumentType]  # its types are for plain JSON only
    return [f"{each.json_path}: {each.message}" for each in found]


@functools.cache
def _builtin(version: str, kind: str) -> dict[str, Json]:
    """Return the schema of one of Kubernetes' own kinds, as the release publishes it that the e2e tests run."""
    name = f"{'apis__' if '/' in version else 'api__'}{version.replace('/', '__')}_openapi.json"
    whole = json.loads((source() / "api" / "openapi-spec" / "v3" / name).read_text())
    group, _, number = version.rpartition("/")
    marks = {"group": group, "version": number, "kind": kind}
    schemas = whole["components"]["schemas"]
    (found,) = (key for key, each in schemas.items() if marks in each.get("x-kubernetes-group-version-kind", ()))
    closed: dict[str, Json] = {str(key): _closed(each) for key, each in schemas.items()}
    return {"$ref": f"#/components/schemas/{found}", "components": {"schemas": closed}}


@functools.cache
def source() -> Path:
    """Return the directory of Kubernetes' sources, as the end-to-end tests pin them."""
    command = ["go", "mod", "download", "-json", "k8s.io/kubernetes"]
    answer = subprocess.run(command, cwd=KUBERNETES, check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(answer.stdout)["Dir"])


@functools.cache
def _custom() -> dict[str, dict[str, Json]]:
    definitions = [yaml.safe_load(each.read_text())["spec"] for each in sorted((HERE / "crds").glob("*.yaml"))]
    return {each["names"]["kind"]: _closed(each["versions"][0]["schema"]["openAPIV3Schema"]) for each in definitions}


def _closed(value: Json) -> dict[str, Json]:
    """Return the schema with every object closed that names its properties; `nullable` becomes JSON Schema's word."""
    part = {key: _inside(each) for key, each in entries(value).items()}
    if isinstance(part.get("properties"), dict) and "type" in part:
        part.setdefault("additionalProperties", False)
    if part.get("nullable") is True:
        part["type"] = [part["type"], "null"]
    return part


def _inside(value: Json) -> Json:
    if isinstance(value, list):
        return [_inside(each) for each in value]
    return _closed(value) if isinstance(value, dict) else value
