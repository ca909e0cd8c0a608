"""Which devices a selector fits. Ids of cases say what the SR-IOV network device plugin does."""

import os
from dataclasses import replace
from pathlib import Path

import msgspec
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
    changed,
    ids,
    machine,
    nic,
    pool,
    renamed,
    selecting,
    without,
)

from intel_agent.backends.nic import Nic
from intel_agent.links import Links
from intel_agent.simulation.disk import change
from intel_agent.simulation.nics import Port
from intel_agent.sysfs import Host

DIGITS = "four hexadecimal digits in lower case, without 0x"
ADDRESS = 'a PCI address in lower case with its domain: "0000:3b:02.0"'
BUS = "/sys/devices/pci0000:3b"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = machine(tmp_path, PORT, OTHER)
    Path(f"{host.root}{BUS}/{SECOND}/acpi_index").write_text("101\n")
    return host


def links(host: Host) -> Links:
    assert host.links is not None
    return host.links


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({}, [FIRST, SECOND, THIRD, FOURTH, FIFTH], id="nothing means everything"),
        pytest.param(
            {"vendors": ["15b3", "8086"], "devices": ["1889"]}, [FIRST, SECOND, THIRD, FOURTH, FIFTH], id="ids"
        ),
        pytest.param({"vendors": ["15b3"]}, [], id="another vendor"),
        pytest.param({"drivers": ["vfio-pci", "igb_uio"]}, [THIRD, FIFTH], id="or inside a key"),
        pytest.param({"drivers": ["vfio-pci"], "pfNames": ["ens1f0"]}, [THIRD], id="and between keys"),
        pytest.param({"drivers": ["VFIO-PCI"]}, [], id="drivers are compared as they are"),
        pytest.param({"pciAddresses": [FIFTH, FIRST]}, [FIRST, FIFTH], id="addresses"),
        pytest.param({"acpiIndexes": ["101"]}, [SECOND], id="firmware's numbers"),
        pytest.param({"pfNames": ["ens1f0"]}, [FIRST, SECOND, THIRD], id="functions of an interface"),
        pytest.param({"pfNames": ["ENS1F0"]}, [FIRST, SECOND, THIRD], id="names without regard to case"),
        pytest.param({"pfNames": ["ens1f0#0-1"]}, [FIRST, SECOND], id="a range, both ends"),
        pytest.param({"pfNames": ["ens1f0#2,0"]}, [FIRST, THIRD], id="numbers"),
        pytest.param({"pfNames": ["ens1f0#1,2-9", "ens1f1#0"]}, [SECOND, THIRD, FOURTH], id="of two ports"),
        pytest.param({"pfNames": ["ens1f"]}, [], id="a part of a name"),
        pytest.param({"rootDevices": ["0000:3b:00.1"]}, [FOURTH, FIFTH], id="by the physical function's address"),
        pytest.param({"rootDevices": ["0000:3b:00.0#1"]}, [SECOND], id="by its address, with numbers"),
        pytest.param({"linkTypes": ["ether"], "drivers": ["iavf"]}, [FIRST, SECOND, FOURTH], id="link type"),
        pytest.param({"linkTypes": ["infiniband"]}, [], id="another link type"),
        pytest.param({"linkTypes": ["infiniband", "ether"], "drivers": ["iavf"]}, [FIRST, SECOND, FOURTH], id="two"),
        pytest.param({"isRdma": True}, [FOURTH], id="RDMA"),
        pytest.param({"isRdma": False, "drivers": ["iavf"]}, [FIRST, SECOND, FOURTH], id="not asked for RDMA"),
        pytest.param({"ddpProfiles": ["x"]}, [], id="no package"),
        pytest.param({"pKeys": ["0x8001"]}, [], id="no partition key"),
        pytest.param({"vdpaType": "vhost"}, [], id="no vDPA device"),
    ],
)
def test_a_selector_fits(host: Host, selector: dict[str, object], expected: list[str]) -> None:
    assert ids(selecting(**selector), host) == expected


def test_selectors_for_functions_never_mean_the_physical_one(host: Host) -> None:
    change(Path(host.root), f"{BUS}/0000:3b:00.0/sriov_numvfs", "0")

    assert "0000:3b:00.0" in ids(selecting(), host)
    assert "0000:3b:00.0" not in ids(selecting(pfNames=["ens1f0"]), host)
    assert "0000:3b:00.0" not in ids(selecting(rootDevices=["0000:3b:00.0"]), host)


