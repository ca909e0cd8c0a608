"""Which FPGAs are offered in which mode, and as what.

Ids of cases say what the existing device plugin does where it is wrong.
"""

import re
from base64 import urlsafe_b64decode
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends.fpga import Fpga, accelerator
from intel_agent.model import ContainerEdits, Device, Fault, Health, Hook, Reason
from intel_agent.simulation.disk import change, materialise
from intel_agent.simulation.fpgas import Fpga as Card
from intel_agent.simulation.fpgas import Port
from intel_agent.simulation.machines import at
from intel_agent.sysfs import Host

from .fpgas import (
    DFL,
    ENGINE,
    INTERFACE,
    NLB0,
    NLB3,
    ONES,
    OPAE,
    OTHER,
    PF,
    PORT,
    PORTS,
    REGION,
    VIRTUAL,
    found,
    nodes,
    offered,
    text,
)


@pytest.mark.parametrize(
    ("interface_id", "afu_id", "resource"),
    [
        (INTERFACE, NLB0, "af-ce4.d84.zkiWk5jwXzOUbVYHCL4QithCTcSko8QT-J5DNoP5BAs"),
        (OTHER, NLB3, "af-bfa.f7d.v6xNhR7oVv6MlYZc4buqLfffQFy9es9yIvFEsLk6zRg"),
        ("69528db6eb31577a8c3668f9faa081f6", NLB0, "af-695.d84.aVKNtusxV3qMNmj5-qCB9thCTcSko8QT-J5DNoP5BAs"),
        ("69528db6eb31577a8c3668f9faa081f6", NLB3, "af-695.f7d.aVKNtusxV3qMNmj5-qCB9vffQFy9es9yIvFEsLk6zRg"),
        (ONES, ONES, "af-fff.fff.__________________________________________8"),
        (INTERFACE, NLB3, "af-ce4.f7d.zkiWk5jwXzOUbVYHCL4QivffQFy9es9yIvFEsLk6zRg"),
        ("9926ab6d6c925a68aabca7d84c545738", NLB0, "af-992.d84.mSarbWySWmiqvKfYTFRXONhCTcSko8QT-J5DNoP5BAs"),
        (
            OTHER,
            "40007c0623210742000ebc58df6f5343e668b03a",
            "af-bfa.400.v6xNhR7oVv6MlYZc4buqLUAAfAYjIQdCAA68WN9vU0PmaLA6",
        ),
    ],
)
def test_accelerators_are_called_as_the_existing_plugin_calls_them(
    interface_id: str, afu_id: str, resource: str
) -> None:
    assert accelerator(interface_id, afu_id) == resource


@pytest.mark.parametrize(
    ("interface_id", "afu_id"),
    [
        pytest.param("unparsable", "", id="no id"),
        pytest.param(INTERFACE, "", id="empty: ends the existing plugin"),
        pytest.param("", NLB0, id="empty, the other one: ends the existing plugin"),
        pytest.param("ab", NLB0, id="short: ends the existing plugin"),
        pytest.param(INTERFACE, f"{NLB0}0", id="an odd number of digits"),
        pytest.param(INTERFACE, NLB0.upper(), id="upper case, which no kernel writes"),
        pytest.param(INTERFACE, f"{NLB0[:8]}-{NLB0[8:]}", id="with dashes"),
        pytest.param(INTERFACE, f"{NLB0[:30]} {NLB0[30:]}", id="with a space"),
    ],
)
def test_what_is_no_id_makes_no_name(interface_id: str, afu_id: str) -> None:
    with pytest.raises(ValueError, match="is no id of hexadecimal digits"):
        accelerator(interface_id, afu_id)


ID = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(ID, ID)
def test_every_pair_of_ids_has_a_name_of_its_own_that_kubernetes_takes(interface_id: str, afu_id: str) -> None:
    name = accelerator(interface_id, afu_id)

    assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", name)
    assert len(name) == 54
    assert urlsafe_b64decode(f"{name[11:]}=").hex() == interface_id + afu_id


def test_a_name_leaves_room_for_the_socket_in_kubelets_directory() -> None:
    directory = "/var/lib/kubelet/device-plugins"
    assert len(f"{directory}/fpga.intel.com-{accelerator(ONES, ONES)}.sock") <= 107


