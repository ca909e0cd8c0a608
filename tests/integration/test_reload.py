"""A changed configuration file takes effect without a restart."""

import json
import signal
import threading
from pathlib import Path

import anyio
import pytest

from intel_agent.publish import deviceplugin, grants, publisher
from intel_agent.simulation.kubelet import SimulatedKubelet

from .client import RefusedError
from .log import Log
from .node import EVERYTHING, I915, XE, Node
from .process import process
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio


class ConfigMap:
    """A configuration file as kubelet mounts it: a link into a directory that a flip of `..data` replaces."""

    def __init__(self, node: Node) -> None:
        self.directory = node.config.parent
        self._node = node
        text = node.config.read_text()
        node.config.unlink()
        self.flip(text)
        node.config.symlink_to(Path("..data", node.config.name))

    def flip(self, text: str) -> None:
        """Publish another text at one stroke."""
        fresh = self.directory / f"..{len(list(self.directory.iterdir()))}"
        fresh.mkdir()
        (fresh / self._node.config.name).write_text(text)
        draft = self.directory / "..data_tmp"
        draft.symlink_to(fresh.name)
        draft.rename(self.directory / "..data")


@pytest.mark.usefixtures("impatient")
async def test_more_shares_and_fewer(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        node.configure(devices={"gpu": {"sharedDevNum": 3}}, health={"lingerSeconds": 0.2})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)
        # Ids that leave depart in two steps.
        node.configure(devices={"gpu": {"sharedDevNum": 2}}, health={"lingerSeconds": 0.2})
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (3, 2))
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (2, 2))
        assert agent.registered == EVERYTHING
        assert len(await log.lines("config.reloaded")) == 2
    assert len(kubelet.registrations) == len(EVERYTHING)
    assert kubelet.violations == []


async def test_a_config_map_is_followed(node: Node, kubelet: SimulatedKubelet) -> None:
    config_map = ConfigMap(node)
    config = json.loads(node.config.read_text())
    async with running(node) as agent:
        await agent.until_registered()
        config_map.flip(json.dumps(config | {"devices": {"gpu": {"sharedDevNum": 4}}}))
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 4)
        config_map.flip(json.dumps(config | {"devices": {"gpu": {"sharedDevNum": 5}}}))
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)


async def test_an_invalid_file_is_refused_once_and_the_last_good_one_stays(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        node.configure(devices={"gpu": {"sharedDevNum": 2}})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
        for _ in range(3):
            node.configure(devices={"gpu": {"sharedDevNum": 0}, "gqu": {}})
            await agent.agent.reload()
        await log.until_logged("config.refused")
        node.write_config("log: [")
        await log.until_logged("config.refused", times=2)
        node.config.unlink()
        await log.until_logged("config.refused", times=3)
        assert kubelet.resources()[XE].allocatable == 2
        assert agent.agent.config.value.devices.gpu.shared_dev_num == 2
        refusals = await log.lines("config.refused")
        assert len(refusals) == 3
        assert {problem.partition(": ")[2].split(":")[0] for problem in refusals[0].problems} >= {"devices.gqu"}
        node.configure(devices={"gpu": {"sharedDevNum": 5}})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 5)


@pytest.mark.usefixtures("impatient")
async def test_a_disabled_kind_departs_and_comes_back(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        node.configure(devices={"gpu": {"enabled": False}}, health={"lingerSeconds": 0.2})
        await kubelet.wait_for(lambda seen: seen[XE].capacity == seen[I915].capacity == 0)
        with agent.client(XE) as client:
            with pytest.raises(RefusedError, match="not enabled"):
                await client.allocate(["card0-0"])
            assert not (await client.options()).get_preferred_allocation_available
        node.configure()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 1)
    assert kubelet.violations == []


