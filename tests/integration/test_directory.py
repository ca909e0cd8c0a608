"""The device-plugins directory may be removed and made anew: in a pod only a new mount can help then."""

import os
import shlex

import anyio
import pytest
from anyio import to_thread
from machines import removed

from intel_agent.errors import DirectoryGoneError
from intel_agent.publish.kubelet import Incarnation, Kubelet
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import EVERYTHING, Node
from .process import process
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of its own needs root")


async def offered(kubelet: SimulatedKubelet) -> None:
    await kubelet.wait_for(lambda seen: {each.name for each in seen.values() if each.allocatable} >= EVERYTHING)


async def test_outside_of_a_pod_a_new_directory_is_served(node: Node) -> None:
    with process(node) as agent:
        async with node.kubelet() as kubelet:
            await offered(kubelet)
            for _ in range(2):
                await kubelet.stop()
                await agent.until_logged("resource.lost")
                await to_thread.run_sync(removed, node.plugins)
                await kubelet.start()
                await offered(kubelet)
            assert await agent.stop() == 0


@needs_root
async def test_a_dead_mount_of_the_directory_ends_the_agent(node: Node) -> None:
    """As in a pod: the agent sees the directory only by a bind mount, and somebody removes it on the host."""
    mount = node.base / "m"
    mount.mkdir()
    real = node.plugins
    text = node.config.read_text().replace(f'"{real}"', f'"{mount}"')
    node.write_config(text)
    script = f'mount --bind {shlex.quote(str(real))} {shlex.quote(str(mount))} && exec "$@"'
    with process(node, before=["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]) as agent:
        async with node.kubelet() as kubelet:
            await offered(kubelet)
            await kubelet.stop()
            await to_thread.run_sync(removed, real)
            # A new directory under the old name is not behind the mount.
            async with node.kubelet():
                assert await agent.wait() == 1
        assert "this mount of it is dead" in agent.output.read_text()
        assert "Traceback" not in agent.output.read_text()


async def test_a_directory_that_is_gone_for_good_is_told_apart(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def dead(path: str, *, follow_symlinks: bool = True) -> os.stat_result:
        status = stat(path, follow_symlinks=follow_symlinks)
        if path == str(node.plugins):
            return os.stat_result((*status[:3], 0, *status[4:]))
        return status

    kubelet = Kubelet(str(node.plugins))
    monkeypatch.setattr(os, "stat", dead)
    with pytest.raises(DirectoryGoneError, match="was removed on the host"):
        await kubelet.watch()


@pytest.mark.usefixtures("kubelet")
async def test_who_registers_leaves_it_to_whoever_watches_to_say_so(
    node: Node, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, found_out = Kubelet.seen, list[str]()

    async def gone(kubelet: Kubelet) -> Incarnation | None:
        if "Registration" not in (name := anyio.get_current_task().name or ""):
            return await seen(kubelet)
        found_out.append(name)
        raise DirectoryGoneError

    monkeypatch.setattr(Kubelet, "seen", gone)
    async with running(node) as agent:
        await until(lambda: len(found_out) == len(EVERYTHING), "registrations")
        assert agent.registered == frozenset()
    assert await log.lines("registration.failed") == []


async def test_an_agent_starts_before_the_directory_is_there(node: Node) -> None:
    node.plugins.rmdir()
    with process(node) as agent:
        await agent.until_logged("agent.started")
        async with node.kubelet() as kubelet:
            await offered(kubelet)
        assert await agent.stop() == 0