@pytest.mark.parametrize("tree", [DFL])
def test_offers_each_port_by_what_is_programmed_there(host: Host) -> None:
    assert found(host).devices == tuple(
        Device(
            id=f"dfl-port.{number}",
            resource=f"fpga.intel.com/{accelerator(INTERFACE, afu_id)}",
            sysfs_path=f"{PF}/fpga_region/region0/dfl-port.{number}",
            edits=ContainerEdits(device_nodes=nodes(f"dfl-port.{number}")),
            cdi_name=f"dfl-port.{number}",
            numa_nodes=(1,),
            attributes={
                "interfaceId": INTERFACE,
                "afuId": afu_id,
                "pciAddress": "0000:3b:00.0",
                "deviceId": "0x09c4",
                "model": "PAC with Arria 10 GX",
                "driver": "dfl-pci",
            },
            depends_on=(ENGINE["dfl"],),
        )
        for number, afu_id in enumerate((NLB0, NLB3))
    )


@pytest.mark.parametrize("tree", [DFL])
def test_a_region_is_programmed_by_a_hook(host: Host) -> None:
    (device,) = found(host, "region", hook="/usr/lib/fpga/hook").devices

    assert device == Device(
        id="dfl-fme.0",
        resource=REGION,
        sysfs_path=ENGINE["dfl"],
        edits=ContainerEdits(
            device_nodes=nodes("dfl-port.0", "dfl-port.1"),
            annotations={"com.intel.fpga.mode": "fpga.intel.com/region"},
            hooks=(Hook("createRuntime", "/usr/lib/fpga/hook"),),
        ),
        cdi_name="dfl-fme.0",
        numa_nodes=(1,),
        attributes={
            "interfaceId": INTERFACE,
            "pciAddress": "0000:3b:00.0",
            "deviceId": "0x09c4",
            "model": "PAC with Arria 10 GX",
            "driver": "dfl-pci",
            "ports": "dfl-port.0,dfl-port.1",
        },
        parts=(PORT, f"{PF}/fpga_region/region0/dfl-port.1"),
        depends_on=(PORT, f"{PF}/fpga_region/region0/dfl-port.1"),
    )


@pytest.mark.parametrize("tree", [DFL])
def test_the_hook_is_where_the_existing_plugin_installs_it(host: Host) -> None:
    (device,) = found(host, "region").devices

    assert device.edits.hooks == (Hook("createRuntime", "/opt/intel/fpga-sw/intel-fpga-crihook"),)


@pytest.mark.parametrize("tree", [DFL])
def test_a_region_for_development_has_the_engine_after_the_ports(host: Host) -> None:
    (device,) = found(host, "regiondevel").devices

    assert (device.id, device.resource) == ("dfl-fme.0", REGION)
    assert device.edits == ContainerEdits(device_nodes=nodes("dfl-port.0", "dfl-port.1", "dfl-fme.0"))


@pytest.mark.parametrize("tree", [OPAE])
def test_opae_calls_the_same_things_otherwise(host: Host) -> None:
    assert offered(host) == {
        "intel-fpga-port.0": f"fpga.intel.com/{accelerator(INTERFACE, NLB0)}",
        "intel-fpga-port.1": f"fpga.intel.com/{accelerator(INTERFACE, NLB3)}",
    }
    (region,) = found(host, "regiondevel").devices
    assert (region.id, region.resource, region.sysfs_path) == ("intel-fpga-fme.0", REGION, ENGINE["opae"])
    assert region.edits.device_nodes == nodes("intel-fpga-port.0", "intel-fpga-port.1", "intel-fpga-fme.0")
    assert found(host).exclusions == ()


@pytest.mark.parametrize(
    ("tree", "engines"),
    [
        pytest.param(DFL + "/sys/class/fpga/\n", ["dfl-fme.0"], id="the existing plugin: none, as OPAE's class exists"),
        pytest.param(
            DFL + text(Card(at("0000:af:00.0"), 0, 0, OTHER, [Port(0, 0, NLB0)], driver="opae")),
            ["dfl-fme.0", "intel-fpga-fme.0"],
            id="the existing plugin: OPAE's alone",
        ),
        pytest.param("", [], id="the existing plugin: ends without a driver"),
        pytest.param("/sys/class/fpga_region/\n", [], id="no card"),
    ],
)
def test_cards_of_both_drivers_are_offered(host: Host, engines: list[str]) -> None:
    assert found(host, "region").exclusions == ()
    assert list(offered(host, "region")) == engines


