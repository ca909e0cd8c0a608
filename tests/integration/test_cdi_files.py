"""CDI files are there before kubelet hears of a device, and go after it."""

import json
from collections.abc import Iterator

import pytest

from intel_agent.publish import publisher
from intel_agent.simulation.kubelet import SimulatedKubelet

from .log import Log
from .node import I915, SHARED_DSA, XE, XE_CARD, Node
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio


def names(node: Node) -> set[str]:
    """Return every name that the files of the node define."""
    return set(_names(node))


def _names(node: Node) -> Iterator[str]:
    for path in node.cdi.glob("*.json"):
        spec = json.loads(path.read_bytes())
        yield from (f"{spec['kind']}={device['name']}" for device in spec["devices"])


@pytest.mark.parametrize(
    ("use", "nodes", "cdi_names"),
    [
        pytest.param("none", True, False, id="none: device nodes"),
        pytest.param("names", False, True, id="names: CDI devices"),
        pytest.param("both", True, True, id="both"),
    ],
)
async def test_allocate_answers_as_configured(
    node: Node,
    kubelet: SimulatedKubelet,
    use: str,
    nodes: bool,  # noqa: FBT001
    cdi_names: bool,  # noqa: FBT001
) -> None:
    node.configure(devices={"gpu": {"cdi": use}})
    async with running(node) as agent:
        await agent.until_registered()
        got = await kubelet.admit("worker", {XE: 1})
        assert bool(got.device_nodes) == nodes
        assert got.cdi == (("intel.cdi.k8s.io/gpu=card0",) if cdi_names else ())
        assert set(got.cdi) <= names(node)
        queue = await kubelet.admit("other", {SHARED_DSA: 1})  # another section, its own value
        assert queue.device_nodes
        assert queue.cdi == ()
    assert kubelet.violations == []


async def test_a_file_is_written_before_its_device_is_listed_and_shrinks_after(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "RECHECK", 0.1)
    node.configure(devices={"gpu": {"cdi": "both"}}, health={"lingerSeconds": 0.2})
    card0, card1 = "intel.cdi.k8s.io/gpu=card0", "intel.cdi.k8s.io/gpu=card1"
    kubelet.hold()
    async with running(node) as agent:
        await until(lambda: {XE, I915} <= agent.published.keys(), "listings")
        assert names(node) == {card0, card1}  # and kubelet has heard of nothing yet
        assert kubelet.resources() == {}
        kubelet.proceed()
        await agent.until_registered([XE, I915])
        card = await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        assert names(node) == {card0, card1}  # pods may still have it
        await kubelet.wait_for(lambda seen: seen[XE].capacity == 0)
        await until(lambda: names(node) == {card1}, "file without the card")
        await node.plug(card)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
        assert names(node) == {card0, card1}


async def test_files_of_others_are_left_alone_and_their_names_to_them(node: Node, kubelet: SimulatedKubelet) -> None:
    node.cdi.mkdir()
    foreign: dict[str, object] = {
        "cdiVersion": "0.5.0",
        "kind": "intel.cdi.k8s.io/gpu",
        "devices": [{"name": "card0", "containerEdits": {}}],
    }
    others = {
        "intel.com-gpu.json": json.dumps(foreign),
        "intel-agentx.json": "not mine",
        "broken.json": "{",
        "list.yaml": "- 1",
        "nvidia.yaml": "kind: nvidia.com/gpu",
    }
    for name, text in others.items():
        (node.cdi / name).write_text(text)
    node.configure(devices={"gpu": {"cdi": "both"}})
    async with running(node) as agent:
        await agent.until_registered()
        ours = json.loads((node.cdi / "intel-agent-gpu.json").read_text())
        assert [device["name"] for device in ours["devices"]] == ["card1"]
        (node.cdi / "intel.com-gpu.json").unlink()
        node.configure(devices={"gpu": {"cdi": "both", "sharedDevNum": 2}})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 2)
        ours = json.loads((node.cdi / "intel-agent-gpu.json").read_text())
        assert [device["name"] for device in ours["devices"]] == ["card0", "card1"]
    del others["intel.com-gpu.json"]
    assert {name: (node.cdi / name).read_text() for name in others} == others


async def test_a_name_in_kubelets_checkpoint_is_defined_again_after_a_reboot(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(devices={"gpu": {"cdi": "names"}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.admit("worker", {XE: 1})
    for path in node.cdi.iterdir():
        path.unlink()  # /run is empty after a reboot
    node.configure()  # and by now nobody wants CDI
    async with running(node) as agent:
        await agent.until_registered()
        assert names(node) == {"intel.cdi.k8s.io/gpu=card0"}


async def test_files_go_when_nobody_wants_them_any_more(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"cdi": "both"}, "dsa": {"cdi": "names"}})
    async with running(node) as agent:
        await agent.until_registered()
        assert {path.name for path in node.cdi.iterdir()} == {"intel-agent-gpu.json", "intel-agent-dsa.json"}
        node.configure(devices={"dsa": {"cdi": "names", "sharedDevNum": 2}, "gpu": {"sharedDevNum": 2}})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[SHARED_DSA].allocatable == 2)
        await until(lambda: {path.name for path in node.cdi.iterdir()} == {"intel-agent-dsa.json"}, "one file")
        node.configure()
        await until(lambda: not list(node.cdi.iterdir()), "no file")


async def test_a_change_of_cdi_alone_takes_effect(node: Node, kubelet: SimulatedKubelet) -> None:
    """Allocate must never name what no file defines."""
    async with running(node) as agent:
        await agent.until_registered()
        node.configure(devices={"gpu": {"cdi": "names"}})
        await until(lambda: agent.agent.config.value.devices.gpu.cdi == "names", "reload")
        await until(lambda: names(node) == {"intel.cdi.k8s.io/gpu=card0", "intel.cdi.k8s.io/gpu=card1"}, "file")
        assert set((await kubelet.admit("worker", {XE: 1})).cdi) <= names(node)
        node.configure()
        await until(lambda: agent.agent.config.value.devices.gpu.cdi == "none", "reload")
        await until(lambda: not list(node.cdi.iterdir()), "no file")


async def test_a_directory_that_cannot_be_written_is_logged_once_and_harms_nothing_else(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    node.cdi.write_text("in the way")
    node.configure(devices={"gpu": {"cdi": "both"}})
    async with running(node) as agent:
        await agent.until_registered()
        await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        problems = [line.problem for line in await log.lines("cdi.failed")]
        assert 0 < len(problems) == len(set(problems))
