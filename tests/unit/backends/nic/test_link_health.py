"""Whose link has to be there, and what a missing one means."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.backends.nic.card import (
    FIFTH,
    FIRST,
    FOURTH,
    OTHER,
    PORT,
    SCALABLE,
    SECOND,
    THIRD,
    found,
    machine,
    nic,
    pool,
    seen,
    without,
)

from intel_agent.backends.nic.pools import Pool, pool_problems
from intel_agent.links import Interface, Links, VirtualFunction
from intel_agent.model import Reason
from intel_agent.sysfs import Host

NO_CARRIER = {"carrier": False, "operstate": "down"}
ADMIN_DOWN = {"up": False, **NO_CARRIER}
ALL = {FIRST, SECOND, THIRD}
MINE = {"pfNames": ["ens1f0"]}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return machine(tmp_path, PORT, OTHER)


def told(name: str, **facts: object) -> Links:
    """Return what netlink tells, with other facts of one interface."""
    known = seen(PORT, OTHER)
    interfaces: tuple[Interface, ...] = tuple(
        replace(each, **facts) if each.name == name else each  # type: ignore[arg-type]  # of several types
        for each in known.interfaces
    )
    return replace(known, interfaces=interfaces)


def states(**states: str) -> tuple[VirtualFunction, ...]:
    return tuple(VirtualFunction(number, states.get(f"vf{number}", "auto")) for number in range(3))


def without_link(host: Host, link_health: str, **more: object) -> set[str]:
    """Return which devices have no link, if so much is asked of it."""
    section = nic(pool(selectors=MINE, linkHealth=link_health, **more))
    devices = found(section, host).devices
    assert {fault.reason for each in devices for fault in each.faults} <= {Reason.LINK_DOWN}
    return {each.id for each in devices if each.faults}


@pytest.mark.parametrize(
    ("links", "pf", "vf"),
    [
        pytest.param(seen(PORT, OTHER), set[str](), set[str](), id="all is well"),
        pytest.param(told("ens1f0", **NO_CARRIER), ALL, set[str](), id="the cable of the port is pulled"),
        pytest.param(told("ens1f0", operstate="dormant"), ALL, set[str](), id="waiting for a key (802.1X)"),
        pytest.param(told("ens1f0", operstate="unknown"), set[str](), set[str](), id="a driver that sets no state"),
        pytest.param(told("ens1f0", carrier=None), set[str](), set[str](), id="a kernel that tells no carrier"),
        pytest.param(told("ens1f0", **ADMIN_DOWN), set[str](), set[str](), id="a port that is down for DPDK's sake"),
        pytest.param(told("ens1f0v1", **NO_CARRIER), set[str](), {SECOND}, id="a function"),
        pytest.param(told("ens1f0v1", **ADMIN_DOWN), set[str](), set[str](), id="a function that nobody took up yet"),
        pytest.param(told("ens1f1", **NO_CARRIER), set[str](), set[str](), id="the other port"),
        pytest.param(
            told("ens1f0", virtual_functions=states(vf2="disable")), set[str](), {THIRD}, id="switched off by intent"
        ),
        pytest.param(
            told("ens1f0", virtual_functions=states(vf0="enable"), **NO_CARRIER),
            {SECOND, THIRD},
            set[str](),
            id="switched on without a cable",
        ),
        pytest.param(without(seen(PORT, OTHER), "ens1f0"), set[str](), set[str](), id="a port that nobody sees"),
        pytest.param(
            without(told("ens1f0v1", **NO_CARRIER), "ens1f0v1"), set[str](), set[str](), id="a function in a pod"
        ),
    ],
)
def test_the_links_that_are_asked_for_are_judged(host: Host, links: Links, pf: set[str], vf: set[str]) -> None:
    host.links = links

    assert without_link(host, "none") == set()
    assert without_link(host, "pf") == pf
    assert without_link(host, "vf") == vf
    assert without_link(host, "both") == pf | vf


def test_without_a_word_nothing_is_judged(host: Host) -> None:
    """Upstream knows no health: what it would hand out is handed out."""
    host.links = told("ens1f0", **NO_CARRIER)

    assert {each.faults for each in found(nic(pool()), host).devices} == {frozenset()}


def test_two_pools_of_one_card_may_differ(host: Host) -> None:
    host.links = told("ens1f0", **NO_CARRIER)
    user = pool(resource="intel.com/user", selectors={"drivers": ["vfio-pci"], "pfNames": ["ens1f0"]})
    kernel = pool(resource="intel.com/kernel", selectors={"drivers": ["iavf"], "pfNames": ["ens1f0"]}, linkHealth="pf")

    devices = found(nic(user, kernel), host).devices

    assert {each.id for each in devices if each.faults} == {FIRST, SECOND}


def test_scalable_functions_share_the_port(host: Host) -> None:
    host.links = told("ens1f1", **NO_CARRIER)
    section = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"]}, linkHealth="pf"))

    assert [(each.id, bool(each.faults)) for each in found(section, host).devices] == [(SCALABLE, True)]


def test_a_physical_function_is_its_own(tmp_path: Path) -> None:
    bare = replace(PORT, virtual=())
    host = machine(tmp_path, bare, OTHER)
    host.links = replace(seen(bare), interfaces=tuple(replace(each, carrier=False) for each in seen(bare).interfaces))
    section = nic(pool(selectors={"rootDevices": [], "pciAddresses": ["0000:3b:00.0"]}, linkHealth="pf"))

    (device,) = found(section, host).devices

    assert [fault.reason for fault in device.faults] == [Reason.LINK_DOWN]


def test_a_fault_names_the_interface_and_how_to_mend_it(host: Host) -> None:
    host.links = told("ens1f0", virtual_functions=states(vf2="disable"))
    devices = found(nic(pool(selectors={"pciAddresses": [THIRD]}, linkHealth="vf")), host).devices

    (fault,) = devices[0].faults

    assert fault.detail.endswith("ip link set ens1f0 vf 2 state auto")


def test_accelerators_have_no_link() -> None:
    odd = Pool(resource="intel.com/x", device_type="accelerator", selectors=(), link_health="pf")

    assert dict(pool_problems([odd], "intel.com"))["pools[0].linkHealth"].startswith("found pf; accelerators have no")


def test_functions_of_another_port_are_not_touched(host: Host) -> None:
    host.links = told("ens1f0", **NO_CARRIER)
    section = nic(pool(linkHealth="both"))

    assert {each.id for each in found(section, host).devices if not each.faults} == {FOURTH, FIFTH}
