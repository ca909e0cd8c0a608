"""The agent takes the place of an old plugin, and gives it back, while pods hold devices: docs/migrate.md."""

import pytest

from intel_agent.config.schema import entries
from intel_agent.migrate import migrated
from intel_agent.publish import publisher
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .log import Log
from .node import I915, VFIO, XE, Node
from .rival import register, rival
from .running import running
from .waiting import until

pytestmark = pytest.mark.anyio

OLD = """
apiVersion: deviceplugin.intel.com/v1
kind: GpuDevicePlugin
metadata: {name: old}
spec: {sharedDevNum: 3}
"""
IDS = ("card1-0", "card1-1", "card1-2")


async def test_pods_keep_their_devices_when_the_agent_comes_and_when_it_goes(
    node: Node, kubelet: SimulatedKubelet
) -> None:
    node.configure(devices=entries(migrated([("old.yaml", OLD)]).values["devices"]))
    async with rival(node.socket(I915), IDS) as old:
        await register(kubelet.socket, node.socket(I915).name, I915)
        await kubelet.wait_for(lambda seen: I915 in seen and seen[I915].healthy == frozenset(IDS))
        first = await kubelet.admit("first", {I915: 1})
        async with running(node) as agent:
            await agent.until_registered({VFIO, XE})
            assert agent.registered == {VFIO, XE}
            old.end.set()
            await kubelet.wait_for(lambda seen: seen[I915].allocatable == 0)
            node.socket(I915).unlink()
            await agent.until_registered({I915, XE})
            await kubelet.wait_for(lambda seen: seen[I915].healthy == frozenset(IDS))
            second = await kubelet.admit("second", {I915: 1})
            assert [each.path for each in second.device_nodes] == ["/dev/dri/card1", "/dev/dri/renderD129"]
            assert await kubelet.admit("first", {I915: 1}) == first
        async with rival(node.socket(I915), IDS):
            await register(kubelet.socket, node.socket(I915).name, I915)
            await kubelet.wait_for(lambda seen: seen[I915].healthy == frozenset(IDS))
            third = await kubelet.admit("third", {I915: 1})
            held = [each.ids[I915] for each in (first, second, third)]
            assert sorted(identifier for each in held for identifier in each) == list(IDS)
            with pytest.raises(AdmissionError):
                await kubelet.admit("fourth", {I915: 1})
    assert kubelet.violations == []


GAUDI = "habana.ai/gaudi"
SERIALS = tuple(f"AN0501234{card}" for card in range(8))


@pytest.mark.parametrize("machine", ["gaudi"])
@pytest.mark.parametrize("earlier", [True, False], ids=["held before the agent", "held while the agent waits"])
async def test_cards_that_pods_hold_under_serial_numbers_are_not_handed_out_twice(
    node: Node,
    kubelet: SimulatedKubelet,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    *,
    earlier: bool,
) -> None:
    """Habana's plugin calls cards by serial numbers, which the kernel does not tell."""
    monkeypatch.setattr(publisher, "RECHECK", 0.1)
    socket = node.plugins / "gaudi_habanalabs.sock"
    nodes = {each: (f"/dev/accel/accel{n}", f"{node.root}/dev/accel/accel{n}") for n, each in enumerate(SERIALS)}
    async with rival(socket, SERIALS, nodes) as old:
        await register(kubelet.socket, socket.name, GAUDI)
        await kubelet.wait_for(lambda seen: GAUDI in seen and len(seen[GAUDI].healthy) == 8)
        held = await kubelet.admit("trainer", {GAUDI: 3}) if earlier else None
        async with running(node) as agent:
            await until(lambda: log.path.read_text().count("resource.refused"), "refusal")
            trainer = held or await kubelet.admit("trainer", {GAUDI: 3})
            old.end.set()
            await kubelet.wait_for(lambda seen: seen[GAUDI].allocatable == 0)
            socket.unlink()
            await agent.until_registered([GAUDI])
            await kubelet.wait_for(lambda seen: len(seen[GAUDI].healthy) == 5)
            other = await kubelet.admit("other", {GAUDI: 5})
            taken = [each.path for each in (*trainer.device_nodes, *other.device_nodes) if "/accel/accel" in each.path]
            assert len(taken) == len(set(taken))
            assert {f"/dev/accel/accel{card}" for card in range(8)} <= set(taken)
            kubelet.release("trainer")
            await kubelet.wait_for(lambda seen: len(seen[GAUDI].healthy) == 8)
            await kubelet.admit("another", {GAUDI: 3})
    assert kubelet.violations == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [pytest.param(3, 1, id="they shared it, we would not"), pytest.param(1, 3, id="they did not, we would")],
)
async def test_what_an_old_plugin_hands_out_on_other_terms_while_the_agent_waits_counts(
    node: Node, kubelet: SimulatedKubelet, log: Log, monkeypatch: pytest.MonkeyPatch, *, theirs: int, ours: int
) -> None:
    monkeypatch.setattr(publisher, "RECHECK", 0.1)
    node.configure(devices={"gpu": {"sharedDevNum": ours}})
    async with rival(node.socket(I915), IDS[:theirs]) as old:
        await register(kubelet.socket, node.socket(I915).name, I915)
        await kubelet.wait_for(lambda seen: I915 in seen and seen[I915].healthy == frozenset(IDS[:theirs]))
        async with running(node) as agent:
            await until(lambda: log.path.read_text().count("resource.refused"), "refusal")
            pods = {f"{n}": (await kubelet.admit(f"{n}", {I915: 1})).ids[I915] for n in range(theirs)}
            if theirs > 1:  # the one that kubelet would take for a holder of ours
                kubelet.release(next(pod for pod, ids in pods.items() if ids == ("card1-0",)))
            old.end.set()
            await kubelet.wait_for(lambda seen: seen[I915].allocatable == 0)
            node.socket(I915).unlink()
            await agent.until_registered([I915])
            with pytest.raises(AdmissionError):
                await kubelet.admit("alone", {I915: 1})
            for pod in kubelet.pods:
                kubelet.release(pod)
            await kubelet.wait_for(lambda seen: seen[I915].allocatable == ours)
            await kubelet.admit("alone", {I915: 1})
    assert kubelet.violations == []
