"""FPGA regions: the runtime runs the hook before the container starts, and shows it the ports of the container."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from intel_agent.simulation.disk import materialise
from intel_agent.simulation.fpgas import Fpga, Port
from intel_agent.simulation.machines import at

from .agent import Agent
from .machine import Machine
from .node import POD_SECONDS, Node
from .pods import container
from .waiting import eventually

INTERFACE, AFU = "ce48969398f05f33946d560708be108a", "d8424dc4a4a3c413f89e433683f9040b"
REGION = f"fpga.intel.com/region-{INTERFACE}"
AF = "fpga.intel.com/af-ce4.d84.zkiWk5jwXzOUbVYHCL4QithCTcSko8QT-J5DNoP5BAs"
CARD = Fpga(at("0000:d8:00.0"), 0, 0, INTERFACE, [Port(0, 0, AFU), Port(1, 1, AFU)])
PORTS = {"/dev/dfl-port.0": (235, 0), "/dev/dfl-port.1": (235, 1)}
WANTED = {"FPGA_REGION_1": INTERFACE, "FPGA_AFU_1": AFU}


class Device(msgspec.Struct, frozen=True):
    """A device node as a runtime's configuration has it."""

    path: str
    major: int = 0
    minor: int = 0


class Linux(msgspec.Struct, frozen=True):
    devices: tuple[Device, ...] = ()


class Process(msgspec.Struct, frozen=True):
    env: tuple[str, ...] = ()


class Bundle(msgspec.Struct, frozen=True):
    """What a hook finds of the container in its bundle."""

    process: Process
    linux: Linux


@pytest.fixture
def card(machine: Machine) -> None:
    """Put a card into the machine."""
    materialise("".join(f"{line}\n" for line in CARD.lines()), machine.root)


class HookProgram:
    """A hook that keeps what it was told: the state on its input, and the container's bundle."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.path = directory / "hook"
        self._seen = directory / "config.json"
        self.path.write_text(
            "#!/bin/sh -e\n"
            'bundle=$(sed -n \'s/.*"bundle" *: *"\\([^"]*\\)".*/\\1/p\')\n'
            f'cp "$bundle/config.json" {self._seen}.draft\n'
            f"mv {self._seen}.draft {self._seen}\n"
        )
        self.path.chmod(0o755)

    @property
    def ran(self) -> bool:
        return self._seen.exists()

    @property
    def seen(self) -> Bundle:
        return msgspec.json.decode(self._seen.read_bytes(), type=Bundle)


@pytest.fixture
def hook(node: Node, machine: Machine) -> HookProgram:
    return HookProgram(node.base / f"{machine.root.name}-hook")


def until_offered(node: Node, resource: str, ids: frozenset[str]) -> None:
    eventually(lambda: node.pod_resources.allocatable().get(resource) == ids, resource, within=10)


def nlb(resource: str) -> dict[str, object]:
    env = [{"name": name, "value": value} for name, value in WANTED.items()]
    return {**container({resource: 1}), "env": env}


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("use", ["none", "names", "both"])
def test_the_runtime_runs_the_hook_with_the_ports_of_the_region(
    node: Node, hook: HookProgram, start_agent: Callable[..., Agent], use: str
) -> None:
    start_agent(fpga={"mode": "region", "cdi": use, "hook": str(hook.path)})
    until_offered(node, REGION, frozenset({"dfl-fme.0"}))
    assert not hook.ran

    pod = node.apply([nlb(REGION)]).until_running()

    report = pod.report()
    assert report.devices == PORTS
    assert all(report.permitted(path) for path in PORTS)
    devices = [each for each in hook.seen.linux.devices if "fpga" in each.path or "dfl" in each.path]
    assert sorted((each.path, (each.major, each.minor)) for each in devices) == sorted(PORTS.items())
    annotations = node.runtime.annotations(pod.status.container.id)
    assert annotations["com.intel.fpga.mode"] == "fpga.intel.com/region"
    assert set(hook.seen.process.env) >= {f"{name}={value}" for name, value in WANTED.items()}


@pytest.mark.usefixtures("card")
def test_without_the_program_the_container_does_not_start_and_the_pod_says_why(
    node: Node, start_agent: Callable[..., Agent]
) -> None:
    start_agent(fpga={"mode": "region", "hook": "/opt/no/such/hook"})
    until_offered(node, REGION, frozenset({"dfl-fme.0"}))
    pod = node.apply([nlb(REGION)])

    def said() -> bool:
        waiting = [entry.state.waiting for entry in pod.status.container_statuses]
        return any(each is not None and "/opt/no/such/hook: no such file" in each.message for each in waiting)

    eventually(said, "the program's name in the pod's status", within=POD_SECONDS)


@pytest.mark.usefixtures("card")
def test_a_container_gets_the_port_of_an_accelerator(node: Node, start_agent: Callable[..., Agent]) -> None:
    start_agent()
    until_offered(node, AF, frozenset({"dfl-port.0", "dfl-port.1"}))
    pod = node.run({AF: 2}).until_running()

    assert pod.report().devices == PORTS
    assert pod.devices == {"dfl-port.0", "dfl-port.1"}
