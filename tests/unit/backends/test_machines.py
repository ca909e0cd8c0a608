"""Whole machines: sound ones give no findings, and their ids are good names."""

import re

import pytest

from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.idxd import Dsa, Iaa
from intel_agent.backends.sgx import Sgx
from intel_agent.inventory import Found, Inventory
from intel_agent.simulation.tree import names, node
from intel_agent.sysfs import Host

BACKENDS: tuple[Backend, ...] = (Gpu(enable_monitoring=True, shared_dev_num=10), Sgx(), Dsa(shared_dev_num=10), Iaa())
CONFIGURED = {"has-virtual-functions", "queue-type", "not-enabled"}
"""Rules that speak of an administrator's choice, not of something odd."""


@pytest.mark.parametrize("tree", [pytest.param(node(name), id=name) for name in names()])
def test_a_sound_machine_gives_no_findings(host: Host) -> None:
    inventory = Inventory.of({backend.name: Found.of(backend.discover(host)) for backend in BACKENDS})

    assert {each.rule for each in inventory.exclusions} <= CONFIGURED
    assert [each for each in inventory.devices if each.faults] == []


@pytest.mark.parametrize("tree", [pytest.param(node(name), id=name) for name in names()])
def test_every_id_is_short_and_plain(host: Host) -> None:
    inventory = Inventory.of({backend.name: Found.of(backend.discover(host)) for backend in BACKENDS})

    for device in inventory.devices:
        assert all(re.fullmatch(r"[a-zA-Z0-9.-]{1,63}", each) for each in (*device.ids, device.cdi_name))


@pytest.mark.parametrize("tree", [node("bench")])
def test_the_machine_of_the_benchmarks_has_what_they_count(host: Host) -> None:
    inventory = Inventory.of({backend.name: Found.of(backend.discover(host)) for backend in BACKENDS})
    ids = {name: sum(len(each.ids) for each in devices) for name, devices in inventory.resources.items()}

    assert sum(count for name, count in ids.items() if name in {"gpu.intel.com/i915", "gpu.intel.com/xe"}) == 80
    assert (ids["sgx.intel.com/enclave"], ids["sgx.intel.com/provision"]) == (110, 110)
    assert len(inventory.found["dsa"].devices) == len(inventory.found["iaa"].devices) == 16
