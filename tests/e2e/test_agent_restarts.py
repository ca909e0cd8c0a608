"""The agent comes and goes; kubelet and the pods stay."""

import stat
from collections.abc import Callable
from pathlib import Path

from .agent import Agent
from .machine import DEDICATED, I915, OFFER, XE
from .node import Node, StaticPod, unavailable, unhealthy
from .rival import rival
from .waiting import eventually

NOTHING = dict.fromkeys(OFFER, frozenset[str]())


def sockets(node: Node) -> set[str]:
    return {path.name for path in node.kubelet.device_plugins.glob("*.sock")} - {"kubelet.sock"}


def identity(pod: StaticPod) -> tuple[str, frozenset[str]]:
    return pod.status.container.container_id, pod.devices


def test_row_15_a_stream_that_kubelet_ended_is_an_order_to_register_again(
    node: Node, start_agent: Callable[..., Agent]
) -> None:
    # When the stream of the one who came first ends, kubelet cuts off the one who came last.
    with rival(node, DEDICATED, ["rival"]):
        agent = start_agent().until_offered()
    eventually(lambda: "resource.lost" in {line.event for line in agent.log()}, "end of the stream", within=5)
    agent.until_offered(within=10)
    node.run({DEDICATED: 1}).until_running()


def test_row_15_a_resource_that_another_plugin_took_and_left_is_registered_again(node: Node, agent: Agent) -> None:
    agent.process.pause()  # it would take the resource back soon
    with rival(node, DEDICATED, ["rival"]):
        assert agent.offered()[DEDICATED] == frozenset({"rival"})
    agent.process.resume()
    agent.until_offered(within=10)
    node.run({DEDICATED: 1}).until_running()


def test_row_48_a_pod_keeps_its_device_over_a_restart_of_the_agent(node: Node, agent: Agent) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)
    agent.process.stop()
    agent.start().until_offered()

    assert identity(pod) == before
    assert node.run({DEDICATED: 1}).until_refused() == unavailable(DEDICATED)
    node.run({I915: 1}).until_running()


def test_a_pod_keeps_its_device_over_a_crash_of_the_agent(node: Node, agent: Agent) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)
    agent.process.kill()
    eventually(lambda: agent.offered() == NOTHING, "end of the offer", within=5)
    agent.start().until_offered()

    assert identity(pod) == before
    assert node.run({DEDICATED: 1}).until_refused() == unavailable(DEDICATED)
    node.run({I915: 1}).until_running()


def test_an_agent_that_dies_during_an_allocation_costs_one_pod(node: Node, agent: Agent) -> None:
    agent.process.pause()
    pod = node.run({DEDICATED: 1}).until_asked_for()
    agent.process.kill()
    refusal = pod.until_refused()
    agent.start().until_offered()

    assert refusal.startswith("rpc error: ")
    node.run({DEDICATED: 1}).until_running()


def test_row_58_after_sigterm_the_sockets_are_gone_and_nothing_is_allocatable(node: Node, agent: Agent) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)

    assert len(sockets(node)) == len(OFFER)
    assert agent.process.stop(within=5) == 0
    assert sockets(node) == set()
    eventually(lambda: agent.offered() == NOTHING, "end of the offer", within=1)
    assert identity(pod) == before
    assert node.run({I915: 1}).until_refused() == unhealthy(I915)


def test_row_59_a_second_agent_waits_and_serves_when_the_first_one_ends(
    node: Node, agent: Agent, start_agent: Callable[..., Agent]
) -> None:
    second = start_agent("second")
    eventually(lambda: any(line.event == "agent.waiting" for line in second.log()), "waiting agent", within=10)
    assert agent.process.stop(within=5) == 0
    second.until_offered()

    assert len(sockets(node)) == len(OFFER)
    node.run({DEDICATED: 1}).until_running()


def test_row_60_after_a_rolling_update_the_new_list_is_in_force(
    node: Node, agent: Agent, start_agent: Callable[..., Agent]
) -> None:
    pod = node.run({DEDICATED: 1}).until_running()
    before = identity(pod)
    new = start_agent("new", gpu={"sharedDevNum": 3, "enableMonitoring": True})
    eventually(lambda: any(line.event == "agent.waiting" for line in new.log()), "waiting agent", within=10)
    agent.process.kill()
    new.until_offered(
        {
            I915: frozenset(f"card{card}-{share}" for card in range(2) for share in range(3)),
            XE: frozenset(f"card2-{share}" for share in range(3)),
        }
    )

    assert identity(pod) == before
    assert node.run({DEDICATED: 1}).until_refused() == unavailable(DEDICATED)


def test_row_61_files_of_others_are_left_alone(node: Node, start_agent: Callable[..., Agent]) -> None:
    directory = node.kubelet.device_plugins
    foreign = directory / "foreign.sock"
    with rival(node, "example.com/other", ["a"]):
        foreign.write_text("not a socket")
        before = _state(foreign), _state(directory / "rival.sock")
        agent = start_agent().until_offered()
        agent.process.stop()

        assert (_state(foreign), _state(directory / "rival.sock")) == before
        assert node.pod_resources.allocatable()["example.com/other"] == {"a"}
    foreign.unlink()


def test_row_62_sockets_are_for_root_only(node: Node, agent: Agent) -> None:
    modes = {path.name: path.stat() for path in node.kubelet.device_plugins.glob("*intel.com*.sock")}

    assert agent.process.alive
    assert len(modes) == len(OFFER)
    for name, status in modes.items():
        assert stat.S_ISSOCK(status.st_mode), name
        assert (status.st_uid, status.st_mode & stat.S_IWOTH) == (0, 0), name


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_ctime_ns
