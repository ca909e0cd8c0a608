"""Pods: what they get, why they are refused, and who has what, as a real kubelet does it."""

import os
from pathlib import Path

import anyio
import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from intel_agent._proto.v1 import AllocatableResourcesRequest, ListPodResourcesRequest, PodResourcesListerStub
from intel_agent._proto.v1beta1 import (
    ContainerAllocateResponse,
    DevicePluginOptions,
    Mount,
)
from intel_agent.model import DeviceNode
from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .plugin import NODE, R, devices, numbers, register, serving, until

pytestmark = pytest.mark.anyio


async def test_admits_with_what_the_plugin_answers(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        plugin.answers = [
            ContainerAllocateResponse(
                devices=[NODE],
                envs={"A": "1"},
                mounts=[Mount(container_path="/m", host_path="/tmp", read_only=True)],
            )
        ]
        await register(kubelet)
        await until(kubelet, 2, 2)
        answer = await kubelet.admit("pod", {R: 2})
    assert answer.ids == {R: ("a", "b")}
    assert answer.device_nodes == (DeviceNode("/dev/dri/card0", "/dev/null", "rw"),)
    assert dict(answer.env) == {"A": "1"}
    assert plugin.calls == ["options", "list", "allocate a b"]
    assert kubelet.violations == []


async def test_a_container_that_has_its_devices_is_not_allocated_again(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        assert await kubelet.admit("pod", {R: 1}) == await kubelet.admit("pod", {R: 1})
        with pytest.raises(AdmissionError, match=r'changed request for resource "gpu\.intel\.com/i915" from 1 to 2'):
            await kubelet.admit("pod", {R: 2})
        assert plugin.calls.count("allocate a") == 1


async def test_refuses_in_kubelets_words(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b", "!c") as plugin:
        await register(kubelet)
        await until(kubelet, 3, 2)
        text = f"Allocate failed due to requested number of devices unavailable for {R}. Requested: 3, Available: 2"
        with pytest.raises(AdmissionError, match=text):
            await kubelet.admit("pod", {R: 3})
        plugin.error = GRPCError(Status.INTERNAL, "card is on fire")
        with pytest.raises(AdmissionError, match="rpc error: code = Internal desc = card is on fire"):
            await kubelet.admit("pod", {R: 2})
        plugin.error = None
        assert (await kubelet.admit("pod", {R: 2})).ids == {R: ("a", "b")}


async def test_an_answer_without_containers_leaks_until_a_pod_goes(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        await kubelet.admit("first", {R: 1})
        answers, plugin.answers = plugin.answers, []
        with pytest.raises(AdmissionError, match="no containers return in allocation response"):
            await kubelet.admit("second", {R: 1})
        plugin.answers = answers
        with pytest.raises(AdmissionError, match="Requested: 1, Available: 0"):
            await kubelet.admit("third", {R: 1})
        kubelet.release("first")
        assert (await kubelet.admit("fourth", {R: 2})).ids == {R: ("a", "b")}
    assert kubelet.violations == [f"{R}: 0 container responses to 1 container request"]


async def test_asks_for_a_preference_where_the_plugin_has_one(kubelet: SimulatedKubelet) -> None:
    options = DevicePluginOptions(get_preferred_allocation_available=True)
    async with serving(kubelet, "a", "b", "c", options=options) as plugin:
        plugin.preferred = ["c", "b"]
        await register(kubelet)
        await until(kubelet, 3, 3)
        assert (await kubelet.admit("pod", {R: 2})).ids == {R: ("b", "c")}
        plugin.error = GRPCError(Status.INTERNAL, "no opinion")
        with pytest.raises(AdmissionError, match="device plugin GetPreferredAllocation rpc failed with err"):
            await kubelet.admit("other", {R: 1})
        assert plugin.calls[2:] == ["prefer 2 of a b c", "allocate b c", "prefer 1 of a"]
        plugin.error, plugin.preferred = None, ["foreign"]
        assert (await kubelet.admit("other", {R: 1})).ids == {R: ("a",)}
    assert kubelet.violations == [f"{R}: prefers 1 of 1, 1 unknown"]


async def test_calls_before_each_start_of_a_container(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", options=DevicePluginOptions(pre_start_required=True)) as plugin:
        await register(kubelet)
        await until(kubelet, 1, 1)
        await kubelet.admit("pod", {R: 1})
        await kubelet.start_container("pod")
        plugin.error = GRPCError(Status.UNAVAILABLE, "not now")
        with pytest.raises(AdmissionError, match="rpc error: code = Unavailable desc = not now"):
            await kubelet.start_container("pod")
        assert plugin.calls.count("start a") == 2


async def test_dropping_an_id_during_its_allocate_is_what_kills_kubelet(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin, anyio.create_task_group() as group:
        plugin.gate = anyio.Event()
        await register(kubelet)
        await until(kubelet, 2, 2)
        group.start_soon(kubelet.admit, "pod", {R: 1})
        await kubelet.wait_for(lambda _: "allocate a" in plugin.calls)
        plugin.devices.set(devices("b"))
        await until(kubelet, 1, 1)
        plugin.gate.set()
    assert kubelet.violations == [
        f"{R}: 'a' was dropped from the list while its Allocate was open: kubelet dies of this"
    ]


async def test_pod_resources_tells_who_has_what(kubelet: SimulatedKubelet, directory: Path) -> None:
    async with serving(kubelet, "a@0", "b@1", "!c@0"):
        await register(kubelet)
        await until(kubelet, 3, 2)
        await kubelet.admit("pod", {R: 1})
        await kubelet.restart()
        await kubelet.admit("bare", {})
    async with serving(kubelet, "a@0", "b@1", "!c@0"):
        await register(kubelet)
        await until(kubelet, 3, 2)
        channel = Channel(path=os.fspath(directory / "pr" / "kubelet.sock"))
        try:
            stub = PodResourcesListerStub(channel)
            listed = await stub.list(ListPodResourcesRequest(), timeout=60)
            free = await stub.get_allocatable_resources(AllocatableResourcesRequest(), timeout=60)
            kubelet.release("pod")
            after = await stub.list(ListPodResourcesRequest(), timeout=60)
        finally:
            channel.close()
    assert {
        pod.name: [(each.resource_name, each.device_ids, each.topology) for each in pod.containers[0].devices]
        for pod in listed.pod_resources
    } == {"pod": [(R, ["a"], listed.pod_resources[0].containers[0].devices[0].topology)], "bare": []}
    assert [(each.device_ids, each.topology and each.topology.nodes[0].id) for each in free.devices] == [
        (["a"], 0),
        (["b"], 1),
    ]
    assert [pod.name for pod in after.pod_resources] == ["bare"]


async def test_a_new_kubelet_reads_the_checkpoint(kubelet: SimulatedKubelet, directory: Path) -> None:
    async with serving(kubelet, "a"):
        await register(kubelet)
        await until(kubelet, 1, 1)
        await kubelet.admit("pod", {R: 1})
        await kubelet.stop()
    async with SimulatedKubelet(kubelet.socket.parent, directory / "pr" / "kubelet.sock") as other:
        assert other.pods == ("pod",)
        assert numbers(other) == (0, 0)


async def test_a_container_with_a_broken_device_is_refused(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        await kubelet.admit("pod", {R: 1})
        plugin.devices.set(devices("!a", "b"))
        await until(kubelet, 2, 1)
        with pytest.raises(AdmissionError, match="previously allocated devices are no longer healthy"):
            await kubelet.admit("pod", {R: 1})
