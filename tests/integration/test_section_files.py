"""A section that a file of its own continues: the file is followed as the configuration is."""

import json
from pathlib import Path

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import Node
from .running import running
from .waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("machine", ["fpga"])]

ONE, OTHER = "intel.com/one", "intel.com/other"


def write(path: Path, name: str, **selector: object) -> None:
    """Write the existing plugin's file at one stroke; accelerators need no netlink."""
    pool = {"resourceName": name, "deviceType": "accelerator", "selectors": selector}
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"resourceList": [pool]}))
    draft.replace(path)


def configured(node: Node) -> Path:
    """Configure a file for each node, in a directory of its own, and return this node's."""
    directory = node.base / "pcidp"
    directory.mkdir()
    others = {kind: {"enabled": False} for kind in ("gpu", "sgx", "dsa", "iaa", "fpga")}
    node.configure(devices={**others, "nic": {"configFile": f"{directory}/$(NODE_NAME)"}})
    return directory / "node-7"


ENVIRONMENT = {"NODE_NAME": "node-7"}


async def test_a_file_of_the_existing_plugin_takes_effect_and_its_changes_do(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    file = configured(node)
    write(file, "one", vendors=["8086"])
    async with running(node, environment=ENVIRONMENT) as agent:
        await agent.until_registered([ONE])
        devices = set(agent.health(ONE))
        assert devices
        assert node.socket(ONE).name == "intel.com_one.sock"
        await until(lambda: not agent.agent.unready, "readiness")

        write(file, "other", vendors=["8086"])
        await agent.until_registered([OTHER])
        assert set(agent.health(OTHER)) == devices
        await kubelet.wait_for(lambda seen: seen[ONE].allocatable == 0)
    assert [line.restart_needed for line in await log.lines("config.reloaded")] == [False]


@pytest.mark.usefixtures("kubelet")
async def test_a_broken_file_is_refused_and_the_last_good_one_stays(node: Node, log: Log) -> None:
    file = configured(node)
    write(file, "one", vendors=["8086"])
    async with running(node, environment=ENVIRONMENT) as agent:
        await agent.until_registered([ONE])
        file.write_text("{")
        await until(lambda: agent.agent.section_files.problems, "problem")
        problem = f"{file}: line 1: found no JSON (expecting property name enclosed in double quotes)"
        assert problem in agent.agent.unready
        assert ONE in agent.registered

        write(file, "other", vendors=["8086"], vendor=["x"])
        await agent.until_registered([OTHER])
        await until(lambda: not agent.agent.unready, "readiness")
    assert [[*line.problems] for line in await log.lines("config.refused")] == [[problem]]
    said = "resourceList[0].selectors.vendor: found an unknown key, which is ignored; did you mean vendors?"
    assert [line.problem for line in await log.lines("setting.ignored")] == [said]


@pytest.mark.usefixtures("kubelet")
async def test_a_file_that_comes_later_is_noticed(node: Node, log: Log) -> None:
    file = configured(node)
    async with running(node, environment=ENVIRONMENT) as agent:
        await until(lambda: agent.agent.section_files.whole, "look at the file")
        assert "nic" not in agent.agent.scanner.backends

        def written() -> bool:
            """Write again and again: nobody tells when the directory begins to be watched."""
            write(file, "one", vendors=["8086"])
            return ONE in agent.registered

        await until(written, "registration")
    assert [line.problem for line in await log.lines("setting.ignored")] == ["no such file, so nic offers nothing"]
