"""What the simulated kubelet writes down of plugins that break rules, and does as it is told."""

import os
import sys

import anyio
import pytest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from intel_agent._proto.v1beta1 import (
    ContainerAllocateResponse,
    Device,
    DevicePluginOptions,
    DeviceSpec,
    RegisterRequest,
    RegistrationStub,
    TopologyInfo,
)
from intel_agent.errors import KubeletError
from intel_agent.simulation.kubelet import Happening, SimulatedKubelet

from .plugin import NODE, R, devices, register, serving, until

pytestmark = pytest.mark.anyio

REFERENCE_CLIENT = """
import sys, grpc
with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
    print(channel.unary_unary("/v1beta1.Registration/Register")(bytes.fromhex(sys.argv[2]), timeout=60))
    try:
        channel.unary_unary("/v1beta1.Registration/Nothing")(b"", timeout=60)
    except grpc.RpcError as error:
        print(error.code().name)
"""


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        pytest.param([Device(id="a", health="healthy")], "'a' has the health 'healthy'", id="23"),
        pytest.param(devices("a@-1"), "'a' names NUMA node -1", id="24"),
        pytest.param(devices("a", "b@0"), "some healthy devices have a topology and some have none", id="25"),
        pytest.param(devices("a", "a"), "'a' is listed 2 times", id="22: double"),
        pytest.param([Device(health="Healthy")], "'' is not 1 to 63 letters long", id="22: empty"),
        pytest.param(devices("a" * 64), f"'{'a' * 64}' is not 1 to 63 letters long", id="22: long"),
        pytest.param(
            [Device(id="a", health="Healthy", topology=TopologyInfo())],
            "'a' has a topology without nodes: pod-resources does not show it",
            id="10",
        ),
    ],
)
async def test_writes_down_broken_lists(kubelet: SimulatedKubelet, listed: list[Device], sentence: str) -> None:
    async with serving(kubelet) as plugin:
        plugin.devices.set(listed)
        await register(kubelet)
        await kubelet.wait_for(lambda _: bool(kubelet.violations))
    assert kubelet.violations == [f"{R}: {sentence}"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param({"permissions": ""}, "/dev/x has the permissions ''", id="42: none"),
        pytest.param({"permissions": "rwx"}, "/dev/x has the permissions 'rwx'", id="42: odd"),
        pytest.param({"host_path": "dev/null"}, "'dev/null' is not an absolute path", id="41: relative"),
        pytest.param({"host_path": "/dev/../dev/null"}, "'/dev/../dev/null' is not an absolute path", id="41: dots"),
        pytest.param({"host_path": "/dev/nothing"}, "/dev/nothing does not exist on the host", id="41: missing"),
    ],
)
async def test_writes_down_broken_answers(kubelet: SimulatedKubelet, answer: dict[str, str], sentence: str) -> None:
    spec = {"container_path": "/dev/x", "host_path": "/dev/null", "permissions": "rw", **answer}
    async with serving(kubelet, "a") as plugin:
        node = DeviceSpec(
            container_path=spec["container_path"], host_path=spec["host_path"], permissions=spec["permissions"]
        )
        plugin.answers = [ContainerAllocateResponse(devices=[node])]
        await register(kubelet)
        await until(kubelet, 1, 1)
        await kubelet.admit("pod", {R: 1})
    assert kubelet.violations == [f"{R}: {sentence}"]


