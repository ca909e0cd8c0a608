"""A function in use is not gone: its interface and its RDMA files are in a pod's network namespace."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from unit.backends.nic.card import FIRST, FOURTH, OTHER, PORT, found, machine, nic, pool, renamed, selecting, without

from intel_agent.inventory import Found
from intel_agent.links import Links
from intel_agent.model import Device
from intel_agent.simulation.disk import remove
from intel_agent.sysfs import Host

BUS = "/sys/devices/pci0000:3b"
SECTION = selecting(drivers=["iavf"], linkTypes=["ether"], pfNames=["ens1f0", "ens1f1"])
RDMA = selecting(isRdma=True)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return machine(tmp_path, PORT, OTHER)


def links(host: Host) -> Links:
    assert host.links is not None
    return host.links


def looked(section: object, host: Host, before: Found) -> Found:
    """Look with the last look in mind, as the agent does."""
    assert isinstance(section, type(SECTION))
    host.known = {each.sysfs_path: each for each in before.devices}
    return found(section, host)


def of(look: Found, address: str) -> Device:
    return next(each for each in look.devices if each.id == address)


def test_a_function_whose_interface_a_pod_has_keeps_its_answers_over_many_looks(host: Host) -> None:
    """Upstream never looks again; one that did would find a device of no link type."""
    before = look = found(SECTION, host)
    host.links = without(links(host), "ens1f0v0")
    for _ in range(10):
        look = looked(SECTION, host, look)

        assert look == before


def test_a_function_that_comes_back_under_another_name_is_the_same(host: Host) -> None:
    before = look = found(SECTION, host)
    home = links(host)
    host.links = without(home, "ens1f0v0")
    look = looked(SECTION, host, look)
    host.links = renamed(home, "ens1f0v0", "dev21")
    look = looked(SECTION, host, look)

    assert [each.id for each in look.devices] == [each.id for each in before.devices]
    assert of(look, FIRST).attributes["interface"] == "dev21"


def test_a_pod_that_has_the_rdma_device_too_changes_nothing(host: Host) -> None:
    before = look = found(RDMA, host)
    host.links = without(links(host), "ens1f1v0")
    away = remove(Path(host.root), *(f"{BUS}/{FOURTH}/{kind}" for kind in ("infiniband", "infiniband_verbs")))
    for _ in range(10):
        look = looked(RDMA, host, look)

        assert look == before
    assert away.entries


def test_an_rdma_device_alone_can_be_elsewhere_if_the_card_says_so(host: Host) -> None:
    before = found(RDMA, host)
    remove(Path(host.root), f"{BUS}/{FOURTH}/infiniband")
    without_word = looked(RDMA, host, before)
    host.links = replace(links(host), rdma_enabled={f"pci/{FOURTH}": True})
    with_word = looked(RDMA, host, before)

    assert without_word.devices == ()
    assert with_word == before


def test_another_driver_makes_it_another_device(host: Host) -> None:
    before = found(SECTION, host)
    host.links = without(links(host), "ens1f0v0")
    os.unlink(f"{host.root}{BUS}/{FIRST}/driver")
    os.symlink("../../../bus/pci/drivers/vfio-pci", f"{host.root}{BUS}/{FIRST}/driver")

    assert FIRST not in [each.id for each in looked(SECTION, host, before).devices]


def test_a_card_whose_interface_is_elsewhere_keeps_its_name(host: Host) -> None:
    before = found(SECTION, host)
    host.links = without(links(host), "ens1f0")

    assert looked(SECTION, host, before).devices == before.devices


def test_what_was_never_seen_at_home_is_not_made_up(host: Host) -> None:
    host.links = without(links(host), "ens1f0v0")
    section = nic(pool(selectors={"linkTypes": ["ether"], "pciAddresses": [FIRST]}))
    look = looked(section, host, found(section, host))

    assert [each.attributes.get("interface") for each in look.devices] == [None]  # the card's link type
