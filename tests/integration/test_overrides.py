"""`nodeOverrides`, from the labels of the node's object at the API server to what kubelet hears."""

import sys
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from intel_agent.cluster import membership, resolution, sections
from intel_agent.cluster.resolution import Basis
from intel_agent.simulation.kubelet import SimulatedKubelet

from .apiserver import NAME, ApiServer
from .log import Log
from .node import ENCLAVE, EVERYTHING, XE, Node
from .process import process
from .running import Running, running
from .waiting import until

pytestmark = pytest.mark.anyio

FLEX = {"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 5}}}
NO_SGX = {"selector": {"matchLabels": {"sgx": "off"}}, "devices": {"sgx": {"enabled": False}}}
SHARED = {"gpu": {"sharedDevNum": 2}}


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "PERIOD", 0.1)


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(resolution, "PATIENCE", seconds)
    monkeypatch.setattr(sections, "PATIENCE", seconds)


def on(node: Node, server: ApiServer) -> AbstractAsyncContextManager[Running]:
    return running(node, environment=server.environment, account=str(server.directory))


async def test_the_labels_of_the_node_choose_its_sections_and_may_change(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED, overrides=[FLEX, NO_SGX], health={"lingerSeconds": 0.1})
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
        server.labels = {"type": "max", "sgx": "off"}
        await kubelet.wait_for(lambda seen: (seen[XE].allocatable, seen[ENCLAVE].allocatable) == (2, 0))
        server.labels = {"type": "flex"}
        await kubelet.wait_for(lambda seen: (seen[XE].allocatable, seen[ENCLAVE].allocatable) == (5, 110))
        assert await log.lines("config.reloaded") == []
    applied = [line.overrides for line in await log.lines("overrides.applied")]
    assert applied == [("nodeOverrides[0]",), ("nodeOverrides[1]",), ("nodeOverrides[0]",)]
    assert kubelet.violations == []


async def test_a_changed_file_takes_effect_at_once(node: Node, kubelet: SimulatedKubelet, server: ApiServer) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED)
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
        assert server.requests == []
        node.configure(devices=SHARED, overrides=[FLEX])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
        node.configure(devices=SHARED, overrides=[{**FLEX, "devices": {"gpu": {"sharedDevNum": 4}}}])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 4)
        server.stop()
        node.configure(devices={"gpu": {"sharedDevNum": 3}}, overrides=[NO_SGX])
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)
        node.configure(devices=SHARED)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
    assert kubelet.violations == []


async def test_an_api_server_that_goes_away_changes_nothing_and_is_said_once(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED, overrides=[FLEX])
    async with on(node, server) as agent:
        await agent.until_registered()
        server.fails = "unavailable"
        await log.until_logged("cluster.unavailable")
        asked = len(server.requests)
        await until(lambda: len(server.requests) >= asked + 3, "three more tries")
        assert kubelet.resources()[XE].allocatable == 5
        assert agent.agent.membership.problems
        server.fails = "forbidden"
        await log.until_logged("cluster.unavailable", times=2)
        server.fails = ""
        await log.until_logged("cluster.available")
        assert agent.agent.membership.problems == ()
    problems = [line.problem for line in await log.lines("cluster.unavailable")]
    assert ["503 Service" in problems[0], "403 Forbidden" in problems[1]] == [True, True]
    assert len(problems) == 2


async def test_sections_are_remembered_over_a_restart_without_the_api_server(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log
) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED, overrides=[FLEX])
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
    server.stop()
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
        assert basis(agent) is Basis.REMEMBERED
        assert agent.agent.unready == ()
        server.labels = {}
        server.start()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
    assert len(await log.lines("overrides.remembered")) == 1


def basis(agent: Running) -> Basis | None:
    decision = agent.agent.sections.resolution
    return None if decision is None else decision.basis


async def test_what_is_remembered_of_other_overrides_does_not_count(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer
) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED, overrides=[FLEX])
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)
    server.stop()
    node.configure(devices=SHARED, overrides=[NO_SGX, FLEX])
    async with on(node, server) as agent:
        await until(
            lambda: basis(agent) is Basis.WAITING and agent.agent.config.value.devices.backends == (),
            "wait for the labels",
        )
        unready = ("nodeOverrides: the node's labels are not known yet",)
        await until(lambda: agent.agent.unready == unready, "what is missing")
        server.start()
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)


async def test_with_nothing_remembered_nothing_is_offered_until_patience_ends(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 1.0)
    server.stop()
    node.configure(devices=SHARED, overrides=[FLEX])
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
        assert basis(agent) is Basis.BASE
        assert agent.agent.unready == (
            "nodeOverrides: the node's labels are not known, and the sections without overrides are in force",
        )
    events = await log.events()
    assert events.count("overrides.ignored") == 1
    assert events.index("overrides.waiting") < events.index("overrides.ignored") < events.index("device.added")


async def test_overrides_that_come_while_the_api_server_is_away_take_nothing_away(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(monkeypatch, 0.5)
    server.stop()
    node.configure(devices={"gpu": {"sharedDevNum": 4}})
    async with on(node, server) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 4)
        node.configure(devices=SHARED, overrides=[FLEX])
        await log.until_logged("overrides.waiting")
        await anyio.sleep(1.0)  # twice as long as an agent waits that has offered nothing yet
        assert kubelet.resources()[XE].allocatable == 4
        assert basis(agent) is Basis.WAITING
        server.labels = {"type": "flex"}
        server.start()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)


@pytest.mark.parametrize(
    ("variable", "said"),
    [("NODE_NAME", "NODE_NAME is not set"), ("KUBERNETES_SERVICE_HOST", "the agent must run in a pod")],
)
async def test_what_the_pod_lacks_is_said(node: Node, server: ApiServer, log: Log, variable: str, said: str) -> None:
    node.configure(overrides=[FLEX])
    environment = {key: value for key, value in server.environment.items() if key != variable}
    async with running(node, environment=environment, account=str(server.directory)):
        await log.until_logged("cluster.unavailable")
    (line,) = await log.lines("cluster.unavailable")
    assert said in line.problem


async def test_a_process_finds_everything_where_a_pod_has_it(
    node: Node, kubelet: SimulatedKubelet, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.labels = {"type": "flex"}
    node.configure(devices=SHARED, overrides=[FLEX])
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    arguments = ["--account-directory", str(server.directory), "--state-directory", str(node.state)]
    with process(node, arguments=arguments) as agent:
        await kubelet.wait_for(lambda seen: seen.keys() >= EVERYTHING and seen[XE].allocatable == 5)
        assert await agent.stop() == 0
    command = ["devices", "--config", str(node.config), "--root", str(node.root), "-o", "json"]
    shown = await anyio.run_process(
        [sys.executable, "-m", "intel_agent", *command, "--state-directory", str(node.state)]
    )
    assert b'"shares": 5' in shown.stdout
    assert shown.stderr == b""
    monkeypatch.setenv("NODE_NAME", f"not {NAME}")
    shown = await anyio.run_process(
        [sys.executable, "-m", "intel_agent", *command, "--state-directory", str(node.state)]
    )
    assert b'"shares": 2' in shown.stdout
    assert b"nodeOverrides: not applied" in shown.stderr
