"""The simulated kubelet says of the agent what the real one says."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from .agent import Agent
from .judges import Judge, RealJudge, simulated_judge
from .machine import CARD0, DEDICATED, DEDICATED_QUEUE, ENCLAVE, I915, OFFER, SHARED, XE, Machine
from .node import Node

Scenario = Callable[[Judge, Agent, Machine], list[str]]
NO_QUEUE = {DEDICATED: frozenset[str]()}


def contention(judge: Judge, agent: Agent, _: Machine) -> list[str]:
    agent.until_offered()
    said = [judge.admit("all", dict.fromkeys(OFFER, 1)), judge.admit("late", {DEDICATED: 1})]
    said += [judge.admit(f"share {number}", {SHARED: 1}) for number in range(4)]
    judge.release("all")
    return [*said, judge.admit("next", {DEDICATED: 1}), judge.admit("two", {I915: 2}), judge.admit("many", {XE: 3})]


def unplug(judge: Judge, agent: Agent, machine: Machine) -> list[str]:
    agent.until_offered()
    said = [judge.admit("holder", {DEDICATED: 1})]
    queue = machine.unplug(DEDICATED_QUEUE)
    card = machine.unplug(CARD0)
    agent.until_offered({**NO_QUEUE, I915: frozenset({"card1-0", "card1-1"})})
    said += [judge.admit("early", {DEDICATED: 1}), judge.admit("cards", {I915: 3}), judge.admit("card", {I915: 1})]
    machine.plug(queue)
    machine.plug(card)
    agent.until_offered()
    said += [judge.admit("still held", {DEDICATED: 1})]
    judge.release("holder")
    return [*said, judge.admit("next", {DEDICATED: 1})]


def restarts(judge: Judge, agent: Agent, _: Machine) -> list[str]:
    agent.until_offered()
    said = [judge.admit("holder", {DEDICATED: 1, ENCLAVE: 2})]
    judge.restart()
    agent.until_offered()
    said += [judge.admit("after kubelet", {DEDICATED: 1})]
    agent.process.kill()
    agent.start().until_offered()
    said += [judge.admit("after a crash", {DEDICATED: 1})]
    assert agent.process.stop() == 0
    said += [judge.admit("without agent", {I915: 1})]
    agent.start().until_offered()
    return [*said, judge.admit("with agent", {I915: 1})]


@pytest.mark.parametrize("scenario", [contention, unplug, restarts], ids=["contention", "unplug", "restarts"])
def test_both_kubelets_say_the_same(node: Node, scenario: Scenario) -> None:
    with simulated_judge() as simulated:
        assert transcript(scenario, simulated) == transcript(scenario, RealJudge(node))


def transcript(scenario: Scenario, judge: Judge) -> list[str]:
    """Return what a kubelet says in a scenario with a new machine and a new agent."""
    with tempfile.TemporaryDirectory(prefix="e2e-") as root, ExitStack() as end:
        machine = Machine(Path(root))
        agent = Agent(judge.place, machine)
        end.callback(agent.process.kill)
        return scenario(judge, agent.start(), machine)