def test_a_link_without_a_type_of_its_own_has_that_of_the_physical_function(host: Host) -> None:
    assert ids(selecting(linkTypes=["ether"], pfNames=["ens1f0"]), host) == [FIRST, SECOND, THIRD]


def test_without_any_interface_the_link_has_no_type(host: Host) -> None:
    host.links = without(links(host), "ens1f0")

    assert ids(selecting(linkTypes=["ether"]), host) == [FIRST, SECOND, FOURTH, FIFTH]


@pytest.mark.parametrize(
    ("interface", "profiles"),
    [
        pytest.param("of the function", {f"pci/{FIRST}": "GTP"}, id="of the function"),
        pytest.param("of the card", {"pci/0000:3b:00.0": "GTP"}, id="of the card (Go: asks ddptool only)"),
    ],
)
def test_packages_are_the_functions_or_the_cards(host: Host, interface: str, profiles: dict[str, str]) -> None:
    host.links = replace(links(host), ddp_profiles=profiles)
    expected = [FIRST] if interface == "of the function" else [FIRST, SECOND, THIRD]

    assert ids(selecting(ddpProfiles=["GTP"]), host) == expected


def test_partition_keys_are_those_of_the_first_port_of_infiniband(host: Host) -> None:
    key = Path(f"{host.root}{BUS}/{FOURTH}/infiniband/irdma0/ports/1/pkeys/0")
    key.parent.mkdir(parents=True)
    key.write_text("0x8001\n")
    over_ethernet = ids(selecting(pKeys=["0x8001"]), host)
    host.links = changed(links(host), [replace(each, type="infiniband") for each in links(host).interfaces])

    assert over_ethernet == []
    assert ids(selecting(pKeys=["0x8001"]), host) == [FOURTH]
    assert ids(selecting(pKeys=["0x8002"]), host) == []


def test_the_card_can_say_that_a_function_has_rdma_whose_files_are_elsewhere(host: Host) -> None:
    """In exclusive mode RDMA devices leave the host's namespace with the pod that uses them."""
    host.links = replace(links(host), rdma_enabled={f"pci/{FIRST}": True, f"pci/{SECOND}": False})

    assert ids(selecting(isRdma=True), host) == [FIRST, FOURTH]


# --- Names of physical functions ---


def switched(host: Host, *, mode: str = "switchdev") -> Links:
    """Return links in which representors stand for functions, and the physical function's own one is not the first."""
    known = renamed(links(host), "ens1f0", "z0")
    own = next(each for each in known.interfaces if each.name == "z0")
    ports = [replace(own, index=300 + n, name=f"ens1f0r{n}", port_name=f"c1pf0vf{n}", switch_id="ab") for n in range(3)]
    interfaces = [replace(each, switch_id="ab", port_name="p0") if each is own else each for each in known.interfaces]
    return replace(changed(known, [*interfaces, *ports]), eswitch_modes={"pci/0000:3b:00.0": mode})


def test_a_card_that_switches_is_called_by_its_uplink_and_not_by_a_representor(host: Host) -> None:
    host.links = switched(host)

    assert ids(selecting(pfNames=["z0"]), host) == [FIRST, SECOND, THIRD]
    assert ids(selecting(pfNames=["ens1f0r0"]), host) == []


def test_a_card_that_does_not_switch_is_called_by_its_first_interface(host: Host) -> None:
    host.links = switched(host, mode="legacy")

    assert ids(selecting(pfNames=["ens1f0r0"]), host) == [FIRST, SECOND, THIRD]


def test_a_card_that_switches_without_uplink_has_no_name(host: Host) -> None:
    host.links = without(switched(host), "z0")

    assert ids(selecting(pfNames=["z0", "ens1f0r0"]), host) == []


# --- vDPA ---


def vdpa(host: Host, address: str, name: str, driver: str | None, *, node: bool = True) -> None:
    """Make a vDPA device of a function, with the vhost node that its driver makes."""
    device = Path(f"{host.root}/sys/bus/vdpa/devices/{name}")
    device.mkdir(parents=True)
    if driver is not None:
        (device / "driver").symlink_to(f"../../drivers/{driver}")
    if driver == "vhost_vdpa":
        (device / "vhost-vdpa-0").mkdir()
        if node:
            Path(host.root, "dev/vhost-vdpa-0").write_text("c 511:0\n")
    host.links = replace(links(host), vdpa={**links(host).vdpa, f"pci/{address}": name})


