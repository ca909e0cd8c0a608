"""What a plugin must not do: every broken rule is a sentence. Kubelet itself mostly does not complain."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from intel_agent._proto.v1beta1 import ContainerAllocateResponse, Device, DevicePluginOptions, RegisterRequest
from intel_agent.simulation.kubelet.state import HEALTHY

VERSION = "v1beta1"
LONGEST_ID = 63
MESSAGE_LIMIT = 4 << 20
"""What kubelet takes in one message, in bytes: gRPC's default."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")
_UNHEALTHY = "Unhealthy"


def is_resource_name(name: str) -> bool:
    """Return whether kubelet accepts the name for a resource of a plugin."""
    prefix, slash, rest = name.partition("/")
    if not slash or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    # Quota names are made of it, so the prefix must leave room for `requests.`.
    fits = len(f"requests.{prefix}") <= 253  # noqa: PLR2004 - the longest DNS subdomain
    return fits and _PREFIX.fullmatch(prefix) is not None and _NAME.fullmatch(rest) is not None


def broken_by_registration(request: RegisterRequest, options: DevicePluginOptions) -> Iterator[str]:
    """Yield what is wrong with a registration that kubelet accepts."""
    if "/" in request.endpoint:
        yield f"{request.resource_name}: endpoint {request.endpoint!r} is not a bare file name"
    if request.options is not None and request.options != options:
        yield f"{request.resource_name}: options differ between Register and GetDevicePluginOptions"


def broken_by_list(resource: str, devices: Iterable[Device], allocating: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with a list of devices that comes while an Allocate of `allocating` is open."""
    listed = list(devices)
    for identifier, times in Counter(device.id for device in listed).items():
        if times > 1:
            yield f"{resource}: {identifier!r} is listed {times} times"
        if not 0 < len(identifier) <= LONGEST_ID:
            yield f"{resource}: {identifier!r} is not 1 to {LONGEST_ID} letters long"
    for device in listed:
        yield from _broken_by_device(resource, device)
    hinted = {device.topology is not None for device in listed if device.health == HEALTHY}
    if len(hinted) > 1:
        yield f"{resource}: some healthy devices have a topology and some have none"
    for identifier in sorted(set(allocating) - {device.id for device in listed}):
        yield f"{resource}: {identifier!r} was dropped from the list while its Allocate was open: kubelet dies of this"


def _broken_by_device(resource: str, device: Device) -> Iterator[str]:
    if device.health not in {HEALTHY, _UNHEALTHY}:
        yield f"{resource}: {device.id!r} has the health {device.health!r}"
    if device.topology is not None:
        if not device.topology.nodes:
            yield f"{resource}: {device.id!r} has a topology without nodes: pod-resources does not show it"
        for node in device.topology.nodes:
            if node.id < 0:
                yield f"{resource}: {device.id!r} names NUMA node {node.id}"


def broken_by_answers(resource: str, answers: list[ContainerAllocateResponse]) -> Iterator[str]:
    """Yield what is wrong with the answers to an Allocate for one container. Looks whether the nodes exist."""
    if len(answers) != 1:
        yield f"{resource}: {len(answers)} container responses to 1 container request"
    for answer in answers:
        for path, times in Counter(inside for _, inside in _paths(answer)).items():
            if times > 1:
                yield f"{resource}: container path {path} is there {times} times"
        for node in answer.devices:
            if _PERMISSIONS.fullmatch(node.permissions) is None or len(set(node.permissions)) < len(node.permissions):
                yield f"{resource}: {node.container_path} has the permissions {node.permissions!r}"
        for host, inside in _paths(answer):
            yield from _broken_by_path(resource, host, must_exist=True)
            yield from _broken_by_path(resource, inside, must_exist=False)


def _paths(answer: ContainerAllocateResponse) -> Iterator[tuple[str, str]]:
    for node in answer.devices:
        yield node.host_path, node.container_path
    for mount in answer.mounts:
        yield mount.host_path, mount.container_path


def _broken_by_path(resource: str, path: str, *, must_exist: bool) -> Iterator[str]:
    if not path.startswith("/") or ".." in path.split("/"):
        yield f"{resource}: {path!r} is not an absolute path"
    elif must_exist and not os.path.exists(path):
        yield f"{resource}: {path} does not exist on the host"
