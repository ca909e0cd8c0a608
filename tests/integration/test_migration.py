"""The agent takes the place of an old plugin, and gives it back, while pods hold devices: docs/migrate.md."""

import pytest

from intel_agent.config.schema import entries
from intel_agent.migrate import migrated
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .node import I915, XE, Node
from .rival import register, rival
from .running import running

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
            await agent.until_registered({XE})
            assert agent.registered == {XE}
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