@pytest.mark.parametrize("wanted", ["vhost", "virtio"])
def test_vdpa_devices_are_selected_by_their_driver(host: Host, wanted: str) -> None:
    vdpa(host, FIRST, "vdpa0", "vhost_vdpa")
    vdpa(host, SECOND, "vdpa1", "virtio_vdpa")
    vdpa(host, FOURTH, "vdpa2", "other")
    vdpa(host, FIFTH, "vdpa3", None)

    assert ids(selecting(vdpaType=wanted), host) == [{"vhost": FIRST, "virtio": SECOND}[wanted]]


def test_a_vhost_device_without_node_is_not_offered(host: Host) -> None:
    """Upstream offers it without any node."""
    vdpa(host, FIRST, "vdpa0", "vhost_vdpa", node=False)

    assert ids(selecting(vdpaType="vhost"), host) == []


# --- Other types of devices ---


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({}, [SCALABLE], id="all"),
        pytest.param({"pfNames": ["ens1f1#7"]}, [SCALABLE], id="number"),
        pytest.param({"pfNames": ["ens1f1#0-6"]}, [], id="other numbers"),
        pytest.param({"rootDevices": ["0000:3b:00.1"]}, [SCALABLE], id="address of the card"),
        pytest.param({"vendors": ["8086"], "devices": ["1592"], "drivers": ["ice"]}, [SCALABLE], id="the card's"),
        pytest.param({"linkTypes": ["ether"]}, [SCALABLE], id="link type"),
        pytest.param({"isRdma": True}, [], id="no RDMA"),
    ],
)
def test_a_selector_fits_scalable_functions(host: Host, selector: dict[str, object], expected: list[str]) -> None:
    section = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"], **selector}))

    assert ids(section, host) == expected


def test_a_scalable_function_has_rdma_of_its_own(host: Host) -> None:
    os.mkdir(f"{host.root}{BUS}/0000:3b:00.1/{SCALABLE}/infiniband")
    section = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"], "isRdma": True}))
    without_files = ids(section, host)
    host.links = replace(links(host), rdma_enabled={f"auxiliary/{SCALABLE}": True})

    assert without_files == []
    assert ids(section, host) == [SCALABLE]


def test_a_scalable_function_is_found_by_its_cards_uplink(host: Host) -> None:
    section = nic(pool(deviceType="auxNetDevice", selectors={"auxTypes": ["sf"], "pfNames": ["z1"]}))
    own = next(each for each in links(host).interfaces if each.name == "ens1f1")
    uplink = replace(own, index=400, name="z1", switch_id="ab", port_name="p1")
    host.links = changed(links(host), [*links(host).interfaces, uplink])

    assert ids(section, host) == [SCALABLE]


def test_accelerators_are_selected_by_ids_drivers_and_addresses(host: Host) -> None:
    """They may have virtual functions: upstream has no such rule for them."""
    for address in ("0000:3b:00.0", FIRST, THIRD):
        change(Path(host.root), f"{BUS}/{address}/class", "0x120000")

    def accelerators(**selector: object) -> list[str]:
        return ids(nic(pool(deviceType="accelerator", selectors=selector)), host)

    assert accelerators() == ["0000:3b:00.0", FIRST, THIRD]
    assert accelerators(devices=["1889"], drivers=["vfio-pci"]) == [THIRD]
    assert accelerators(vendors=["8086"], pciAddresses=[FIRST]) == [FIRST]


# --- What may stand in a selector ---


