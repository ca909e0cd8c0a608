"""Pods for every kind on the cluster, and what their containers find."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from e2e.cluster import Cluster
from e2e.kinds import finding, variables
from e2e.pods import container, manifest


def pod_name(resource: str) -> str:
    """Return the name of the pod that has a device of this resource."""
    return re.sub("[^a-z0-9]+", "-", resource.lower())


@contextmanager
def one_pod_each(cluster: Cluster, resources: Iterable[str]) -> Generator[None]:
    """Have a pod with one device of each resource, all of them at the same time."""
    pods = {pod_name(each): container({each: 1}) for each in resources}
    for name, each in pods.items():
        cluster.create(manifest(name, [each], host_network=False))
    for name in pods:
        cluster.until_phase(name, "Running")
    yield
    cluster.delete(*pods)


def found(cluster: Cluster, pod: str, count: int, *, number: tuple[int, int] | None = None) -> None:
    """Check that a pod's container finds what belongs to its `count` devices, may open it, and finds nothing else.

    With `number` every device node is this one.
    """
    held = [(each.resource, each.device) for each in cluster.node.pod_resources.holdings() if each.pod == pod]
    assert len(held) == count
    expected, report = finding(held), cluster.node.report(pod)
    assert report.devices == {path: number or own for path, own in expected.nodes.items()}
    assert [path for path in report.devices if not report.permitted(path)] == []
    assert variables(report.environment) == variables(expected.environment)