async def test_writes_down_doubled_container_paths(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as plugin:
        plugin.answers = [ContainerAllocateResponse(devices=[NODE, NODE])]
        await register(kubelet)
        await until(kubelet, 1, 1)
        await kubelet.admit("pod", {R: 1})
    assert kubelet.violations == [f"{R}: container path /dev/dri/card0 is there 2 times"]


async def test_refuses_holds_and_is_slow_as_told(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as plugin, anyio.create_task_group() as group:
        kubelet.refuse("go away", times=2)
        for _ in range(2):
            with pytest.raises(GRPCError, match="go away"):
                await register(kubelet)
        kubelet.hold()
        group.start_soon(register, kubelet)
        with anyio.move_on_after(0.1):
            await plugin.devices.newer(0)
        assert plugin.calls == []
        kubelet.proceed()
        await until(kubelet, 1, 1)
        kubelet.behave(slow_seconds=60)
        with anyio.move_on_after(0.2) as hurry:
            await register(kubelet)
        assert hurry.cancelled_caught


async def test_never_cancels_when_told_so(kubelet: SimulatedKubelet) -> None:
    kubelet.behave(never_cancel=True)
    async with serving(kubelet, "a") as old, serving(kubelet, "a", "b", name="q.sock") as new:
        await register(kubelet)
        await until(kubelet, 1, 1)
        await register(kubelet, "q.sock")
        await until(kubelet, 2, 2)
        assert kubelet.streams(R) == 2
        old.finish()
        await until(kubelet, 2, 0)
        assert (new.cancelled, kubelet.streams(R)) == (0, 1)


async def test_transcript_says_what_happened(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "!b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 1)
        await kubelet.admit("pod", {R: 1})
        plugin.finish()
        await until(kubelet, 2, 0)
        await kubelet.wait_for(lambda _: kubelet.transcript[-1].what == "end")
    assert kubelet.transcript == [
        Happening("started", "kubelet"),
        Happening("register", R),
        Happening("list", R, "1 of 2 healthy"),
        Happening("allocate", R, "a"),
        Happening("admitted", "pod", "c"),
        Happening("end", R),
    ]


async def test_stop_cuts_idle_connections(kubelet: SimulatedKubelet) -> None:
    channel = Channel(path=os.fspath(kubelet.socket))
    try:
        stub = RegistrationStub(channel)
        with pytest.raises(GRPCError):
            await stub.register(RegisterRequest(), timeout=60)
        await kubelet.stop()
        with pytest.raises(OSError, match="refused"):
            await stub.register(RegisterRequest(), timeout=60)
    finally:
        channel.close()


async def test_a_resource_that_nobody_ever_registered_is_left_out(kubelet: SimulatedKubelet) -> None:
    assert (await kubelet.admit("pod", {R: 1})).ids == {}


async def test_names_endpoints_and_options_that_are_not_as_they_should_be(kubelet: SimulatedKubelet) -> None:
    (kubelet.socket.parent / "sub").mkdir()
    async with serving(kubelet, "a", name="sub/p.sock"):
        channel = Channel(path=os.fspath(kubelet.socket))
        try:
            await RegistrationStub(channel).register(
                RegisterRequest(
                    version="v1beta1",
                    endpoint="sub/p.sock",
                    resource_name=R,
                    options=DevicePluginOptions(pre_start_required=True),
                ),
                timeout=60,
            )
        finally:
            channel.close()
        await until(kubelet, 1, 1)
    assert kubelet.violations == [
        f"{R}: endpoint 'sub/p.sock' is not a bare file name",
        f"{R}: options differ between Register and GetDevicePluginOptions",
    ]


async def test_says_what_there_was_instead(kubelet: SimulatedKubelet) -> None:
    with pytest.raises(KubeletError, match=r"not within 0.05 s; there is nothing; last: started kubelet"):
        await kubelet.wait_for(lambda _: False, deadline=0.05)


async def test_stopped_kubelet_admits_nobody_and_stops_twice(kubelet: SimulatedKubelet) -> None:
    await kubelet.stop(leave_socket=False)
    await kubelet.stop()
    assert not kubelet.socket.exists()
    with pytest.raises(KubeletError, match="the kubelet is stopped"):
        await kubelet.admit("pod", {})


async def test_speaks_with_the_reference_implementation(kubelet: SimulatedKubelet) -> None:
    request = bytes(RegisterRequest(version="v1beta1", endpoint="p.sock", resource_name=R)).hex()
    async with serving(kubelet, "a"):
        client = await anyio.run_process([sys.executable, "-c", REFERENCE_CLIENT, os.fspath(kubelet.socket), request])
        assert client.stdout.decode().split() == ["b''", "UNIMPLEMENTED"]
        await until(kubelet, 1, 1)
