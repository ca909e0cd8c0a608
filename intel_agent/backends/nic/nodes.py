"""The device nodes that come with a device: of VFIO or UIO by its driver, of RDMA, vDPA and vhost-net by its selector.

Sources: Documentation/infiniband/user_verbs.rst and user_mad.rst (which node belongs to which RDMA device, by the file
`ibdev`), Documentation/ABI/testing/sysfs-bus-vdpa, and `intel_agent.userspace` for VFIO and UIO.
"""

from collections.abc import Iterator

from intel_agent import userspace
from intel_agent.backends.nic.candidates import VHOST, Candidate
from intel_agent.backends.nic.selectors import Selector
from intel_agent.model import DeviceNode, Exclusion
from intel_agent.sysfs import Host

RDMA = "/dev/infiniband"
RDMA_CONNECTIONS = f"{RDMA}/rdma_cm"
VHOST_NET, TUN = "/dev/vhost-net", "/dev/net/tun"

_RDMA_NODES = (
    ("infiniband_cm", "ucm"),
    ("infiniband_mad", "issm"),
    ("infiniband_mad", "umad"),
    ("infiniband_verbs", "uverbs"),
)
"""Classes and how their nodes begin, in the order in which containers get them."""


def of(host: Host, candidate: Candidate, selector: Selector) -> tuple[DeviceNode, ...] | Exclusion:
    """Return the nodes that a container gets with the device, or why it cannot get them.

    Raises:
        SysfsError: it cannot be told, or something else than a device node has such a name.
    """
    nodes: dict[DeviceNode, None] = {}
    for part in (_of_driver, _of_vdpa if selector.vdpa_type else _of_rdma, _of_vhost):
        found = part(host, candidate, selector)
        if isinstance(found, Exclusion):
            return found
        nodes |= dict.fromkeys(found)
    return tuple(nodes)


def _of_driver(host: Host, candidate: Candidate, selector: Selector) -> tuple[DeviceNode, ...] | Exclusion:
    del selector
    if candidate.kind != "pci":
        return ()
    if candidate.driver in userspace.VFIO_DRIVERS:
        found = userspace.vfio_nodes(host, candidate.directory, noiommu_as_group=True)
        if isinstance(found, Exclusion):
            return found
        return tuple(sorted(found, key=lambda node: node.path != userspace.CONTAINER))  # as the existing plugin does
    if candidate.driver in userspace.UIO_DRIVERS:
        node = userspace.uio_node(host, candidate.directory)
        return node if isinstance(node, Exclusion) else (node[1],)
    return ()


def _of_vdpa(host: Host, candidate: Candidate, selector: Selector) -> tuple[DeviceNode, ...] | Exclusion:
    if selector.vdpa_type != VHOST:
        return ()
    path = candidate.vhost_path
    if path and (node := host.node(path)):
        return (node,)
    evidence = f"vDPA device {candidate.vdpa_device}: {path or 'its node'} is not there"
    return Exclusion(candidate.path, "no-node", evidence, "load vhost_vdpa, and check that the agent sees all of /dev")


def _of_rdma(host: Host, candidate: Candidate, selector: Selector) -> tuple[DeviceNode, ...] | Exclusion:
    if not selector.is_rdma:
        return ()
    if not candidate.rdma_is_here:
        return candidate.earlier_nodes(f"{RDMA}/")
    nodes: list[DeviceNode] = []
    for device in candidate.rdma_devices:
        paths = list(_rdma_paths(candidate, device))
        found = {path: host.node(path) for path in paths}
        missing = [path for path, node in found.items() if node is None]
        if missing or not any("/uverbs" in path for path in paths):
            evidence = f"RDMA device {device}: {missing[0] if missing else 'its node uverbs*'} is not there"
            return Exclusion(
                candidate.path, "no-node", evidence, "load ib_uverbs, and check that the agent sees all of /dev"
            )
        nodes += [node for node in found.values() if node is not None]
    connections = host.node(RDMA_CONNECTIONS)
    return (*nodes, *([connections] if connections else ()))


def _rdma_paths(candidate: Candidate, device: str) -> Iterator[str]:
    for kind, name in _RDMA_NODES:
        for each in (candidate.directory / kind).children(f"{name}*"):
            if each.text("ibdev") == device:
                yield f"{RDMA}/{each.name}"


def _of_vhost(host: Host, candidate: Candidate, selector: Selector) -> tuple[DeviceNode, ...] | Exclusion:
    if not selector.need_vhost_net:
        return ()
    nodes = {path: host.node(path) for path in (VHOST_NET, TUN)}
    if missing := [path for path, node in nodes.items() if node is None]:
        evidence = f"needVhostNet: {missing[0]} is not there"
        return Exclusion(candidate.path, "no-vhost-net", evidence, "load vhost_net and tun; this is looked at again")
    return tuple(node for node in nodes.values() if node is not None)
