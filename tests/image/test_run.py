"""The image at work: in a container as a pod has it."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from intel_agent.cli import main
from intel_agent.simulation.disk import materialise
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.tree import node

from .archive import Archive
from .container import Container

IMPORT_ALL = """
import importlib, pkgutil, intel_agent
for module in pkgutil.walk_packages(intel_agent.__path__, "intel_agent."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""

CONFIGURATION = """\
kubelet: {devicePluginDirectory: /dp, podResourcesSocket: /pr/kubelet.sock}
devices: {gpu: {sharedDevNum: 2}}
"""


def test_knows_its_version(archive: Archive, container: Container) -> None:
    assert container.run("--version") == f"intel-agent {archive.distributions()['intel-agent']}\n"


def test_nothing_that_it_imports_is_left_out(container: Container) -> None:
    modules = container.run("-I", "-c", IMPORT_ALL, entry_point=("python3",)).splitlines()
    assert {"intel_agent.agent", "intel_agent.cli.devices", "intel_agent.demo.picture"} <= set(modules)


def test_tells_its_story(container: Container) -> None:
    story = container.run("demo", "--seconds", "3")
    assert "It is the end" not in story
    assert "The agent has stopped" in story.splitlines()[-1]


@pytest.mark.parametrize("command", [("config", "show"), ("config", "schema"), ("completion", "bash"), ("--help",)])
def test_says_what_a_checkout_says(
    container: Container, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Docstrings are data for some of these: byte code without them would say less."""
    with suppress(SystemExit):  # the parser's way to end after its help
        main(command)
    assert container.run(*command) == capsys.readouterr().out


def test_lists_devices_as_a_table_and_as_yaml(container: Container) -> None:
    assert container.run("devices").split() == ["RESOURCE", "ID", "SHARES", "HEALTH", "NUMA", "NODES"]
    assert json.loads(container.run("devices", "-o", "json"))["devices"] == []
    assert "devices: []" in container.run("devices", "-o", "yaml")


def test_doctor_works_without_kubelet(container: Container) -> None:
    """In a container without the node's trees: it says so, and what keeps it from kubelet."""
    report = json.loads(container.run("doctor", "-o", "json", status=1))
    assert "kubelet-directory" in [each["check"] for each in report["findings"]]
    assert report["couldNotLook"] == []


@pytest.fixture
def mounts(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Give what the agent's pod mounts, of a simulated node."""
    materialise(node("everything"), tmp_path / "host")
    for name in ("dp", "pr", "etc", "run", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "config.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return {
        "/host/sys": (tmp_path / "host" / "sys", "ro"),
        "/host/dev": (tmp_path / "host" / "dev", "ro"),
        "/etc/intel-agent": (tmp_path / "etc", "ro"),
        "/dp": (tmp_path / "dp", "rw"),
        "/pr": (tmp_path / "pr", "ro"),
        "/run/intel-agent": (tmp_path / "run", "rw"),
        "/var/lib/intel-agent": (tmp_path / "state", "rw"),
    }


@pytest.mark.anyio
async def test_serves_kubelet_without_a_capability_on_a_read_only_root(
    container: Container, mounts: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    arguments = ("run", "--config", "/etc/intel-agent/config.yaml", "--root", "/host", "--host-root", "/")
    async with SimulatedKubelet(tmp_path / "dp", tmp_path / "pr" / "kubelet.sock") as kubelet:
        with container.running(*arguments, mounts=mounts, output=output):
            await kubelet.wait_for(lambda resources: "gpu.intel.com/xe" in resources)
            answer = await kubelet.admit("pod", {"gpu.intel.com/xe": 1})
        assert [each.host_path for each in answer.device_nodes] == ["/dev/dri/card0", "/dev/dri/renderD128"]
        # Kubelet would find the nodes: the host's /dev is what the pod has in /host/dev.
        assert [each for each in kubelet.violations if not each.endswith("does not exist on the host")] == []
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line for line in lines if line["level"] in {"warning", "error", "critical"}] == []
