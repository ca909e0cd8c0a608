"""The simulated kubelet does to a plugin what a real one does (Kubernetes 1.36, measured)."""

import os
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from intel_agent._proto.v1 import AllocatableResourcesRequest, ListPodResourcesRequest, PodResourcesListerStub
from intel_agent._proto.v1beta1 import (
    AllocateRequest,
    AllocateResponse,
    ContainerAllocateResponse,
    ContainerPreferredAllocationResponse,
    Device,
    DevicePluginBase,
    DevicePluginOptions,
    DeviceSpec,
    Empty,
    ListAndWatchResponse,
    Mount,
    NumaNode,
    PreferredAllocationRequest,
    PreferredAllocationResponse,
    PreStartContainerRequest,
    PreStartContainerResponse,
    RegisterRequest,
    RegistrationStub,
    TopologyInfo,
)
from intel_agent.errors import KubeletError
from intel_agent.latest import Latest
from intel_agent.model import DeviceNode
from intel_agent.simulation.kubelet import AdmissionError, Happening, Listed, SimulatedKubelet

pytestmark = pytest.mark.anyio

R = "gpu.intel.com/i915"
NODE = DeviceSpec(container_path="/dev/dri/card0", host_path="/dev/null", permissions="rw")


def devices(*words: str) -> list[Device]:
    """Return devices by words: `a` is healthy, `!a` is not, `a@1` sits on NUMA node 1."""
    return [_device(word) for word in words]


def _device(word: str) -> Device:
    name, _, node = word.removeprefix("!").partition("@")
    topology = TopologyInfo(nodes=[NumaNode(id=int(node))]) if node else None
    return Device(id=name, health="Unhealthy" if word.startswith("!") else "Healthy", topology=topology)


@dataclass
class Plugin(DevicePluginBase):
    """A plugin that does as it is told."""

    path: Path
    devices: Latest[list[Device]]
    options: DevicePluginOptions = field(default_factory=DevicePluginOptions)
    answers: list[ContainerAllocateResponse] = field(
        default_factory=lambda: [ContainerAllocateResponse(devices=[NODE])]
    )
    preferred: list[str] = field(default_factory=list[str])
    error: GRPCError | None = None
    end: anyio.Event = field(default_factory=anyio.Event)
    """Ends the stream from the plugin's side."""
    gate: anyio.Event | None = None
    calls: list[str] = field(default_factory=list[str])
    cancelled: int = 0

    async def get_device_plugin_options(self, message: Empty) -> DevicePluginOptions:
        self.calls.append("options")
        if self.error is not None:
            raise self.error
        return self.options

    async def list_and_watch(self, message: Empty) -> AsyncIterator[ListAndWatchResponse]:
        self.calls.append("list")
        revision = -1
        try:
            while not self.end.is_set():
                listed, revision = await self.devices.newer(revision)
                if not self.end.is_set():
                    yield ListAndWatchResponse(devices=listed)
        except BaseException:
            self.cancelled += 1
            raise

    async def get_preferred_allocation(self, message: PreferredAllocationRequest) -> PreferredAllocationResponse:
        request = message.container_requests[0]
        self.calls.append(f"prefer {request.allocation_size} of {' '.join(request.available_deviceIDs)}")
        if self.error is not None:
            raise self.error
        preferred = ContainerPreferredAllocationResponse(device_i_ds=self.preferred)
        return PreferredAllocationResponse(container_responses=[preferred])

    async def allocate(self, message: AllocateRequest) -> AllocateResponse:
        self.calls.append(f"allocate {' '.join(message.container_requests[0].devices_ids)}")
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return AllocateResponse(container_responses=self.answers)

    async def pre_start_container(self, message: PreStartContainerRequest) -> PreStartContainerResponse:
        self.calls.append(f"start {' '.join(message.devices_ids)}")
        if self.error is not None:
            raise self.error
        return PreStartContainerResponse()

    def finish(self) -> None:
        """End the stream."""
        self.end.set()
        self.devices.set(self.devices.value)


@pytest.fixture
def directory() -> Iterator[Path]:
    # A socket's path has room for 107 letters only: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ia") as name:
        yield Path(name)


