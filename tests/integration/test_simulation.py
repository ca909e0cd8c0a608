"""`simulation.node`: a packaged machine is served instead of the node's own devices, without any privilege."""

import json
import os
from pathlib import Path

import pytest

from intel_agent.simulation.kubelet import SimulatedKubelet

from .node import EVERYTHING, SHARED_DSA, XE, Node
from .process import process

pytestmark = pytest.mark.anyio


def configure(node: Node, machine: str) -> None:
    config = json.loads(node.config.read_text())
    node.write_config(json.dumps(config | {"simulation": {"node": machine}, "devices": {"gpu": {"cdi": "both"}}}))


def arguments(node: Node) -> list[str]:
    return ["--runtime-directory", str(node.base / "run")]


@pytest.mark.parametrize("machine", ["empty"])
async def test_pods_get_pretended_devices_that_are_dev_null(node: Node, kubelet: SimulatedKubelet) -> None:
    configure(node, "everything")
    # As in a container: nobody may make device nodes.
    unprivileged = ["setpriv", "--bounding-set=-mknod"] if os.geteuid() == 0 else []
    with process(node, before=unprivileged, arguments=arguments(node)) as agent:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        card = await kubelet.admit("card", {XE: 1})
        queue = await kubelet.admit("queue", {SHARED_DSA: 1})
        nodes = {each.path: each.host_path for each in (*card.device_nodes, *queue.device_nodes)}
        assert {"/dev/dri/card0", "/dev/dri/renderD128", "/dev/dsa/wq0.0"} <= nodes.keys()
        assert {*nodes.values(), *(each.host_path for each in card.mounts)} == {"/dev/null"}
        (spec,) = [json.loads(path.read_bytes()) for path in node.cdi.glob("*.json")]
        in_files = [each for device in spec["devices"] for each in device["containerEdits"]["deviceNodes"]]
        assert {"/dev/dri/card0"} <= {each["path"] for each in in_files}
        assert {each["hostPath"] for each in in_files} == {"/dev/null"}
        (started,) = agent.lines("simulation.started")
        assert started.level == "warning"
        (made,) = Path(node.base, "run", "simulation").iterdir()
        assert (made / "dev/dri/card0").read_text() == "c 226:0\n" or not unprivileged
        assert await agent.stop() == 0
    assert list(Path(node.base, "run", "simulation").iterdir()) == []
    assert kubelet.violations == []


async def test_a_change_needs_a_restart_and_says_so(node: Node, kubelet: SimulatedKubelet) -> None:
    with process(node) as agent:
        await kubelet.wait_for(lambda seen: XE in seen)
        configure(node, "laptop")
        (line,) = await agent.until_logged("config.reloaded")
        assert line.restart_needed is True
        assert agent.lines("simulation.started") == []


async def test_a_place_that_cannot_be_written_ends_the_agent(node: Node) -> None:
    configure(node, "laptop")
    (node.base / "run").write_text("no directory")
    with process(node, arguments=arguments(node)) as agent:
        assert await agent.wait() == 1
        assert "intel-agent: " in agent.output.read_text()
        assert "the pretended machine needs a directory that can be written" in agent.output.read_text()