@pytest.mark.usefixtures("impatient")
async def test_a_held_device_is_not_shared_by_a_reload(node: Node, kubelet: SimulatedKubelet) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        await kubelet.admit("alone", {XE: 1})
        node.configure(devices={"gpu": {"sharedDevNum": 3}})
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (3, 1))
        held = pytest.raises(RefusedError, match=r"held on other terms by (default/alone/c|a pod)")
        with agent.client(XE) as client, held:
            await client.allocate(["card0-1"])
        kubelet.release("alone")
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)


async def test_a_device_that_is_being_handed_out_alone_is_not_shared_by_a_reload(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubelet tells of a holder only when its pod is admitted; until then only the agent knows."""
    monkeypatch.setattr(publisher, "RECHECK", 0.05)
    monkeypatch.setattr(grants, "SETTLE", 3600)
    monkeypatch.setattr(deviceplugin, "ALLOCATE_DEADLINE", 60.0)
    gate, entered = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        gate.wait(60)

    monkeypatch.setattr(deviceplugin, "_check_nodes", slow)
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        held = {"card0-0": "Healthy", "card0-1": "Unhealthy", "card0-2": "Unhealthy"}
        with agent.client(XE) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.allocate, ["card0-0"])
                await until(entered.is_set, "open Allocate")
                node.configure(devices={"gpu": {"sharedDevNum": 3}})
                await kubelet.wait_for(lambda seen: seen[I915].allocatable == 3)
                for _ in range(5):  # kubelet is asked meanwhile, and knows nothing
                    await anyio.sleep(0.05)
                    assert agent.health(XE) == held
                gate.set()
            assert agent.health(XE) == held
        monkeypatch.setattr(grants, "SETTLE", 0)
        # No pod came of it: kubelet's word counts again once it must have known.
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_shared_while_kubelet_cannot_be_asked(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        await kubelet.admit("alone", {XE: 1})
        away = node.pod_resources.with_suffix(".away")
        node.pod_resources.rename(away)
        kubelet.release("alone")
        node.configure(devices={"gpu": {"sharedDevNum": 3}})
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (3, 1))
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 3)  # that one was never handed out
        assert len(await log.until_logged("podresources.unavailable")) == 1
        away.rename(node.pod_resources)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)


async def test_the_level_of_the_log_follows(node: Node, kubelet: SimulatedKubelet, log: Log) -> None:
    async with running(node) as agent:
        await agent.until_registered()
        node.configure(log={"level": "error"})
        await until(lambda: agent.agent.config.value.log.level == "error", "the new level")
        before = len(await log.lines())
        await kubelet.admit("worker", {XE: 1})
        assert len(await log.lines()) == before


async def test_hangup_makes_it_read_the_file_again(node: Node, kubelet: SimulatedKubelet) -> None:
    with process(node) as agent:
        await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)
        # Written in place and not by rename: what inotify says of it comes a second later.
        node.config.write_text(
            node.config.read_text().replace('"devices": {}', '"devices": {"gpu": {"sharedDevNum": 7}}')
        )
        agent.popen.send_signal(signal.SIGHUP)
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 7)
        assert await agent.stop() == 0


@pytest.mark.parametrize("asked", [True, False], ids=["kubelet tells who holds it", "kubelet cannot be asked"])
async def test_a_restart_with_other_terms_does_not_share_what_is_held_alone(
    node: Node,
    kubelet: SimulatedKubelet,
    monkeypatch: pytest.MonkeyPatch,
    *,
    asked: bool,
) -> None:
    monkeypatch.setattr(publisher, "RECHECK", 0.1)
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: all(each.allocatable for each in seen.values()))
        await kubelet.admit("alone", {XE: 1})
    node.configure(devices={"gpu": {"sharedDevNum": 3}})
    away = node.pod_resources.with_suffix(".away")
    if not asked:
        node.pod_resources.rename(away)
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: (seen[XE].capacity, seen[XE].allocatable) == (3, 1))
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 3)
        if not asked:
            away.rename(node.pod_resources)
        kubelet.release("alone")
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 3)
    assert kubelet.violations == []
