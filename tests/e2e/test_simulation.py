"""Pretended devices in real containers: under each path of a device there is the host's /dev/null."""

from collections.abc import Callable, Mapping

import pytest

from .agent import Agent
from .machine import ENCLAVE, SHARED, XE
from .node import Node
from .waiting import eventually

NULL = (1, 3)
CARD = {
    "/dev/dri/card0",
    "/dev/dri/renderD128",
    "/dev/dri/by-path/pci-0000:3b:00.0-card",
    "/dev/dri/by-path/pci-0000:3b:00.0-render",
}


@pytest.mark.parametrize("use", ["none", "names", "both"])
def test_a_container_gets_dev_null_under_each_path(node: Node, start_agent: Callable[..., Agent], use: str) -> None:
    sections: dict[str, Mapping[str, object]] = {kind: {"cdi": use} for kind in ("gpu", "sgx", "dsa")}
    # Kubelet remembers every resource it ever heard of: no other ones than those of the other tests.
    sections["iaa"] = {"enabled": False}
    agent = start_agent("pretender", top={"simulation": {"node": "everything"}}, **sections)
    # Kinds register one after the other: a pod that comes before its last resource is refused for good.
    enclaves = frozenset(f"sgx-enclave-{number}" for number in range(110))
    wanted = {XE: frozenset({"card0-0"}), SHARED: frozenset({"wq-user-shared-wq0.0-0"}), ENCLAVE: enclaves}
    eventually(lambda: wanted.items() <= node.pod_resources.allocatable().items(), "pretended devices", within=10)
    pod = node.run({XE: 1, SHARED: 1, ENCLAVE: 1}).until_running()
    devices = pod.report().devices
    assert devices.keys() >= {*CARD, "/dev/dsa/wq0.0", "/dev/sgx_enclave"}
    assert set(devices.values()) == {NULL}
    assert all(pod.report().permitted(path) for path in devices)
    pod.remove()
    assert agent.process.stop(within=5) == 0
