"""Rules on the devices of real kinds: what only a kind knows."""

from pathlib import Path

import msgspec
import pytest

from intel_agent.backends import Backend
from intel_agent.backends.dsa import Dsa
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found
from intel_agent.model import Device, RuleProblem
from intel_agent.simulation.disk import materialise, remove
from intel_agent.simulation.tree import NODES
from intel_agent.sysfs import Host

THIRD = "/sys/devices/pci0000:5c/0000:5c:00.0/0000:5d:00.0"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the node `everything`: card0 is driven by xe, card1 by i915, half of the queues are shared.

    Without its third card, of which a virtual machine gets a part.
    """
    materialise((NODES / "everything.tree").read_text(), tmp_path / "node")
    remove(tmp_path / "node", THIRD)
    return Host(str(tmp_path / "node"))


def found(host: Host, kind: type[Backend], rules: list[dict[str, object]], **section: object) -> Found:
    backend = msgspec.convert({"rules": rules, **section}, kind)
    return backend.ruled(Found.of(backend.discover(host)))


def monitoring(seen: Found) -> list[Device]:
    return [each for each in seen.devices if each.resource == "gpu.intel.com/monitoring"]


def test_a_hidden_card_cannot_be_monitored_either(host: Host) -> None:
    seen = found(host, Gpu, [{"match": {"name": "card0"}, "hide": True}], enableMonitoring=True)
    (all_cards,) = monitoring(seen)

    assert [each.id for each in seen.devices] == ["card1", "all"]
    assert all_cards.attributes == {"cards": "card1"}
    assert {node.path for node in all_cards.edits.device_nodes if "/dri/" in node.path} == {
        node.path for node in seen.devices[0].edits.device_nodes
    }
    assert all_cards.decided_by is None


def test_a_reserved_card_is_still_monitored(host: Host) -> None:
    seen = found(host, Gpu, [{"match": {"name": "card0"}, "reserve": True}], enableMonitoring=True)

    assert [each.attributes for each in monitoring(seen)] == [{"cards": "card0,card1"}]


def test_without_a_card_to_be_seen_there_is_nothing_to_monitor(host: Host) -> None:
    assert found(host, Gpu, [{"match": {}, "hide": True}], enableMonitoring=True).devices == ()


def test_monitoring_is_meant_by_its_resource_only(host: Host) -> None:
    rules: list[dict[str, object]] = [
        {"match": {"resource": "gpu.intel.com/monitoring"}, "resource": "all", "shares": 2},
        {"match": {}, "hide": True},
    ]
    seen = found(host, Gpu, [rules[0]], enableMonitoring=True)

    assert [(each.id, each.resource, each.ids) for each in seen.devices][2:] == [("all", "gpu.intel.com/all", ("all",))]
    assert seen.rule_problems == (RuleProblem("devices.gpu.rules[0]", "shares: all cannot be shared"),)


def test_only_shared_queues_are_shared(host: Host) -> None:
    plain = found(host, Dsa, [])
    seen = found(host, Dsa, [{"match": {}, "shares": 3}])
    dedicated = [each.id for each in plain.devices if each.attributes["mode"] == "dedicated"]

    assert {each.id: each.shares for each in seen.devices} == {
        each.id: 1 if each.id in dedicated else 3 for each in plain.devices
    }
    assert [each.setting for each in seen.rule_problems] == ["devices.dsa.rules[0]"]
    assert f"{dedicated[0]}, " in seen.rule_problems[0].problem


def test_a_rule_may_ask_for_the_mode_of_a_queue(host: Host) -> None:
    match = {"attributes": {"mode": "shared"}, "name": "wq0.*"}
    seen = found(host, Dsa, [{"match": match, "shares": 3, "resource": "batch"}])

    assert seen.rule_problems == ()
    assert {each.resource for each in seen.devices if each.shares == 3} == {"dsa.intel.com/batch"}


def test_enclaves_keep_their_limit_under_another_name(host: Host) -> None:
    seen = found(host, Sgx, [{"match": {"name": "sgx_enclave"}, "resource": "confidential"}])

    assert [(each.resource, each.shares) for each in seen.devices] == [
        ("sgx.intel.com/confidential", 110),
        ("sgx.intel.com/provision", 110),
    ]
