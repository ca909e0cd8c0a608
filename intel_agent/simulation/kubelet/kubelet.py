"""The simulated kubelet as tests and the demo hold it in their hands."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from intel_agent.errors import KubeletError
from intel_agent.simulation.kubelet.life import SOCKET, Life, Place
from intel_agent.simulation.kubelet.record import Record
from intel_agent.simulation.kubelet.state import (
    AdmissionError,
    ContainerAnswer,
    Happening,
    RegisterCall,
    Resource,
)

STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
"""How often something that only time changes (the grace period) is looked at."""


class SimulatedKubelet:
    """A kubelet as device plugins see it. `async with` starts and stops it; in between it can be restarted.

    `directory` is the device-plugins directory, `pod_resources` the path of the pod-resources socket.
    What outlives a restart is what outlives one of the real kubelet: the checkpoint, and the pods that run.
    """

    def __init__(
        self,
        directory: Path,
        pod_resources: Path,
        *,
        grace_seconds: float = 300.0,
        dial_seconds: float = 10.0,
        call_seconds: float = 30.0,
    ) -> None:
        self._place = Place(directory, pod_resources, grace_seconds, dial_seconds, call_seconds)
        self._record = Record()
        self._sync_loop = anyio.Lock()
        self._group = anyio.create_task_group()
        self._life: Life | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.stop()
        # Without the error: a task group would wrap it, and it is not the group's business.
        await self._group.__aexit__(None, None, None)

    async def start(self) -> None:
        """Start as the process does: sockets in the directory are deleted, the checkpoint is read."""
        if self._life is None:
            life = Life(self._place, self._record)
            await self._group.start(life.run)
            self._life = life
            self._record.note("started", "kubelet")

    async def stop(self, *, leave_socket: bool = True) -> None:
        """Stop as on SIGTERM: streams are cancelled, running pods stay, and so does the stale socket file."""
        if self._life is None:
            return
        life, self._life = self._life, None
        with anyio.CancelScope(shield=True), anyio.fail_after(STOP_SECONDS):
            await life.save()
            await life.stop()
        if not leave_socket:
            await anyio.to_thread.run_sync((self._place.directory / SOCKET).unlink)
        self._record.note("stopped", "kubelet")

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def resources(self) -> Mapping[str, Resource]:
        """Return what the node's status would say, by name; nothing while the kubelet is stopped."""
        return {} if self._life is None else self._life.devices.resources()

    async def wait_for(
        self, predicate: Callable[[Mapping[str, Resource]], bool], deadline: float = 30.0
    ) -> Mapping[str, Resource]:
        """Wait until `predicate` says yes to the resources and return them; it is asked whenever anything happens.

        Raises:
            KubeletError: that did not come true within `deadline` seconds; with what there was instead.
        """
        with anyio.move_on_after(deadline):
            while not predicate(resources := self.resources()):
                revision = self._record.changed.revision
                with anyio.move_on_after(POLL_SECONDS):
                    await self._record.changed.newer(revision)
            return resources
        there = ", ".join(f"{each.name} {each.allocatable}/{each.capacity}" for each in self.resources().values())
        last = "; ".join(map(str, self._record.transcript[-5:]))
        raise KubeletError(f"not within {deadline} s; there is {there or 'nothing'}; last: {last or 'nothing'}")

    async def admit(self, pod: str, requests: Mapping[str, int], container: str = "c") -> ContainerAnswer:
        """Admit a container of a pod, as the kubelet does one after the other, and return what the container gets.

        For a container that has its devices already the plugin is not asked again.

        Raises:
            AdmissionError: the pod is refused, in kubelet's words; it is not a pod of this node any more.
        """
        async with self._sync_loop:
            life = self._alive()
            containers = self._record.pods.setdefault(pod, [])
            if container not in containers:
                containers.append(container)
            life.devices.collect(self._record.pods)
            try:
                return await life.admission.admit(pod, container, requests)
            except AdmissionError:
                del self._record.pods[pod]
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    await life.save()

    async def start_container(self, pod: str, container: str = "c") -> None:
        """Call PreStartContainer where plugins want it, as before each start of a container.

        Raises:
            AdmissionError: a plugin refuses; kubelet would try again some seconds later.
        """
        await self._alive().admission.start(pod, container)

    def release(self, pod: str) -> None:
        """End a pod. As with the real one, its devices come back when the next pod comes or somebody lists pods."""
        self._record.pods.pop(pod, None)

    def refuse(self, text: str, times: int = 1) -> None:
        """Refuse the next registrations with `text`."""
        self._record.moods.refusals.extend([text] * times)

    def hold(self) -> None:
        """Let registrations wait until `proceed`."""
        self._record.moods.gate = anyio.Event()

    def proceed(self) -> None:
        if self._record.moods.gate is not None:
            self._record.moods.gate.set()

    def behave(self, *, slow_seconds: float = 0.0, never_cancel: bool = False) -> None:
        """Take `slow_seconds` to answer Register; leave connections open that a real kubelet would close."""
        self._record.moods.slow_seconds = slow_seconds
        self._record.moods.never_cancel = never_cancel

    def streams(self, resource: str) -> int:
        """Return how many ListAndWatch streams are open for the resource."""
        return 0 if self._life is None else self._life.streams[resource]

    @property
    def socket(self) -> Path:
        """Where plugins register."""
        return self._place.directory / SOCKET

    @property
    def pods(self) -> tuple[str, ...]:
        return tuple(self._record.pods)

    @property
    def violations(self) -> list[str]:
        """Rules that plugins broke, in the order in which they did."""
        return self._record.violations

    @property
    def transcript(self) -> list[Happening]:
        """Everything that happened, in a form that does not depend on time or machine."""
        return self._record.transcript

    @property
    def registrations(self) -> list[RegisterCall]:
        """Every call of Register, refused ones too."""
        return self._record.registrations

    def _alive(self) -> Life:
        if self._life is None:
            raise KubeletError("the kubelet is stopped")
        return self._life