@pytest.mark.parametrize(
    ("tree", "ports"),
    [
        pytest.param(DFL, ["dfl-port.0", "dfl-port.1"], id="one function: the existing plugin keeps the first"),
        pytest.param(
            VIRTUAL,
            ["dfl-port.0", "dfl-port.10", "dfl-port.9"],
            id="virtual functions: the existing plugin keeps the last",
        ),
        pytest.param(
            text(Card(PF, 0, 0, INTERFACE, [Port(number, number, NLB0) for number in (10, 9, 2)])),
            ["dfl-port.2", "dfl-port.9", "dfl-port.10"],
            id="in the order of their numbers",
        ),
    ],
)
def test_a_region_has_all_ports_of_its_card(host: Host, ports: list[str]) -> None:
    (device,) = found(host, "region").devices

    assert device.edits.device_nodes == nodes(*ports)


@pytest.mark.parametrize("tree", [VIRTUAL])
def test_a_port_of_a_virtual_function_has_the_interface_of_the_physical_one(host: Host) -> None:
    last = found(host).devices[-1]

    assert offered(host)["dfl-port.9"] == f"fpga.intel.com/{accelerator(INTERFACE, NLB3)}"
    assert last.attributes["pciAddress"] == "0000:3b:00.2"
    assert last.attributes["physicalFunction"] == "0000:3b:00.0"


@pytest.mark.parametrize(
    ("tree", "numa_nodes"),
    [
        (DFL, (1,)),
        pytest.param(text(Card(PF, 0, 0, INTERFACE, PORTS, numa=-1)), (), id="not known"),
        pytest.param(DFL.replace(f"{PF}/numa_node = 1", ""), (), id="a kernel without NUMA"),
    ],
)
@pytest.mark.parametrize("mode", ["af", "region", "regiondevel"])
def test_says_the_numa_node_only_when_it_is_known(host: Host, mode: str, numa_nodes: tuple[int, ...]) -> None:
    assert {each.numa_nodes for each in found(host, mode).devices} == {numa_nodes}


@pytest.mark.parametrize("mode", ["af", "region", "regiondevel"])
def test_no_mode_has_a_preference_or_shares(mode: str) -> None:
    assert msgspec.convert({"mode": mode}, Fpga).policy(REGION) is None


BLANK = "all ones. Nothing is programmed, or the card does not answer"


@pytest.mark.parametrize(
    ("tree", "mode", "resource", "fault"),
    [
        pytest.param(
            text(Card(PF, 0, 0, INTERFACE, [Port(0, 0, ONES)])),
            "af",
            f"fpga.intel.com/{accelerator(INTERFACE, ONES)}",
            f"afuId: {BLANK}",
            id="no accelerator",
        ),
        pytest.param(
            text(Card(PF, 0, 0, ONES, [Port(0, 0, NLB0)])),
            "af",
            f"fpga.intel.com/{accelerator(ONES, NLB0)}",
            f"interfaceId: {BLANK}",
            id="no interface: the existing plugin calls it Healthy",
        ),
        pytest.param(
            text(Card(PF, 0, 0, ONES, [Port(0, 0, ONES)])),
            "af",
            f"fpga.intel.com/{accelerator(ONES, ONES)}",
            f"interfaceId and afuId: {BLANK}",
            id="neither",
        ),
        pytest.param(
            text(Card(PF, 0, 0, ONES, [Port(0, 0, NLB0)])),
            "region",
            f"fpga.intel.com/region-{ONES}",
            f"interfaceId: {BLANK}",
            id="a region",
        ),
        pytest.param(
            text(Card(PF, 0, 0, INTERFACE, [Port(0, 0, ONES)])), "region", REGION, None, id="to be programmed"
        ),
    ],
)
def test_all_ones_are_no_identity(host: Host, mode: str, resource: str, fault: str | None) -> None:
    (device,) = found(host, mode).devices

    assert device.resource == resource
    assert device.faults == (frozenset({Fault(Reason.UNIDENTIFIED, "sysfs", fault)}) if fault else frozenset())
    assert device.health is (Health.UNHEALTHY if fault else Health.HEALTHY)


def test_another_bitstream_is_another_resource(host: Host) -> None:
    materialise(DFL, Path(host.root))
    change(Path(host.root), f"{PORT}/afu_id", NLB3)

    assert set(offered(host).values()) == {f"fpga.intel.com/{accelerator(INTERFACE, NLB3)}"}
    assert offered(host, "region") == {"dfl-fme.0": REGION}
