"""Devices that fall ill under pods and get well again, whoever says so: what kubelet makes of it."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from integration.judge import about, xpumd

from .agent import LINGER_SECONDS, RESCAN_SECONDS, Agent
from .machine import DEDICATED, DEDICATED_QUEUE, XE, Machine
from .node import Node, StaticPod, unhealthy
from .waiting import always, eventually

CARD = "0000:4d:00.0"
"""The card that xe drives: card2."""
UNIT = DEDICATED_QUEUE.rpartition("/")[0]
"""The accelerator that the dedicated queue is of."""
NOTICED_SECONDS = 5.0
"""How long it may take from the first sign to the pod's status: a look each second, and kubelet's own."""
RECOVERY_SECONDS = 2
"""How long a device has to be well again."""


class Case(NamedTuple):
    """A way to be ill: the device's resource, and what it takes, until the block ends."""

    resource: str
    ill: Callable[[Agent, Machine, Path], AbstractContextManager[None]]


@contextmanager
def marked(agent: Agent, machine: Machine, judge: Path) -> Generator[None]:
    del machine, judge
    agent.mark(CARD, "unhealthy")
    try:
        yield
    finally:
        agent.mark(CARD, "auto")


@contextmanager
def halted(agent: Agent, machine: Machine, judge: Path) -> Generator[None]:
    del agent, judge
    machine.change(f"{UNIT}/state", "halted")
    yield
    machine.change(f"{UNIT}/state", "enabled")


@contextmanager
def judged(agent: Agent, machine: Machine, judge: Path) -> Generator[None]:
    del machine
    with xpumd(judge, about(CARD, {"memory": 4})) as daemon:
        yield
        daemon.say(about(CARD, {"memory": 1}))
        eventually(lambda: agent.offered()[XE], "its card to be well", within=RECOVERY_SECONDS + NOTICED_SECONDS)


CASES = [
    pytest.param(Case(XE, marked), id="an administrator marks it"),
    pytest.param(Case(DEDICATED, halted), id="its driver halts it"),
    pytest.param(Case(XE, judged), id="xpumd gives it up"),
]


@pytest.fixture
def judge(node: Node) -> Path:
    """Return where xpumd may listen."""
    return node.base / "xpumd.sock"


@pytest.fixture
def agent(start_agent: Callable[..., Agent], judge: Path) -> Agent:
    health: Mapping[str, object] = {
        "rescanSeconds": RESCAN_SECONDS,
        "lingerSeconds": LINGER_SECONDS,
        "readDeadlineSeconds": 60,
        "recoverySeconds": RECOVERY_SECONDS,
        "xpumd": {"socket": str(judge)},
    }
    return start_agent(top={"health": health}).until_offered()


def until_health(pod: StaticPod, health: str, *, within: float = NOTICED_SECONDS) -> None:
    wanted = dict.fromkeys(pod.devices, health)
    eventually(lambda: pod.status.container.health == wanted, f"{wanted} in the pod's status", within=within)


@pytest.mark.parametrize("case", CASES)
def test_a_sick_device_shows_in_its_pods_status_and_is_given_to_nobody_until_it_is_well(
    node: Node, machine: Machine, agent: Agent, judge: Path, case: Case
) -> None:
    holder = node.run({case.resource: 1}).until_running()
    before = holder.status.container
    until_health(holder, "Healthy")
    with case.ill(agent, machine, judge):
        until_health(holder, "Unhealthy")
        eventually(lambda: not agent.offered()[case.resource], "nothing allocatable", within=NOTICED_SECONDS)
        always(lambda: holder.status.container.health == dict.fromkeys(holder.devices, "Unhealthy"), "ill", during=2)
        assert node.run({case.resource: 1}).until_refused() == unhealthy(case.resource)
    until_health(holder, "Healthy", within=RECOVERY_SECONDS + NOTICED_SECONDS)
    after = holder.status.container
    assert (after.container_id, after.restart_count) == (before.container_id, before.restart_count)
    agent.until_offered()
    holder.remove()
    node.run({case.resource: 1}).until_running()
