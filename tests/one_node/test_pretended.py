"""A cluster without accelerators shows those of a packaged machine."""

from e2e.cluster import Cluster
from e2e.machine import DEVICES
from e2e.pods import container
from e2e.waiting import eventually

from .release import Release

XE = "gpu.intel.com/xe"
NULL = (1, 3)


def test_pretended_devices_are_dev_null_and_leave_nothing_behind(release: Release, cluster: Cluster) -> None:
    printed = release.install({"simulation": {"node": "everything"}, "devices": {"gpu": DEVICES["gpu"]}})
    assert 'THE DEVICES ARE PRETENDED (machine "everything")' in printed
    eventually(lambda: cluster.node_status.amounts(XE)[1] > 0, "pretended devices", within=20)
    cluster.run("pod", container({XE: 1}))
    report = cluster.node.report("pod")
    assert {path for path in report.devices if "card" in path}
    assert set(report.devices.values()) == {NULL}
    cluster.delete("pod")
    release.uninstall()
    assert list(cluster.node.namespace.file("/run/intel-agent").rglob("node-*")) == []
