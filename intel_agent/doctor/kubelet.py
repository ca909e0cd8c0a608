"""Checks of kubelet's side: its directory, its sockets, its version, and who else serves our resources.

Source: the list of feature gates in the documentation of Kubernetes (`DevicePluginCDIDevices`, `ResourceHealthStatus`).
"""

from collections.abc import Iterator

from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Node

_DIRECTORY = "kubelet.devicePluginDirectory"
_POD_RESOURCES = "kubelet.podResourcesSocket"
OLDEST = (1, 28)
"""The oldest Kubernetes with which the agent is tried."""
NAMES_SINCE = (1, 29)
"""Since when kubelet takes CDI names from device plugins (`DevicePluginCDIDevices`)."""
HEALTH_SINCE = (1, 36)
"""Since when a pod's status says how its devices are (`ResourceHealthStatus`)."""


def directory(node: Node) -> Iterator[Finding]:
    path, problem = node.config.kubelet.device_plugin_directory, node.answers.directory
    if problem is not None:
        remedy = (
            f"run it as root where kubelet runs; if kubelet has another directory (k0s: /var/lib/k0s/kubelet), set "
            f"{_DIRECTORY}; in a pod the directory must be mounted, writable"
        )
        yield Finding(Severity.ERROR, path, "no device can be offered there", problem, remedy)


def registration(node: Node) -> Iterator[Finding]:
    path, answer = f"{node.config.kubelet.device_plugin_directory}/kubelet.sock", node.answers.registration
    if node.answers.directory is not None and not answer.there:
        return
    if answer.problem is not None:
        remedy = f"start kubelet (systemctl status kubelet); if it runs, {_DIRECTORY} is not its directory"
        yield Finding(Severity.ERROR, path, "kubelet does not answer", f"{path}: {answer.problem}", remedy)
    elif answer.unknown:
        evidence = f"{path}: unknown service v1beta1.Registration"
        yield Finding(
            Severity.ERROR, path, "kubelet does not know device plugins of v1beta1", evidence, _newer("kubelet")
        )


def pod_resources(node: Node) -> Iterator[Finding]:
    path, answer = node.config.kubelet.pod_resources_socket, node.answers.pod_resources
    if node.answers.registration.problem is not None:
        return
    if answer.problem is not None:
        remedy = f"it follows kubelet's --root-dir: set {_POD_RESOURCES}; in a pod its directory must be mounted"
        problem = "it is not known which pod holds which device, so nothing is ever moved or taken away"
        yield Finding(Severity.WARNING, path, problem, f"{path}: {answer.problem}", remedy)


def version(node: Node) -> Iterator[Finding]:
    path, answer = node.config.kubelet.pod_resources_socket, node.answers.pod_resources
    for lacking, evidence, since in (
        (answer.unknown, "unknown service v1.PodResourcesLister", "1.20"),
        (node.answers.old, "unknown method Get of v1.PodResourcesLister", "1.27"),
    ):
        if lacking:
            problem = f"kubelet is older than {since}"
            yield Finding(Severity.ERROR, path, problem, f"{path}: {evidence}", _newer("Kubernetes on this node"))
            return
    release = _release(node)
    if release is not None and release < OLDEST:
        problem = f"kubelet is older than {_words(OLDEST)}"
        yield Finding(Severity.ERROR, "kubelet", problem, _told(node), _newer("Kubernetes on this node"))


def features(node: Node) -> Iterator[Finding]:
    if (release := _release(node)) is None:
        return
    if release < NAMES_SINCE and (kinds := _by_name(node)):
        problem = f"kubelet overlooks CDI names unless told otherwise, and {', '.join(kinds)} needs them"
        remedy = f"feature gate DevicePluginCDIDevices of kubelet (from 1.28), or {_newer('it', NAMES_SINCE)}"
        if settings := [f"devices.{each}.cdi" for each in kinds if node.kinds[each].cdi == "names"]:
            remedy += f"; or set {', '.join(settings)} to both"
        yield Finding(Severity.WARNING, "kubelet", problem, _told(node), remedy)
    if release < HEALTH_SINCE and node.inventory.devices:
        problem = "the status of a pod does not say that its device is Unhealthy, unless kubelet is told to"
        remedy = f"feature gate ResourceHealthStatus of kubelet (from 1.31), or {_newer('it', HEALTH_SINCE)}"
        yield Finding(Severity.NOTE, "kubelet", problem, _told(node), remedy)


def _release(node: Node) -> tuple[int, int] | None:
    return None if node.registered is None else node.registered.release


def _told(node: Node) -> str:
    return f"node object: status.nodeInfo.kubeletVersion: {node.registered.kubelet if node.registered else '-'}"


def _by_name(node: Node) -> list[str]:
    """Return the kinds of which containers get something only by CDI names."""
    return [
        name
        for name, found in node.inventory.found.items()
        if found.devices and (node.kinds[name].cdi == "names" or any(each.edits.needs_cdi for each in found.devices))
    ]


def _newer(what: str, than: tuple[int, int] = OLDEST) -> str:
    return f"update {what} to {_words(than)} or later"


def _words(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))


def rivals(node: Node) -> Iterator[Finding]:
    directory = node.config.kubelet.device_plugin_directory
    for name, found in node.inventory.found.items():
        for resource in dict.fromkeys(each.resource for each in found.devices):
            socket = node.kinds[name].socket_name(resource)
            if socket in node.answers.served:
                problem = "another device plugin serves it, and the agent waits until that has gone"
                remedy = (
                    f"remove the other plugin's DaemonSet (docs/migrate.md), or set devices.{name}.enabled to false"
                )
                evidence = f"{directory}/{socket}: a device plugin answers that is not the agent of this node"
                yield Finding(Severity.ERROR, resource, problem, evidence, remedy)


def agent(node: Node) -> Iterator[Finding]:
    if not node.answers.agent:
        remedy = "start it: the chart's DaemonSet must have a pod on this node (nodeSelector, tolerations)"
        evidence = "nobody answers on agent.sock in the runtime directory (--runtime-directory)"
        yield Finding(Severity.NOTE, "agent", "no agent runs here, or not with this directory", evidence, remedy)
