"""A kubelet for doctor to ask, and doctor as the command line has it."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from anyio import from_thread
from integration.apiserver import apiserver
from machines import put

from intel_agent.cli import main
from intel_agent.publish import probe
from intel_agent.simulation.kubelet import SimulatedKubelet

from .nodes import Broken, machine


@dataclass(frozen=True)
class Place:
    """Where a kubelet is."""

    directory: Path
    pod_resources: Path
    runtime: Path
    """The agent's own directory."""

    @property
    def section(self) -> dict[str, str]:
        return {"devicePluginDirectory": str(self.directory), "podResourcesSocket": str(self.pod_resources)}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have doctor wait for answers, however much the machine has to do."""
    monkeypatch.setattr(probe, "DEADLINE", 60.0)
    monkeypatch.setattr("intel_agent.publish.kubelet.IDENTIFY_DEADLINE", 60.0)
    monkeypatch.setattr("intel_agent.cluster.api.DEADLINE", 60.0)


@pytest.fixture(scope="package")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a simulated kubelet that runs in a thread of its own."""
    base = tmp_path_factory.mktemp("k")
    place = Place(base / "dp", base / "pr" / "kubelet.sock", base / "run")
    place.directory.mkdir()
    place.pod_resources.parent.mkdir()
    with from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(_running(place)):
        yield place


@asynccontextmanager
async def _running(place: Place) -> AsyncGenerator[None]:
    async with SimulatedKubelet(place.directory, place.pod_resources):
        yield


@dataclass(frozen=True)
class Outcome:
    """What the command printed as JSON, and its exit code."""

    code: int
    report: dict[str, Any]

    @property
    def findings(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.report["findings"]
        return found


Doctor = Callable[..., Outcome]


@pytest.fixture
def doctor(
    tmp_path: Path, kubelet: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Doctor]:
    """Give what makes a machine, breaks it, and runs doctor on it."""
    served = ExitStack()
    account = tmp_path / "account"

    def run(broken: Broken, place: Place = kubelet) -> Outcome:
        root = tmp_path / "node"
        put(machine(broken.machine), root)
        for change in broken.changes:
            change(root)
        config = tmp_path / "config.yaml"
        config.write_text(
            f"devices: {broken.devices}\n" + yaml.safe_dump({"kubelet": place.section, **broken.sections}),
            encoding="utf-8",
        )
        if broken.api is not None:
            api = served.enter_context(apiserver(account))
            api.labels, api.kubelet, api.fails = dict(broken.api.labels), broken.api.kubelet, broken.api.fails
            for name, value in api.environment.items():
                monkeypatch.setenv(name, value)
        directories = ["--runtime-directory", str(place.runtime), "--state-directory", str(place.runtime)]
        directories += ["--account-directory", str(account)]
        code = main(["doctor", "--root", str(root), "--config", str(config), "-o", "json", *directories])
        return Outcome(code, json.loads(capsys.readouterr().out))

    with served:
        yield run
