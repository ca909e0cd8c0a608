"""kubelet comes and goes; the agent and the pods stay."""

import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from .agent import Agent
from .machine import DEDICATED, I915, OFFER
from .node import Node, StaticPod, unavailable, unhealthy
from .waiting import PATIENCE, eventually

DIAL_TIMED_OUT = "failed to dial device plugin: context deadline exceeded"
"""What kubelet logs after ten seconds. One that the agent calls off, as its socket was swept, ends at once."""
AGAIN_SECONDS = 5.0
"""How long after its health check a new kubelet may have to wait for all lists."""


def identity(pod: StaticPod) -> tuple[str, frozenset[str]]:
    """Return what must not change for a pod that nobody disturbs: its container and its devices."""
    return pod.status.container.container_id, pod.devices


def refused(agent: Agent) -> set[str]:
    """Return the resources of which the agent says that kubelet does not take them."""
    return {line.resource for line in agent.log() if line.event == "resource.refused"}


def processor_share(agent: Agent, *, during: float) -> float:
    """Measure for so many seconds which share of one processor the agent uses."""
    before = agent.process.cpu_seconds()
    sleep(during)
    return (agent.process.cpu_seconds() - before) / during


def end(node: Node, how: str) -> None:
    {"stop": node.kubelet.stop, "kill": node.kubelet.kill}[how]()


def test_rows_6_and_7_the_agent_waits_for_kubelet_without_end_and_nearly_without_cost(
    node: Node, start_agent: Callable[..., Agent]
) -> None:
    node.kubelet.stop()
    agent = start_agent(rescan_seconds=60)
    # Starting costs more than waiting: the measurement begins when every resource was refused once.
    eventually(lambda: refused(agent) == set(OFFER), "refused resources", within=10)
    shares = [processor_share(agent, during=10) for _ in range(3)]
    node.kubelet.start()
    agent.until_offered(within=10)

    # It looks often at first; one that spins never stops. How much it is exactly, benchmarks/run.py measures.
    assert min(shares) < 0.05


def test_row_9_sockets_that_somebody_removed_are_back_before_the_next_registration(node: Node, agent: Agent) -> None:
    log = node.kubelet.log.stat().st_size
    for path in node.kubelet.device_plugins.glob("*intel.com*.sock"):
        path.unlink()
    node.kubelet.restart()
    agent.until_offered(within=AGAIN_SECONDS)

    assert DIAL_TIMED_OUT not in node.kubelet.log_since(log)


@pytest.mark.parametrize("how", [pytest.param("stop", id="row 10 SIGTERM"), pytest.param("kill", id="row 11 SIGKILL")])
def test_rows_10_and_11_the_agent_registers_again_after_a_kubelet_restart(node: Node, agent: Agent, how: str) -> None:
    process = agent.process.pid
    end(node, how)
    node.kubelet.start()
    agent.until_offered(within=AGAIN_SECONDS)
    node.run({DEDICATED: 1}).until_running()

    assert (agent.process.alive, agent.process.pid) == (True, process)


def test_row_10_no_restart_of_many_costs_kubelet_a_dial_that_times_out(node: Node, agent: Agent) -> None:
    # kubelet sweeps the directory when it starts: a socket bound just before is gone just after.
    log = node.kubelet.log.stat().st_size
    for _ in range(10):
        node.kubelet.restart()
        agent.until_offered(within=AGAIN_SECONDS)

    assert DIAL_TIMED_OUT not in node.kubelet.log_since(log)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_row_12_a_socket_without_a_kubelet_behind_it_does_no_harm(node: Node, agent: Agent, how: str) -> None:
    end(node, how)
    assert node.kubelet.socket.exists()
    agent.process.stop()
    agent.start()
    eventually(lambda: refused(agent) == set(OFFER), "refused resources", within=10)
    node.kubelet.start()
    agent.until_offered(within=AGAIN_SECONDS)


def test_row_13_a_new_socket_with_the_inode_of_the_old_one_is_noticed(node: Node, agent: Agent) -> None:
    path = node.kubelet.socket
    for _ in range(5):  # whatever else runs on the machine may take the free inode first
        inode = path.stat().st_ino
        node.kubelet.stop()
        with socket.socket(socket.AF_UNIX) as listener:
            path.unlink()
            listener.bind(str(path))
            same = path.stat().st_ino == inode
            listener.listen()
            listener.settimeout(PATIENCE)
            connection, _ = listener.accept()
            connection.close()
        node.kubelet.start()
        agent.until_offered(within=AGAIN_SECONDS)
        if same:
            return
    pytest.skip("this file system gives a new file a new inode number")


def removed(directory: Path) -> None:
    """Remove a directory in which the agent makes files at the same time."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def test_row_14_a_directory_that_was_removed_and_made_again_is_noticed(node: Node, agent: Agent) -> None:
    node.kubelet.stop()
    removed(node.kubelet.device_plugins)
    node.kubelet.start()
    agent.until_offered(within=AGAIN_SECONDS)
    node.run({DEDICATED: 1}).until_running()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_row_46_a_pod_keeps_its_device_over_a_kubelet_restart(node: Node, agent: Agent, how: str) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)
    end(node, how)
    node.kubelet.start()
    agent.until_offered(within=AGAIN_SECONDS)
    pod.until_running()

    assert identity(pod) == before
    assert node.run({DEDICATED: 1}).until_refused() == unavailable(DEDICATED)


def test_row_47_a_container_that_restarts_after_kubelet_did_keeps_its_device(node: Node, agent: Agent) -> None:
    pod = node.run({I915: 1}).until_running()
    devices = pod.devices
    node.kubelet.restart()
    agent.until_offered(within=AGAIN_SECONDS)
    pod.until_running()
    container = pod.status.container.container_id
    os.kill(pod.pid, signal.SIGKILL)
    eventually(lambda: pod.status.container.container_id != container, "new container", within=20)
    pod.until_running()

    assert pod.devices == devices


def test_row_49_a_pod_keeps_its_device_over_a_restart_of_kubelet_and_agent(node: Node, agent: Agent) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)
    node.kubelet.stop()
    agent.process.stop()
    node.kubelet.start()
    agent.start().until_offered()
    pod.until_running()

    assert identity(pod) == before
    assert node.run({DEDICATED: 1}).until_refused() == unavailable(DEDICATED)


def test_row_51_a_pod_that_was_deleted_while_kubelet_was_down_holds_nothing(node: Node, agent: Agent) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    node.kubelet.stop()
    pod.manifest.unlink()
    node.kubelet.start()
    agent.until_offered(within=AGAIN_SECONDS)
    eventually(pod.gone, "end of the deleted pod", within=20)

    node.run({DEDICATED: 1}).until_running()
    assert pod.devices == frozenset()


def test_row_53_pods_that_come_before_the_agent_after_a_reboot_do_not_block_later_ones(
    node: Node, agent: Agent
) -> None:
    early = node.run({DEDICATED: 1}).until_running()
    node.kubelet.kill()
    agent.process.kill()
    node.runtime.kill_tasks()
    node.kubelet.start()
    refusal = early.until_refused()
    agent.start().until_offered()

    assert refusal == unhealthy(DEDICATED)
    early.remove()
    node.run({DEDICATED: 1}).until_running()
