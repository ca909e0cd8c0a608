"""The commands of the documentation that are about a node, typed on a simulated one where the agent runs.

Where the node and the agent's files are, which the pages need not say, is added to them, and `sudo` does nothing.
"""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anyio import to_thread
from documented import Block, Command, Place, prints, runs
from shell import Shell, ours

from intel_agent import control
from intel_agent.simulation.kubelet import SimulatedKubelet

from .node import EVERYTHING, XE, Node
from .process import process
from .waiting import until

pytestmark = pytest.mark.anyio

CODES = {"devices": {0}, "doctor": {0, 1}, "status": {0}, "explain": {0}, "mark": {0}}
"""How commands may end. The node is none that doctor finds sound: its kubelet is a simulated one."""

AN_EXAMPLE = {"devices", "doctor", "status", "explain"}
"""What prints something else on every node: compared is only in which words it heads its tables."""

CTRL_C = 130


def headings(text: str) -> set[str]:
    """Return the lines that head tables, and how `explain` heads its parts, however wide they are."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    parts = re.findall("^  (seen|judged|decided by|offered|allocated)  ", text, re.MULTILINE)
    return {*parts, *(line for line in lines if re.fullmatch("[A-Z]+(?: [A-Z]+)+", line))}


@pytest.fixture
async def shell(node: Node, kubelet: SimulatedKubelet, tmp_path: Path) -> AsyncIterator[Shell]:
    """Give a shell on a node whose agent is ready, and where a pod has a card that a rule decided about."""
    del kubelet
    node.configure(devices={"gpu": {"rules": [{"match": {"driver": "xe"}, "shares": 2}]}})
    with process(node) as agent:
        await agent.until_logged("resource.registered", times=len(EVERYTHING))
        await until((node.runtime / control.NAME).exists, "the socket")
        (directory := tmp_path / "here").mkdir()
        shell = ours(directory, tmp_path)
        where = f"--runtime-directory {node.runtime}"
        look = f"--config {node.config} --root {node.root} --host-root {node.root} --state-directory {node.state}"
        shell.tool("node-agent", (shell.tools / "intel-agent").read_text().partition("\n")[2])
        shell.tool(
            "intel-agent",
            f'case "$1" in devices|doctor) set -- "$@" {look} ;; esac; exec node-agent "$@" {where}',
        )
        shell.tool("sudo", 'exec "$@"')
        yield shell


async def typed(shell: Shell, command: Command) -> None:
    """Run it, and look whether it ends and prints as the page says."""
    word = re.search(r"intel-agent (\w+)", command.text)
    assert word is not None
    watching = "--watch" in command.text
    ended = await to_thread.run_sync(lambda: shell.run(command.text, until="HELD BY" if watching else None))
    assert ended.code in ({CTRL_C} if watching else CODES[word[1]]), f"{command.text}: {ended.output}"
    if word[1] in AN_EXAMPLE:
        found = headings(ended.output)
        assert [each for each in headings(command.output) if not any(each in other for other in found)] == []
    else:
        assert prints(ended.output, command.output), ended.output


@pytest.mark.parametrize("block", runs(Place.AGENT), ids=str)
async def test_it_does_what_the_page_says(block: Block, shell: Shell, kubelet: SimulatedKubelet) -> None:
    await kubelet.wait_for(lambda there: XE in there and there[XE].allocatable == 2, deadline=30)
    await kubelet.admit("train", {XE: 1})
    if any("| jq " in each.text for each in block.commands) and shutil.which("jq") is None:
        pytest.skip("needs jq")
    for command in block.of(Place.AGENT):
        await typed(shell, command)
