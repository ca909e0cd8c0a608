"""udev makes its links after the kernel's message: the agent looks again after a hint."""

import pytest
from anyio import to_thread

from intel_agent.backends.gpu import Gpu
from intel_agent.simulation import disk
from intel_agent.simulation.kubelet import SimulatedKubelet
from intel_agent.simulation.tree import Tree, tree
from intel_agent.sources import scan

from .node import I915, SHARED_DSA, XE, XE_CARD, Node
from .running import Running, running
from .waiting import until, until_async

pytestmark = pytest.mark.anyio


def split(card: Tree) -> tuple[Tree, Tree]:
    """Return what the kernel makes of a card, and what udev makes of it later."""
    links = {path: entry for path, entry in card.entries.items() if path.startswith("/dev/dri/by-path/")}
    kernel = {path: entry for path, entry in card.entries.items() if path not in links}
    return tree(kernel), tree(links)


async def answers(agent: Running) -> list[str]:
    """Return the mounts that come with the card."""
    with agent.client(XE) as client:
        return [mount.container_path for answer in await client.allocate(["card0-0"]) for mount in answer.mounts]


@pytest.mark.parametrize("watched", [False, True], ids=["by looking again", "by inotify"])
async def test_a_link_that_comes_some_time_after_the_hint_is_offered(
    node: Node,
    kubelet: SimulatedKubelet,
    monkeypatch: pytest.MonkeyPatch,
    *,
    watched: bool,
) -> None:
    if watched:
        monkeypatch.setattr(scan, "AGAIN", ())
    else:
        monkeypatch.setattr(Gpu, "directories", ())
        monkeypatch.setattr(scan, "AGAIN", (*scan.AGAIN, 10.0, 20.0))  # for machines on which all of it takes longer
    async with running(node) as agent:
        await agent.until_registered()
        kernel, links = split(await node.unplug(XE_CARD))
        assert links.entries
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        await to_thread.run_sync(disk.add, node.root, kernel)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
        assert await answers(agent) == []
        await to_thread.run_sync(disk.add, node.root, links)
        await until_async(lambda: answers(agent), "links")


@pytest.mark.usefixtures("no_later_look")
async def test_a_link_is_offered_without_any_hint(kubelet: SimulatedKubelet, agent: Running) -> None:
    """As when udev starts late, long after the kernel's message."""
    kernel, links = split(await agent.node.unplug(XE_CARD))
    agent.hint()
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
    await agent.node.plug(kernel)
    agent.hint()
    await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
    await agent.node.plug(links)
    await until_async(lambda: answers(agent), "links")
    assert kubelet.resources()[I915].allocatable == 1


@pytest.mark.usefixtures("no_later_look")
async def test_a_numbered_link_of_a_queue_is_offered_without_any_hint(
    kubelet: SimulatedKubelet, agent: Running
) -> None:
    """A queue without its link in /dev/char is left out; nothing but the directory tells that udev has made it."""
    parts = await agent.node.unplug("/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.0")
    links = {path: entry for path, entry in parts.entries.items() if path.startswith("/dev/char/")}
    assert links
    agent.hint()
    await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 0)
    await agent.node.plug(tree({path: entry for path, entry in parts.entries.items() if path not in links}))
    agent.hint()
    excluded = agent.agent.inventory
    await until(lambda: [each for each in excluded.value.exclusions if each.rule == "no-char-link"], "exclusion")
    await agent.node.plug(tree(links))
    await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 1)