def problems(selector: dict[str, object], device_type: str = "netDevice") -> dict[str, str]:
    section = msgspec.convert({"pools": [pool(deviceType=device_type, selectors=[selector])]}, Nic)
    return {key.removeprefix("pools[0].selectors[0]."): text for key, text in section.problems().items()}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(
            {"vendors": ["8086", "0x8086"]},
            {"vendors[1]": f'found "0x8086"; allowed {DIGITS}; did you mean "8086"?'},
            id="an id with 0x (Go: fits nothing)",
        ),
        pytest.param(
            {"devices": ["154C"]},
            {"devices[0]": f'found "154C"; allowed {DIGITS}; did you mean "154c"?'},
            id="an id in upper case (Go: fits nothing)",
        ),
        pytest.param(
            {"pciAddresses": ["3b:00.0"]},
            {"pciAddresses[0]": f'found "3b:00.0"; allowed {ADDRESS}; did you mean "0000:3b:00.0"?'},
            id="an address without domain (Go: fits nothing)",
        ),
        pytest.param(
            {"pKeys": ["0x1"]},
            {"pKeys[0]": 'found "0x1"; allowed a partition key as the kernel writes it: "0x8001"'},
            id="a short key (Go: fits nothing)",
        ),
        pytest.param(
            {"pfNames": ["a#1", "b", "a#2", "B#1"]},
            {
                "pfNames[2]": "means a again, which only pfNames[0] decides about: put the numbers there",
                "pfNames[3]": "means B again, which only pfNames[1] decides about: put the numbers there",
            },
            id="a name twice (Go: the second is never looked at)",
        ),
        pytest.param(
            {"pfNames": ["a#1#2", "#1", "b#", "c#x", "d#1-2-3", "e#9-1", "f#-1"]},
            {
                "pfNames[0]": 'found "a#1#2"; allowed a name, or a name with numbers: "ens1f0#0-3,7"',
                "pfNames[1]": 'found "#1"; allowed a name, or a name with numbers: "ens1f0#0-3,7"',
                "pfNames[2]": 'found "b#"; \'\' is neither a number nor a range like "0-3"',
                "pfNames[3]": 'found "c#x"; \'x\' is neither a number nor a range like "0-3"',
                "pfNames[4]": 'found "d#1-2-3"; \'1-2-3\' is neither a number nor a range like "0-3"',
                "pfNames[5]": 'found "e#9-1"; "9-1" has no numbers in it: write the smaller one first',
                "pfNames[6]": 'found "f#-1"; \'-1\' is neither a number nor a range like "0-3"',
            },
            id="malformed numbers (Go: a line on standard output, and fits nothing)",
        ),
        pytest.param(
            {"rootDevices": ["ens1f0#1"]},
            {"rootDevices[0]": 'found "ens1f0#1"; allowed a PCI address as in "0000:3b:00.0#0-3"'},
            id="a name where an address belongs (Go: fits nothing)",
        ),
        pytest.param(
            {"isRdma": True, "vdpaType": "vhost"},
            {"vdpaType": "cannot be given together with isRdma: write two selectors"},
            id="RDMA and vDPA (Go: the same)",
        ),
        pytest.param(
            {"auxTypes": ["sf"]},
            {"auxTypes": "has no effect on deviceType netDevice: leave it out"},
            id="auxTypes (Go: ignored)",
        ),
        pytest.param({"drivers": [""]}, {"drivers[0]": 'found ""; allowed a text'}, id="an empty driver"),
    ],
)
def test_what_can_fit_nothing_is_refused(selector: dict[str, object], expected: dict[str, str]) -> None:
    assert problems(selector) == expected


@pytest.mark.parametrize(
    ("device_type", "selector", "expected"),
    [
        pytest.param(
            "accelerator",
            {"acpiIndexes": ["1"], "needVhostNet": True},
            ["acpiIndexes", "needVhostNet"],
            id="accelerator (Go: ignored)",
        ),
        pytest.param("auxNetDevice", {}, ["auxTypes"], id="no auxTypes (Go: the same)"),
        pytest.param("auxNetDevice", {"auxTypes": ["sf", "eth"]}, ["auxTypes[1]"], id="eth (Go: the same)"),
        pytest.param(
            "auxNetDevice",
            {"auxTypes": ["sf"], "acpiIndexes": ["1"], "pciAddresses": [FIRST]},
            ["pciAddresses", "acpiIndexes"],
            id="auxNetDevice (Go: ignored)",
        ),
    ],
)
def test_what_has_no_effect_on_a_type_is_refused(
    device_type: str, selector: dict[str, object], expected: list[str]
) -> None:
    assert list(problems(selector, device_type)) == expected


@pytest.mark.parametrize(
    "selector", [{"vdpaType": "vhos"}, {"isRdma": "yes"}, {"vendors": "8086"}, {"vendor": ["8086"]}]
)
def test_other_types_are_refused(selector: dict[str, object]) -> None:
    """Upstream takes any vdpaType, which then fits nothing, and ignores keys that it does not know."""
    with pytest.raises(msgspec.ValidationError):
        problems(selector)


def test_ports_may_have_any_number_of_functions(tmp_path: Path) -> None:
    host = machine(tmp_path, Port(PORT.directory, "ens1f0", 10, 20, virtual=[*PORT.virtual] * 6))

    assert len(ids(selecting(pfNames=["ens1f0#3-11"]), host)) == 9
