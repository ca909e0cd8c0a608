"""Registration, lists and the ends of streams, as a real kubelet does them (Kubernetes 1.36, measured)."""

import anyio
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from intel_agent._proto.v1beta1 import (
    Device,
)
from intel_agent.simulation.kubelet import AdmissionError, Listed, SimulatedKubelet

from .plugin import R, devices, numbers, register, serving, until

pytestmark = pytest.mark.anyio


async def test_every_list_replaces_the_last_one(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a@0", "b@1", "c@0") as plugin:
        await register(kubelet)
        await until(kubelet, 3, 3)
        plugin.devices.set(devices("a@0", "!b@1"))
        await until(kubelet, 2, 1)
        assert kubelet.resources()[R].devices == (Listed("a", "Healthy", (0,)), Listed("b", "Unhealthy", (1,)))
        plugin.devices.set([])
        await until(kubelet, 0, 0)
        plugin.devices.set(devices("a"))
        await until(kubelet, 1, 1)
    assert kubelet.violations == []
    assert plugin.calls == ["options", "list"]


@pytest.mark.parametrize(
    ("resource", "accepted"),
    [
        pytest.param("intel.com/GPU_1.x", True, id="2: capitals in the name"),
        pytest.param(f"intel.com/{'n' * 63}", True, id="2: 63 letters"),
        pytest.param(f"intel.com/{'n' * 64}", False, id="2: 64 letters"),
        pytest.param(f"{'a.' * 121}ab/gpu", True, id="2: prefix of 244 letters"),
        pytest.param(f"{'a.' * 122}a/gpu", False, id="2: prefix of 245 letters"),
        pytest.param("limits.intel.com/gpu", True, id="2: limits"),
        pytest.param("", False, id="2: empty"),
        pytest.param("gpu", False, id="2: no prefix"),
        pytest.param("intel.com/", False, id="2: no name"),
        pytest.param("/gpu", False, id="2: empty prefix"),
        pytest.param("Intel.com/gpu", False, id="2: capitals in the prefix"),
        pytest.param("intel.com/g@pu", False, id="2: odd letter"),
        pytest.param("intel.com/a/b", False, id="2: two slashes"),
        pytest.param("x.kubernetes.io/gpu", False, id="2: kubernetes.io"),
        pytest.param("requests.intel.com/gpu", False, id="2: requests"),
        pytest.param("hugepages-2Mi", False, id="2: huge pages"),
    ],
)
async def test_accepts_the_names_that_kubelet_accepts(
    kubelet: SimulatedKubelet, resource: str, *, accepted: bool
) -> None:
    async with serving(kubelet, "a"):
        if accepted:
            await register(kubelet, resource=resource)
            await until(kubelet, 1, 1, resource)
            assert kubelet.violations == []
        else:
            with pytest.raises(GRPCError, match="is invalid") as refused:
                await register(kubelet, resource=resource)
            assert refused.value.status is Status.UNKNOWN
            assert kubelet.violations == [f'the ResourceName "{resource}" is invalid']


async def test_refuses_other_versions(kubelet: SimulatedKubelet) -> None:
    with pytest.raises(GRPCError, match='requested API version "v1alpha" is not supported by kubelet'):
        await register(kubelet, version="v1alpha")
    assert [(call.version, call.answer is None) for call in kubelet.registrations] == [("v1alpha", False)]


@pytest.mark.parametrize("dial_seconds", [0.4])
async def test_dials_before_it_answers(kubelet: SimulatedKubelet) -> None:
    with pytest.raises(GRPCError, match="failed to dial device plugin: context deadline exceeded"):
        await register(kubelet, "nobody.sock")
    assert kubelet.resources() == {}


async def test_asks_for_the_options_before_it_answers(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as plugin:
        plugin.error = GRPCError(Status.INTERNAL, "no options today")
        with pytest.raises(GRPCError, match="options: rpc error: code = Internal desc = no options today"):
            await register(kubelet)
        assert plugin.calls == ["options"]


async def test_remembers_the_deadline_of_register(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a"):
        await register(kubelet)
        (call,) = kubelet.registrations
        assert call.deadline is not None
        assert 10 < call.deadline <= 20  # what is left of it, in whole seconds


async def test_end_of_stream_makes_devices_unhealthy_and_is_never_retried(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        plugin.finish()
        await until(kubelet, 2, 0)
        assert kubelet.resources()[R].devices == (Listed("a", "Healthy"), Listed("b", "Healthy"))
        assert plugin.calls == ["options", "list"]
        assert kubelet.streams(R) == 0


@pytest.mark.parametrize("grace_seconds", [0.3])
async def test_a_resource_that_nobody_serves_is_forgotten_after_its_grace(
    kubelet: SimulatedKubelet, grace_seconds: float
) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        ended = anyio.current_time()
        plugin.finish()
        await until(kubelet, 0, 0)
        assert anyio.current_time() - ended >= grace_seconds


async def test_end_of_the_old_stream_cuts_off_the_new_plugin(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as old, serving(kubelet, "a", "b", name="q.sock") as new:
        await register(kubelet)
        await until(kubelet, 1, 1)
        await register(kubelet, "q.sock")
        await until(kubelet, 2, 2)
        old.finish()
        await until(kubelet, 2, 0)
        await kubelet.wait_for(lambda _: new.cancelled == 1)
    assert kubelet.violations == [f"{R}: registered while its last stream is open"]


@pytest.mark.parametrize("dial_seconds", [0.4])
async def test_failed_registration_leaves_stale_capacity(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as plugin:
        await register(kubelet)
        await until(kubelet, 1, 1)
        with pytest.raises(GRPCError):
            await register(kubelet, "nobody.sock")
        plugin.finish()
        await kubelet.wait_for(lambda _: kubelet.streams(R) == 0)
        assert numbers(kubelet) == (1, 1)


async def test_too_long_message_ends_the_stream(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a") as plugin:
        await register(kubelet)
        await until(kubelet, 1, 1)
        plugin.devices.set([Device(id=f"{number:>0100000}", health="Healthy") for number in range(45)])
        await until(kubelet, 1, 0)
    assert any("received message larger than max" in sentence for sentence in kubelet.violations)


async def test_restart_sweeps_sockets_keeps_files_and_forgets_capacity(kubelet: SimulatedKubelet) -> None:
    place = kubelet.socket.parent
    (place / "notes.txt").write_text("mine")
    (place / "sub").mkdir()
    async with serving(kubelet, "a") as plugin, serving(kubelet, "a", name="sub/q.sock"):
        await register(kubelet)
        await until(kubelet, 1, 1)
        answer = await kubelet.admit("pod", {R: 1})
        await kubelet.stop()
        await kubelet.wait_for(lambda resources: plugin.cancelled == 1 and not resources)
        assert kubelet.socket.exists()
        with pytest.raises(OSError, match="refused"):
            await register(kubelet)
        await kubelet.start()
        assert sorted(path.name for path in place.iterdir()) == [
            "kubelet.sock",
            "kubelet_internal_checkpoint",
            "notes.txt",
            "sub",
        ]
        assert (place / "sub" / "q.sock").exists()
        assert numbers(kubelet) == (0, 0)
        with pytest.raises(AdmissionError, match="no healthy devices present; cannot allocate unhealthy devices"):
            await kubelet.admit("other", {R: 1})
        assert await kubelet.admit("pod", {"unknown.com/x": 1}) == answer
