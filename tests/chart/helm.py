"""Helm as a program, and what it makes of the chart."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pinned
import yaml

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "charts" / "intel-agent"
VALUES = sorted((HERE / "values").glob("*.yaml"))
VERSIONS = ("helm3", "helm4")
NAMESPACE = "accelerators"

Object = Mapping[str, Any]


class RefusedError(Exception):
    """Expected error: Helm does not take the values; the text is what it says."""


class Rendered(tuple[Object, ...]):
    """All objects that a release would have, hooks too."""

    __slots__ = ()

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(str(each["kind"]) for each in self)

    def one(self, kind: str) -> Object:
        (found,) = (each for each in self if each["kind"] == kind)
        return found

    @property
    def pods(self) -> Iterator[Object]:
        """The specifications of the pods: the agent's, and that of the test if there is one."""
        yield self.agent["spec"]
        yield from (each["spec"] for each in self if each["kind"] == "Pod")

    @property
    def agent(self) -> Object:
        """The template of the agent's pods."""
        template: Object = self.one("DaemonSet")["spec"]["template"]
        return template

    @property
    def file(self) -> str:
        """The agent's configuration file."""
        (text,) = (each["data"]["config.yaml"] for each in self if "config.yaml" in each.get("data", {}))
        return str(text)


def built(name: str) -> Path:
    """Return the folder of the program that `<name>/build.sh` builds, or finds in its cache."""
    return pinned.built(HERE / name)


@dataclass(frozen=True, slots=True)
class Helm:
    """One version of Helm, without any cluster or settings of the user."""

    version: str
    home: Path

    def run(self, *arguments: str | Path) -> str:
        """Return what Helm prints.

        Raises:
            RefusedError: Helm fails.
        """
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        done = subprocess.run(
            [built(self.version) / "helm", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RefusedError(done.stdout + done.stderr)
        return done.stdout

    def render(self, *options: str | Path, release: str = "intel-agent", chart: Path = CHART) -> Rendered:
        text = self.run("template", release, chart, "--namespace", NAMESPACE, *options)
        return Rendered(each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None)

    def notes(self, *options: str | Path) -> str:
        """Return what a person reads after the installation. Helm 3 tells nobody without a cluster."""
        text = self.run("install", "intel-agent", CHART, "--namespace", NAMESPACE, "--dry-run=client", *options)
        return text.partition("\nNOTES:\n")[2]