@pytest.fixture
async def kubelet(directory: Path) -> AsyncIterator[SimulatedKubelet]:
    place = directory / "dp"
    async with SimulatedKubelet(place, directory / "pr" / "kubelet.sock", dial_seconds=0.4, grace_seconds=0.5) as it:
        yield it


@asynccontextmanager
async def serving(
    kubelet: SimulatedKubelet, *words: str, name: str = "p.sock", options: DevicePluginOptions | None = None
) -> AsyncGenerator[Plugin]:
    """Give a plugin that listens and is not yet registered."""
    plugin = Plugin(kubelet.socket.parent / name, Latest(devices(*words)), options or DevicePluginOptions())
    server = Server([plugin])
    await server.start(path=os.fspath(plugin.path))
    try:
        yield plugin
    finally:
        plugin.finish()
        await anyio.sleep(0.01)
        server.close()


async def register(
    kubelet: SimulatedKubelet, endpoint: str = "p.sock", resource: str = R, version: str = "v1beta1"
) -> None:
    channel = Channel(path=os.fspath(kubelet.socket))
    try:
        await RegistrationStub(channel).register(
            RegisterRequest(version=version, endpoint=endpoint, resource_name=resource), timeout=20
        )
    finally:
        channel.close()


def numbers(kubelet: SimulatedKubelet, resource: str = R) -> tuple[int, int] | None:
    seen = kubelet.resources().get(resource)
    return None if seen is None else (seen.capacity, seen.allocatable)


async def until(kubelet: SimulatedKubelet, capacity: int, allocatable: int, resource: str = R) -> None:
    await kubelet.wait_for(lambda _: numbers(kubelet, resource) == (capacity, allocatable))


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
        assert 18 < call.deadline <= 20  # grpclib sends whole seconds


async def test_end_of_stream_makes_devices_unhealthy_and_is_never_retried(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        plugin.finish()
        await until(kubelet, 2, 0)
        assert kubelet.resources()[R].devices == (Listed("a", "Healthy"), Listed("b", "Healthy"))
        await until(kubelet, 0, 0)  # the grace period
        assert plugin.calls == ["options", "list"]
        assert kubelet.streams(R) == 0


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
            listed = await stub.list(ListPodResourcesRequest(), timeout=5)
            free = await stub.get_allocatable_resources(AllocatableResourcesRequest(), timeout=5)
            kubelet.release("pod")
            after = await stub.list(ListPodResourcesRequest(), timeout=5)
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
        kubelet.behave(slow_seconds=0.3)
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
            await stub.register(RegisterRequest(), timeout=5)
        await kubelet.stop()
        with pytest.raises(OSError, match="refused"):
            await stub.register(RegisterRequest(), timeout=5)
    finally:
        channel.close()


async def test_a_resource_that_nobody_ever_registered_is_left_out(kubelet: SimulatedKubelet) -> None:
    assert (await kubelet.admit("pod", {R: 1})).ids == {}


async def test_a_container_with_a_broken_device_is_refused(kubelet: SimulatedKubelet) -> None:
    async with serving(kubelet, "a", "b") as plugin:
        await register(kubelet)
        await until(kubelet, 2, 2)
        await kubelet.admit("pod", {R: 1})
        plugin.devices.set(devices("!a", "b"))
        await until(kubelet, 2, 1)
        with pytest.raises(AdmissionError, match="previously allocated devices are no longer healthy"):
            await kubelet.admit("pod", {R: 1})


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
                timeout=5,
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


REFERENCE_CLIENT = """
import sys, grpc
with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
    print(channel.unary_unary("/v1beta1.Registration/Register")(bytes.fromhex(sys.argv[2]), timeout=5))
    try:
        channel.unary_unary("/v1beta1.Registration/Nothing")(b"", timeout=5)
    except grpc.RpcError as error:
        print(error.code().name)
"""


async def test_speaks_with_the_reference_implementation(kubelet: SimulatedKubelet) -> None:
    request = bytes(RegisterRequest(version="v1beta1", endpoint="p.sock", resource_name=R)).hex()
    async with serving(kubelet, "a"):
        client = await anyio.run_process([sys.executable, "-c", REFERENCE_CLIENT, os.fspath(kubelet.socket), request])
        assert client.stdout.decode().split() == ["b''", "UNIMPLEMENTED"]
        await until(kubelet, 1, 1)
