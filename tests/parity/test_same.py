"""Resources, ids, health, NUMA hints, options, preferences and answers are those of the existing plugins (0.36.0).

What is different on purpose, and shows on these machines, is named here; docs/compatibility.md has all of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from integration.client import Client
from integration.node import Node
from integration.running import running
from integration.waiting import PATIENCE, until

from intel_agent._proto import v1beta1
from intel_agent.simulation.kubelet import SimulatedKubelet

from .existing import existing

pytestmark = pytest.mark.anyio

KINDS = ("gpu", "npu", "gaudi", "qat", "sgx", "dsa", "iaa", "dlb", "fpga")
IOMMUFD = ("/dev/iommu", "/dev/vfio/devices/")
"""Nodes of iommufd, which only the agent hands out."""
OURS_ALONE = "gpu.intel.com/vfio"
THEIRS_ALONE = "/wq-kernel-"
"""Queues that have no node, and that containers can do nothing with."""
MONITORING = "gpu.intel.com/monitoring"


@dataclass(frozen=True)
class Answer:
    """What a container gets for one id."""

    nodes: tuple[tuple[str, str, str], ...]
    """Path in the container, on the host, permissions; their order means nothing."""
    mounts: tuple[tuple[str, str, bool], ...]
    variables: Mapping[str, str]
    annotations: Mapping[str, str]
    cdi: tuple[str, ...]


@dataclass(frozen=True)
class Resource:
    """What kubelet hears of a resource."""

    ids: Mapping[str, tuple[str, tuple[int, ...] | None]]
    """Health and NUMA nodes by id."""
    pre_start: bool
    prefers: bool
    preferred: tuple[str, ...]
    """Which two of all are preferred, if the plugin has a preference."""
    answers: Mapping[str, Answer]


Offer = dict[str, Resource]


@dataclass(frozen=True)
class Case:
    """One kind on one machine, and the same settings in the words of both."""

    kind: str
    flags: Sequence[str] = ()
    section: Mapping[str, object] | None = None


def answered(answer: v1beta1.ContainerAllocateResponse, root: str) -> Answer:
    """Return what an answer says, with host paths as they are below `root`."""
    return Answer(
        tuple(
            sorted(
                (each.container_path, each.host_path.removeprefix(root), each.permissions) for each in answer.devices
            )
        ),
        tuple(
            sorted((each.container_path, each.host_path.removeprefix(root), each.read_only) for each in answer.mounts)
        ),
        dict(answer.envs),
        dict(answer.annotations),
        tuple(sorted(each.name for each in answer.cdi_devices)),
    )


async def offer(kubelet: SimulatedKubelet, socket: Callable[[str], Path], root: str = "") -> Offer:
    """Return what kubelet knows of each resource that has devices, and what its plugin answers."""
    found: Offer = {}
    for name, known in kubelet.resources().items():
        # The existing plugins send a topology without nodes where a device is near no node, the agent sends none.
        ids = {each.id: (str(each.health), each.numa or None) for each in known.devices}
        if not ids:
            continue
        with Client(socket(name)) as client:
            options = await client.options()
            prefers = options.get_preferred_allocation_available
            wanted = await client.preferred(sorted(ids), [], 2) if prefers and len(ids) > 2 else ()
            answers = {each: answered((await client.allocate([each]))[0], root) for each in ids}
        found[name] = Resource(ids, options.pre_start_required, prefers, tuple(sorted(wanted)), answers)
    return found


async def ours(node: Node, case: Case) -> Offer:
    """Return what the agent offers."""
    disabled: dict[str, Mapping[str, object]] = {each: {"enabled": False} for each in KINDS if each != case.kind}
    node.configure(devices={**disabled, case.kind: case.section or {}})
    async with node.kubelet() as kubelet, running(node) as agent:
        await until(lambda: agent.looked and bool(agent.published), "what is there")
        await agent.until_healthy(*agent.published)
        return without_what_is_ours_alone(await offer(kubelet, node.socket, str(node.root)))


async def theirs(node: Node, case: Case, expected: Offer) -> Offer:
    """Return what the existing plugin offers in the end: as soon as it is what is expected, or when time is up."""
    async with node.kubelet() as kubelet:
        with existing(node, case.kind, case.flags) as log:
            found: Offer = {}
            with anyio.move_on_after(PATIENCE):
                while found != expected:
                    await anyio.sleep(0.1)
                    endpoints = {call.resource: call.endpoint for call in kubelet.registrations}
                    found = await offer(kubelet, lambda name: node.plugins / endpoints[name])  # noqa: B023 - awaited here
                    found = {name: each for name, each in found.items() if THEIRS_ALONE not in name}
            assert found, f"nothing is offered; the plugin's log: {log.read_text()}"
            return found


def without_what_is_ours_alone(offered: Offer) -> Offer:
    """Return an offer of the agent without what it has on purpose besides."""
    reduced: Offer = {}
    for name, resource in offered.items():
        if name == OURS_ALONE:
            continue
        answers = {
            each: replace(
                answer,
                nodes=tuple(node for node in answer.nodes if not node[0].startswith(IOMMUFD)),
                cdi=() if name == MONITORING else answer.cdi,
            )
            for each, answer in resource.answers.items()
        }
        reduced[name] = replace(resource, answers=answers)
    return reduced


SHARED = Case(
    "gpu", ["-shared-dev-num=2", "-enable-monitoring"], {"sharedDevNum": 2, "enableMonitoring": True, "cdi": "both"}
)
BALANCED = Case(
    "gpu",
    ["-shared-dev-num=3", "-allocation-policy=balanced"],
    {"sharedDevNum": 3, "preferredAllocationPolicy": "balanced", "cdi": "both"},
)
PACKED = Case(
    "gpu",
    ["-shared-dev-num=3", "-allocation-policy=packed"],
    {"sharedDevNum": 3, "preferredAllocationPolicy": "packed", "cdi": "both"},
)
EVERY_LINK = Case("gpu", ["-bypath=all"], {"bypathMode": "all", "cdi": "both"})
NO_LINK = Case("gpu", ["-bypath=none"], {"bypathMode": "none", "cdi": "both"})
NPU = Case("npu", ["-shared-dev-num=2"], {"sharedDevNum": 2})
SGX = Case("sgx", ["-enclave-limit=5", "-provision-limit=3"], {"enclaveLimit": 5, "provisionLimit": 3})
DSA = Case("dsa", ["-shared-dev-num=2"], {"sharedDevNum": 2})
IAA = Case("iaa", ["-shared-dev-num=2"], {"sharedDevNum": 2})
DLB = Case("dlb")
_EVERY_FUNCTION = ["-kernel-vf-drivers=4xxxvf,420xxvf,c6xxvf,c3xxxvf,d15xxvf,dh895xccvf", "-max-num-devices=128"]
QAT = Case("qat", _EVERY_FUNCTION)
QAT_PACKED = Case("qat", [*_EVERY_FUNCTION, "-allocation-policy=packed"], {"preferredAllocationPolicy": "packed"})
QAT_BALANCED = Case("qat", [*_EVERY_FUNCTION, "-allocation-policy=balanced"], {"preferredAllocationPolicy": "balanced"})
FUNCTION, REGION, PROGRAMMABLE = (
    Case("fpga", [f"-mode={mode}"], {"mode": mode}) for mode in ("af", "region", "regiondevel")
)

CASES: Mapping[str, Sequence[Case]] = {
    "everything": [
        *(SHARED, BALANCED, PACKED, EVERY_LINK, NO_LINK),
        *(NPU, SGX, DSA, IAA, DLB, QAT, QAT_PACKED, QAT_BALANCED, FUNCTION, REGION, PROGRAMMABLE),
    ],
    "xeon": [SGX, DSA, IAA, DLB, QAT, QAT_PACKED, QAT_BALANCED],
    "gpu-server": [SHARED, BALANCED, PACKED, EVERY_LINK, NO_LINK],
    "laptop": [SHARED, NPU],
    "bench": [BALANCED, DSA, IAA],
}


@pytest.mark.parametrize(
    ("machine", "case"),
    [
        pytest.param(machine, case, id=" ".join((machine, case.kind, *case.flags)))
        for machine, cases in CASES.items()
        for case in cases
    ],
)
async def test_what_kubelet_and_containers_get_is_the_same(node: Node, case: Case) -> None:
    expected = await ours(node, case)
    for socket in node.plugins.iterdir():
        socket.unlink()
    assert await theirs(node, case, expected) == expected


@pytest.mark.parametrize("machine", ["fpga"])
async def test_the_existing_plugin_ends_on_a_card_that_the_agent_offers(node: Node) -> None:
    """As docs/compatibility.md says: with several regions below an engine, it finds no interface id."""
    async with node.kubelet():
        with existing(node, "fpga", ["-mode=af"]) as log:
            await until(lambda: "slice bounds out of range" in log.read_text(), "its end")
    async with node.kubelet() as kubelet, running(node):
        await kubelet.wait_for(lambda seen: sum(each.allocatable for name, each in seen.items() if "/af-" in name) == 4)
