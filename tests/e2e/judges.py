"""The real kubelet and the simulated one, asked in the same words."""

import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from anyio.from_thread import BlockingPortal, start_blocking_portal

from intel_agent.simulation.kubelet import AdmissionError, SimulatedKubelet

from .kubelet import Place
from .machine import device
from .node import Node, StaticPod, refusal
from .podresources import PodResources
from .waiting import eventually

ADMISSION_SECONDS = 20.0


class Judge(Protocol):
    """A kubelet, and what it says in a form that depends neither on it nor on chance."""

    @property
    def place(self) -> Place: ...

    def admit(self, pod: str, limits: Mapping[str, int]) -> str:
        """Start a pod; return its devices and device nodes, or why it is refused."""
        ...

    def release(self, pod: str) -> None:
        """End a pod."""
        ...

    def restart(self) -> None:
        """Stop the kubelet and start it again."""
        ...


class RealJudge:
    """The real kubelet."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pods: dict[str, StaticPod] = {}

    @property
    def place(self) -> Place:
        return self._node.place

    def admit(self, pod: str, limits: Mapping[str, int]) -> str:
        static = self._pods[pod] = self._node.run(limits)
        phase = eventually(
            lambda: static.status.phase.replace("Pending", ""), f"admission of {pod}", within=ADMISSION_SECONDS
        )
        if phase == "Failed":
            return static.until_refused()
        return admitted(static.devices, static.report().devices)

    def release(self, pod: str) -> None:
        self._pods.pop(pod).remove()

    def restart(self) -> None:
        self._node.kubelet.restart()


class SimulatedJudge:
    """The simulated kubelet, in a thread of its own."""

    def __init__(self, portal: BlockingPortal, kubelet: SimulatedKubelet, place: Place) -> None:
        self._portal = portal
        self._kubelet = kubelet
        self.place = place

    def admit(self, pod: str, limits: Mapping[str, int]) -> str:
        try:
            answer = self._portal.call(self._kubelet.admit, pod, limits)
        except AdmissionError as error:
            return refusal(str(error))
        paths = [node.path for node in answer.device_nodes] + [mount.container_path for mount in answer.mounts]
        return admitted((each for ids in answer.ids.values() for each in ids), paths)

    def release(self, pod: str) -> None:
        self._portal.call(self._kubelet.release, pod)

    def restart(self) -> None:
        self._portal.call(self._kubelet.restart)


@contextmanager
def simulated_judge() -> Generator[SimulatedJudge, None, None]:
    with tempfile.TemporaryDirectory(prefix="e2e-") as base, start_blocking_portal() as portal:
        plugins, socket = Path(base, "plugins"), Path(base, "pod-resources.sock")
        plugins.mkdir()
        kubelet = portal.call(SimulatedKubelet, plugins, socket)
        with portal.wrap_async_context_manager(kubelet):
            place = Place(Path(base), plugins, PodResources(socket), Path(base, "cdi"), Path(base, "device-info"))
            yield SimulatedJudge(portal, kubelet, place)


def admitted(ids: Iterable[str], paths: Iterable[str]) -> str:
    """Return what a pod got: of equal shares kubelet takes any."""
    return f"{' '.join(sorted(map(device, ids)))}: {' '.join(sorted(paths))}"
