"""CDI files are there before kubelet hears of a device, and go after it."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from intel_agent.publish import cdi, cdifiles, grants, publisher
from intel_agent.simulation.kubelet import SimulatedKubelet

from .client import RefusedError
from .log import Log
from .node import I915, SHARED_DSA, XE, XE_CARD, Node
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio

CARD0, CARD1, FUNCTION = (f"intel.cdi.k8s.io/gpu={each}" for each in ("card0", "card1", "0000:5d:00.1"))
"""The names of all GPUs of the machine."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what gives a real kubelet time to note its answers."""
    for module, name in ((cdifiles, "RECHECK"), (cdifiles, "KEEP"), (publisher, "RECHECK"), (grants, "SETTLE")):
        monkeypatch.setattr(module, name, 0.1)


def names(node: Node) -> set[str]:
    """Return every name that the files of the node define."""
    return set(_names(node))


def _names(node: Node) -> Iterator[str]:
    for path in node.cdi.glob("*.json"):
        with suppress(FileNotFoundError):  # removed meanwhile
            yield from defined(path)


def defined(path: Path) -> list[str]:
    spec = json.loads(path.read_bytes())
    return [f"{spec['kind']}={device['name']}" for device in spec["devices"]]


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
    *,
    nodes: bool,
    cdi_names: bool,
) -> None:
    node.configure(devices={"gpu": {"cdi": use}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)  # not before its file is there
        got = await kubelet.admit("worker", {XE: 1})
        assert bool(got.device_nodes) == nodes
        assert got.cdi == (("intel.cdi.k8s.io/gpu=card0",) if cdi_names else ())
        assert set(got.cdi) <= names(node)
        queue = await kubelet.admit("other", {SHARED_DSA: 1})  # another section, its own value
        assert queue.device_nodes
        assert queue.cdi == ()
    assert kubelet.violations == []


async def test_a_file_is_written_before_its_device_is_listed_and_shrinks_after(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(devices={"gpu": {"cdi": "both"}}, health={"lingerSeconds": 3600})
    kubelet.hold()
    async with running(node) as agent:
        await until(lambda: {*agent.health(XE).values(), *agent.health(I915).values()} == {"Healthy"}, "listings")
        assert names(node) == {CARD0, CARD1, FUNCTION}  # and kubelet has heard of nothing yet
        assert kubelet.resources() == {}
        kubelet.proceed()
        await agent.until_registered([XE, I915])
        card = await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        assert names(node) == {CARD0, CARD1, FUNCTION}  # pods may still have it
        node.configure(devices={"gpu": {"cdi": "both"}}, health={"lingerSeconds": 0})
        await kubelet.wait_for(lambda seen: seen[XE].capacity == 0)
        await until(lambda: names(node) == {CARD1, FUNCTION}, "file without the card")
        await node.plug(card)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
        assert names(node) == {CARD0, CARD1, FUNCTION}


@pytest.mark.usefixtures("kubelet")
async def test_files_of_others_are_left_alone_and_their_names_to_them(node: Node) -> None:
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
        await until(lambda: agent.health(I915) == {"card1-0": "Healthy"}, "its file")
        ours = json.loads((node.cdi / "intel-agent-gpu.json").read_text())
        assert [device["name"] for device in ours["devices"]] == ["0000:5d:00.1", "card1"]
        (node.cdi / "intel.com-gpu.json").unlink()
        await until(lambda: {CARD0, CARD1} <= set(defined(node.cdi / "intel-agent-gpu.json")), "both names")
    del others["intel.com-gpu.json"]
    assert {name: (node.cdi / name).read_text() for name in others} == others


async def test_a_name_in_kubelets_checkpoint_is_defined_again_after_a_reboot(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(devices={"gpu": {"cdi": "names"}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 1)
        await kubelet.admit("worker", {XE: 1})
    for path in node.cdi.iterdir():
        path.unlink()  # /run is empty after a reboot
    node.configure()  # and by now nobody wants CDI
    async with running(node) as agent:
        await agent.until_registered()
        await until(lambda: names(node) == {"intel.cdi.k8s.io/gpu=card0"}, "its file")


async def test_files_go_when_nobody_wants_them_any_more(node: Node, kubelet: SimulatedKubelet) -> None:
    node.configure(devices={"gpu": {"cdi": "both"}, "dsa": {"cdi": "names"}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[SHARED_DSA].allocatable == 1)
        assert {path.name for path in node.cdi.iterdir()} == {"intel-agent-gpu.json", "intel-agent-dsa.json"}
        node.configure(devices={"dsa": {"cdi": "names", "sharedDevNum": 2}, "gpu": {"sharedDevNum": 2}})
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[SHARED_DSA].allocatable == 2)
        await until(lambda: {path.name for path in node.cdi.iterdir()} == {"intel-agent-dsa.json"}, "one file")
        node.configure()
        await until(lambda: not list(node.cdi.iterdir()), "no file")


async def test_a_change_of_cdi_alone_takes_effect(node: Node, kubelet: SimulatedKubelet) -> None:
    """Allocate must never name what no file defines, and what it named stays defined while a pod has it."""
    async with running(node) as agent:
        await agent.until_registered()
        node.configure(devices={"gpu": {"cdi": "names"}})
        await until(lambda: names(node) == {CARD0, CARD1, FUNCTION}, "file")
        await agent.until_healthy(XE)
        assert (await kubelet.admit("worker", {XE: 1})).cdi == ("intel.cdi.k8s.io/gpu=card0",)
        node.configure()
        await until(lambda: names(node) == {"intel.cdi.k8s.io/gpu=card0"}, "only the name that the pod has")
        looks = agent.agent.publisher.cdi.tries
        await until(lambda: agent.agent.publisher.cdi.tries > looks + 3, "more looks at the file")
        assert names(node) == {"intel.cdi.k8s.io/gpu=card0"}
        kubelet.release("worker")
        await kubelet.admit("next", {SHARED_DSA: 1})  # kubelet forgets a pod when another one comes
        await until(lambda: not list(node.cdi.iterdir()), "no file")


async def test_an_agent_that_waits_leaves_the_files_of_the_serving_one_alone(
    node: Node, kubelet: SimulatedKubelet, log: Log
) -> None:
    node.configure(devices={"gpu": {"cdi": "both"}})
    async with running(node) as first:
        await first.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 1)
        before = {path.name: path.read_text() for path in node.cdi.iterdir()}
        assert before.keys() == {"intel-agent-gpu.json"}
        other = replace(node, config_name="other.yaml")
        other.configure(devices={"dsa": {"cdi": "both"}})
        async with running(other) as second:
            await until(lambda: second.looked, "looks of the second agent")
            assert len(await log.until_logged("agent.waiting")) == 1
            assert {path.name: path.read_text() for path in node.cdi.iterdir()}.items() >= before.items()
            first.stop()
            await second.until_registered()
            await until(lambda: {path.name for path in node.cdi.iterdir()} == {"intel-agent-dsa.json"}, "its own file")
    assert kubelet.violations == []


@pytest.mark.parametrize("use", ["names", "both"])
async def test_what_cannot_be_defined_is_not_offered_and_is_tried_again(
    node: Node, kubelet: SimulatedKubelet, log: Log, use: str
) -> None:
    node.cdi.write_text("in the way")
    node.configure(devices={"gpu": {"cdi": use}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[SHARED_DSA].allocatable == 1)  # that one needs no file
        refused = pytest.raises(RefusedError, match="undefined: ")
        with agent.client(XE) as client, refused:
            await client.allocate(["card0-0"])
        await node.unplug(XE_CARD)
        agent.hint()
        await until(lambda: agent.health(XE) == {"card0-0": "Unhealthy"}, "removal")
        looks = agent.agent.publisher.cdi.tries
        await until(lambda: agent.agent.publisher.cdi.tries > looks + 3, "more tries")
        assert len(await log.lines("cdi.failed")) == 1
        assert kubelet.resources()[I915].allocatable == 0
        node.cdi.unlink()
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 1)
        assert "intel.cdi.k8s.io/gpu=card1" in names(node)
        assert set((await kubelet.admit("worker", {I915: 1})).cdi) <= names(node)


async def test_a_write_that_hangs_delays_no_list(
    node: Node, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung file system below the directory: what leaves is told of at once, what comes waits for its file."""
    gate = threading.Event()
    write = cdifiles.make

    def slow(path: str, kind: str, devices: Mapping[str, cdi.Edits], serving: Callable[[], bool]) -> None:
        gate.wait(60)
        write(path, kind, devices, serving)

    node.configure(devices={"gpu": {"cdi": "names"}})
    async with running(node) as agent:
        await agent.until_registered()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 1)
        monkeypatch.setattr(cdifiles, "make", slow)
        card = await node.unplug(XE_CARD)
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == 0)
        (node.root / "dev/dri/by-path/pci-0000:bb:00.0-card").unlink()  # the other card needs another file, too
        agent.hint()
        await kubelet.wait_for(lambda seen: seen[I915].allocatable == 0)
        await node.plug(card)
        agent.hint()
        gate.set()
        await kubelet.wait_for(lambda seen: seen[XE].allocatable == seen[I915].allocatable == 1)
    assert kubelet.violations == []


@pytest.mark.usefixtures("kubelet")
async def test_a_file_that_somebody_removes_is_written_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdifiles, "RECHECK", 3600)
    node.cdi.mkdir()
    node.configure(devices={"gpu": {"cdi": "both"}})
    async with running(node) as agent:
        await agent.until_registered()
        files = agent.agent.publisher.cdi
        await until(lambda: names(node) == {CARD0, CARD1, FUNCTION} and not files.undefined, "its file")
        before = names(node)
        looks = files.tries

        def stirred() -> bool:
            (node.cdi / "other.txt").touch()
            return files.tries > looks

        await until(stirred, "a watch of the directory")
        (node.cdi / "intel-agent-gpu.json").unlink()
        await until(lambda: names(node) == before, "file")


@pytest.mark.usefixtures("kubelet")
async def test_a_damaged_file_of_ours_is_written_again(node: Node) -> None:
    node.cdi.mkdir()
    for name, content in (("gpu", b"{"), ("iaa", b"[1]"), ("sgx", b"\xff")):
        (node.cdi / f"intel-agent-{name}.json").write_bytes(content)
    node.configure(devices={"gpu": {"cdi": "both"}})
    async with running(node) as agent:
        await agent.until_registered()
        await until(lambda: "intel.cdi.k8s.io/gpu=card0" in names(node), "its file")
        await until(lambda: {path.name for path in node.cdi.iterdir()} == {"intel-agent-gpu.json"}, "one file")
