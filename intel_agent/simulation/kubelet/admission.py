"""Admission of pods: kubelet finds devices for each container, asks their plugins, and remembers the answers.

It follows allocateContainerResources in pkg/kubelet/cm/devicemanager/manager.go, with the topology policy `none`.
"""

from collections.abc import Callable, Mapping

import anyio.to_thread

from intel_agent.model import DeviceNode, Mount
from intel_agent.simulation.kubelet.checkpoint import Assignment, Key
from intel_agent.simulation.kubelet.devices import Devices, merged_ids
from intel_agent.simulation.kubelet.plugin import Plugin, PluginError
from intel_agent.simulation.kubelet.rules import broken_by_answers
from intel_agent.simulation.kubelet.state import AdmissionError, ContainerAnswer


class Admission:
    """What one kubelet does when a pod comes. `note` writes the transcript, `broken` takes broken rules."""

    def __init__(self, devices: Devices, note: Callable[[str, str, str], None], broken: Callable[[str], None]) -> None:
        self._devices = devices
        self._note = note
        self._broken = broken
        self.allocating: dict[str, frozenset[str]] = {}
        """Ids whose Allocate is open, by resource."""

    async def admit(self, pod: str, container: str, requests: Mapping[str, int]) -> ContainerAnswer:
        """Find devices for one container and return what it gets.

        A resource that no plugin ever registered is not kubelet's business: it is left out without an error.

        Raises:
            AdmissionError: the pod is refused; the text is the one in its status.
        """
        try:
            for resource, amount in requests.items():
                if self._devices.is_known(resource):
                    await self._allocate((pod, container, resource), amount)
        except AdmissionError as error:
            text = f"Allocate failed due to {error}, which is unexpected"
            self._note("refused", pod, text)
            raise AdmissionError(text) from error
        self._note("admitted", pod, container)
        return self.answer(pod, container)

    def answer(self, pod: str, container: str) -> ContainerAnswer:
        """Return what the container gets by all answers together: the first one wins."""
        mine = [each for key, each in self._devices.assignments.items() if key[:2] == (pod, container)]
        return _together(merged_ids(self._devices.assignments, pod, container), mine)

    async def start(self, pod: str, container: str) -> None:
        """Call PreStartContainer of every plugin that wants it, as before each start of the container.

        Raises:
            AdmissionError: one fails; the container waits.
        """
        for (its_pod, its_container, resource), assignment in list(self._devices.assignments.items()):
            endpoint = self._devices.endpoints.get(resource)
            wanted = endpoint is not None and endpoint.options.pre_start_required
            if (its_pod, its_container) == (pod, container) and wanted:
                ids = sorted(assignment.ids)
                self._note("start", resource, " ".join(ids))
                try:
                    await self._plugin(resource).start(ids)
                except PluginError as error:
                    text = f"device plugin PreStartContainer rpc failed with err: {error}"
                    raise AdmissionError(text) from error

    async def _allocate(self, key: Key, amount: int) -> None:
        resource = key[2]
        if self._devices.needed(key, amount) == 0:
            return
        ids = await self._choose(resource, amount)
        self._devices.take(resource, ids)
        self.allocating[resource] = ids
        try:
            plugin = self._plugin(resource)
            self._note("allocate", resource, " ".join(sorted(ids)))
            response = await plugin.allocate(sorted(ids))
        except (PluginError, AdmissionError) as error:
            self._devices.recount()
            raise AdmissionError(str(error)) from error
        finally:
            del self.allocating[resource]
        answers = response.container_responses
        for sentence in await anyio.to_thread.run_sync(lambda: list(broken_by_answers(resource, answers))):
            self._broken(sentence)
        if not answers:
            # The ids stay counted as used: kubelet leaks them, too.
            raise AdmissionError("no containers return in allocation response &AllocateResponse{}")
        self._devices.assign(key, ids, answers[0])

    async def _choose(self, resource: str, amount: int) -> frozenset[str]:
        """Return the ids that the plugin prefers, filled up or cut to the right number."""
        available = self._devices.available(resource)
        endpoint = self._devices.endpoints.get(resource)
        preferred = frozenset[str]()
        if endpoint is not None and endpoint.options.get_preferred_allocation_available:
            self._note("prefer", resource, f"{amount} of {len(available)}")
            try:
                preferred = await self._plugin(resource).preferred(sorted(available), (), amount)
            except PluginError as error:
                text = f"device plugin GetPreferredAllocation rpc failed with err: {error}"
                raise AdmissionError(text) from error
            if len(preferred & available) != len(preferred) or len(preferred) > amount:
                self._broken(f"{resource}: prefers {len(preferred)} of {amount}, {len(preferred - available)} unknown")
        # In fixed order where the real kubelet is random: transcripts can be compared.
        return frozenset([*sorted(preferred & available), *sorted(available - preferred)][:amount])

    def _plugin(self, resource: str) -> Plugin:
        endpoint = self._devices.endpoints.get(resource)
        if endpoint is None:
            raise AdmissionError(f"unknown Device Plugin {resource}")
        if endpoint.plugin is None or endpoint.stopped_at is not None:
            raise AdmissionError(f"endpoint {resource} has been stopped")
        return endpoint.plugin


def _together(ids: Mapping[str, tuple[str, ...]], assignments: list[Assignment]) -> ContainerAnswer:
    nodes: dict[str, DeviceNode] = {}
    mounts: dict[str, Mount] = {}
    env: dict[str, str] = {}
    annotations: dict[str, str] = {}
    cdi: dict[str, None] = {}
    for answer in (assignment.answer for assignment in assignments):
        for node in answer.devices:
            nodes.setdefault(node.container_path, DeviceNode(node.container_path, node.host_path, node.permissions))
        for mount in answer.mounts:
            mounts.setdefault(mount.container_path, Mount(mount.container_path, mount.host_path, mount.read_only))
        env = {**answer.envs, **env}
        annotations = {**answer.annotations, **annotations}
        cdi |= dict.fromkeys(device.name for device in answer.cdi_devices)
    return ContainerAnswer(ids, tuple(nodes.values()), tuple(mounts.values()), env, annotations, tuple(cdi))
