"""Which Gaudi cards are offered, what their containers get, and why others are not offered.

Ids of cases say what Habana's plugin does where that differs: most of what it knows comes from a closed library, and
any error there ends it.
"""

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.gaudi import Gaudi
from intel_agent.backends.npu import Npu
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Health
from intel_agent.simulation import accelerators
from intel_agent.simulation.disk import change, materialise
from intel_agent.simulation.machines import at
from intel_agent.simulation.tree import node
from intel_agent.sysfs import Host, Look

PCI = at("0000:33:00.0")
CARD = accelerators.Gaudi(3, PCI, module=5, verbs=1, numa=1)
DRIVERS = "/sys/bus/pci/drivers/habanalabs"


def text(*cards: accelerators.Gaudi | accelerators.Npu) -> str:
    return "\n".join(line for each in cards for line in each.lines())


ONE = text(CARD)
STATUS = f"{PCI}/status"


def virtual(index: int, address: str, *, told: str | None = None) -> str:
    """Return a card on a kernel without the accel subsystem: the driver makes a class of its own with that name."""
    own = f"/sys/devices/virtual/accel/accel{index}"
    return f"""
/sys/class/accel/accel{index} -> ../../devices/virtual/accel/accel{index}
{own}/device/pci_addr = {told or address}
{own}/device/module_id = {index}
{own}/device/status = Operational
/dev/accel/accel{index} c 508:{2 * index}
/dev/accel/accel_controlD{index} c 508:{2 * index + 1}
{function(address)}
"""


def old(index: int, address: str) -> str:
    """Return a card on a driver without the class accel."""
    own = f"/sys/devices/virtual/habanalabs/hl{index}"
    return f"""
/sys/class/habanalabs/hl{index} -> ../../devices/virtual/habanalabs/hl{index}
/sys/class/habanalabs/hl_controlD{index} -> ../../devices/virtual/habanalabs/hl_controlD{index}
{own}/pci_addr = {address}
{own}/status = Operational
/sys/devices/virtual/habanalabs/hl_controlD{index}/dev = 508:{2 * index + 1}
/dev/hl{index} c 508:{2 * index}
/dev/hl_controlD{index} c 508:{2 * index + 1}
{function(address, device="0x1000")}
"""


def function(
    address: str, *, vendor: str = "0x1da3", device: str = "0x1020", driver: str | None = "habanalabs", numa: int = 0
) -> str:
    """Return a PCI function and nothing that a driver made."""
    directory = at(address)
    binding = f"{directory}/driver -> ../../../bus/pci/drivers/{driver}\n" if driver else ""
    bound = f"/sys/bus/pci/drivers/{driver}/{address} -> ../../../..{directory[4:]}\n" if driver else ""
    return f"""
{directory}/vendor = {vendor}
{directory}/device = {device}
{directory}/numa_node = {numa}
/sys/bus/pci/devices/{address} -> ../../..{directory[4:]}
{binding}{bound}"""


def found(host: Host) -> Found:
    return Found.of(Gaudi().discover(host))


def rules(host: Host) -> dict[str, str]:
    return {each.path: each.rule for each in found(host).exclusions}


def nodes(*paths: str) -> ContainerEdits:
    return ContainerEdits(device_nodes=tuple(DeviceNode(path, f"/on/host{path}", "rw") for path in paths))


@pytest.mark.parametrize("tree", [ONE])
def test_offers_a_card_by_its_pci_address_with_its_control_and_rdma_nodes(host: Host) -> None:
    assert found(host).devices == (
        Device(
            id="0000:33:00.0",
            resource="habana.ai/gaudi",
            sysfs_path=PCI,
            edits=nodes("/dev/accel/accel3", "/dev/accel/accel_controlD3", "/dev/infiniband/uverbs1"),
            cdi_name="0000:33:00.0",
            shares=None,
            numa_nodes=(1,),
            attributes={
                "pciAddress": "0000:33:00.0",
                "deviceId": "0x1020",
                "driver": "habanalabs",
                "model": "Gaudi2",
                "index": "3",
                "moduleId": "5",
                "cardsOfNode": "1",
            },
        ),
    )


def test_kubelet_is_given_no_preference_and_the_section_has_no_keys_of_its_own() -> None:
    assert Gaudi().policy("habana.ai/gaudi") is None
    assert Gaudi().socket_name("habana.ai/gaudi") == "gaudi_habanalabs.sock"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sharedDevNum": 2}, Gaudi)


@pytest.mark.parametrize("tree", [node("gaudi")])
def test_the_server_has_eight_on_two_sockets(host: Host) -> None:
    cards = found(host).devices

    assert [(each.numa_nodes, each.attributes["moduleId"]) for each in cards] == [
        ((card // 4,), module) for card, module in enumerate("54762301")
    ]
    assert all(re.fullmatch("[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?", each.cdi_name) for each in cards)
    assert all((each.ids, each.exclusive) == ((each.id,), True) for each in cards)


@pytest.mark.parametrize("tree", [node("gaudi")])
@pytest.mark.parametrize(
    ("wanted", "env"),
    [
        pytest.param(
            [2],
            {
                "HABANA_VISIBLE_DEVICES": "2",
                "HL_VISIBLE_DEVICES": "/dev/accel/accel2",
                "HABANA_VISIBLE_MODULES": "7",
            },
            id="one",
        ),
        pytest.param(
            [5, 1, 0],
            {
                "HABANA_VISIBLE_DEVICES": "0,1,5",
                "HL_VISIBLE_DEVICES": "/dev/accel/accel0,/dev/accel/accel1,/dev/accel/accel5",
                "HABANA_VISIBLE_MODULES": "5,4,3",
            },
            id="a part, in the order of their numbers whatever kubelet's is",
        ),
        pytest.param(
            range(8),
            {
                "HABANA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
                "HL_VISIBLE_DEVICES": ",".join(f"/dev/accel/accel{card}" for card in range(8)),
            },
            id="all of the node: no modules",
        ),
    ],
)
def test_variables_name_the_cards_of_a_container(host: Host, wanted: list[int], env: dict[str, str]) -> None:
    cards = found(host).devices
    edits = Gaudi().allocate([cards[card] for card in wanted])

    assert edits.env == env
    assert edits.device_nodes == tuple(each for card in sorted(wanted) for each in cards[card].edits.device_nodes)
    assert (edits.mounts, edits.annotations) == ((), {})


@pytest.mark.parametrize("tree", [node("gaudi")])
@pytest.mark.parametrize("module", [None, "4"], ids=["one is not known", "two are the same"])
def test_modules_are_all_told_or_not_at_all(host: Host, module: str | None) -> None:
    first, second, *_ = found(host).devices
    told = {key: value for key, value in first.attributes.items() if key != "moduleId"}
    first = replace(first, attributes=told if module is None else {**told, "moduleId": module})

    assert "HABANA_VISIBLE_MODULES" not in Gaudi().allocate([first, second]).env


@pytest.mark.parametrize("tree", [node("gaudi")])
def test_a_container_with_the_other_seven_has_a_part_of_the_node(host: Host) -> None:
    Path(host.root, "dev/accel/accel0").unlink()
    seven = found(host).devices

    assert len(seven) == 7
    assert Gaudi().allocate(seven).env["HABANA_VISIBLE_MODULES"] == "4,7,6,2,3,0,1"


@pytest.mark.parametrize(
    ("tree", "card", "edits", "module"),
    [
        pytest.param(
            text(replace(CARD, module=None, verbs=None)),
            "0000:33:00.0",
            nodes("/dev/accel/accel3", "/dev/accel/accel_controlD3"),
            None,
            id="the kernel's own driver tells no module",
        ),
        pytest.param(
            virtual(2, "0000:34:00.0"),
            "0000:34:00.0",
            nodes("/dev/accel/accel2", "/dev/accel/accel_controlD2"),
            "2",
            id="a kernel without accel: the driver's own class",
        ),
        pytest.param(
            old(0, "0000:35:00.0"),
            "0000:35:00.0",
            nodes("/dev/hl0", "/dev/hl_controlD0"),
            None,
            id="before accel: hl0 (Habana: nodes of accel that are not there)",
        ),
        pytest.param(
            old(0, "0000:34:00.0").replace(function("0000:34:00.0", device="0x1000"), "")
            + virtual(0, "0000:34:00.0").replace("c 508:", "c 507:"),
            "0000:34:00.0",
            nodes("/dev/accel/accel0", "/dev/accel/accel_controlD0"),
            "0",
            id="both at once: accel",
        ),
    ],
)
def test_every_age_of_the_driver_is_understood(
    host: Host, card: str, edits: ContainerEdits, module: str | None
) -> None:
    (device,) = found(host).devices

    assert rules(host) == {}
    assert (device.id, device.sysfs_path, device.edits, device.attributes.get("moduleId")) == (
        card,
        at(card),
        edits,
        module,
    )
    assert Gaudi().allocate([device]).env["HL_VISIBLE_DEVICES"] == edits.device_nodes[0].path


@pytest.mark.parametrize(
    ("device_id", "model"),
    [
        *[(each, "Gaudi") for each in ("1000", "1001", "1010", "1011")],
        *[(each, "Gaudi2") for each in ("1020", "1021")],
        *[(each, "Gaudi3") for each in ("1030", "1060", "1061", "1062", "1063")],
    ],
)
def test_the_model_follows_from_the_id(tmp_path: Path, device_id: str, model: str) -> None:
    materialise(text(replace(CARD, identity=f"1da3:{device_id}")), tmp_path)

    (device,) = found(Host(str(tmp_path))).devices
    assert device.attributes["model"] == model


@pytest.mark.parametrize("tree", [text(replace(CARD, identity="1da3:1099", kind="GAUDI4"))])
def test_what_the_driver_calls_gaudi_is_one_whatever_its_id(host: Host) -> None:
    (device,) = found(host).devices

    assert device.attributes["model"] == "GAUDI4"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(text(replace(CARD, identity="1da3:0001", kind="GOYA")), {PCI: "not-gaudi"}, id="Goya"),
        pytest.param(ONE.replace("/dev/accel/accel3 c", "/dev/other c"), {PCI: "no-node"}, id="no node"),
        pytest.param(
            ONE.replace("/dev/accel/accel_controlD3 c", "/dev/other c"),
            {PCI: "no-node"},
            id="no control node (Habana: a container that cannot start)",
        ),
        pytest.param(function("0000:33:00.0", driver=None), {PCI: "driver"}, id="no driver"),
        pytest.param(function("0000:33:00.0", driver="vfio-pci"), {PCI: "driver"}, id="given to user space"),
        pytest.param(function("0000:33:00.0"), {PCI: "no-device"}, id="the driver made nothing of it"),
        pytest.param(function("0000:33:00.0", vendor="0x8086", driver=None), {}, id="another maker"),
        pytest.param(ONE.replace(f"{PCI}/vendor = 0x1da3", f"{PCI}/vendor = x"), {PCI: "unreadable"}, id="odd vendor"),
        pytest.param(
            ONE.replace(f"{PCI}/module_id = 5", f"{PCI}/module_id = five"), {PCI: "unreadable"}, id="odd module"
        ),
        pytest.param(
            virtual(2, "0000:34:00.0", told="somewhere"),
            {"/sys/class/accel/accel2": "unreadable", at("0000:34:00.0"): "unreadable"},
            id="nobody knows whose device it is",
        ),
        pytest.param(
            virtual(2, "0000:34:00.0", told="0000:77:00.0"),
            {"/sys/class/accel/accel2": "unreadable", at("0000:34:00.0"): "unreadable"},
            id="the device of nobody",
        ),
        pytest.param("", {}, id="nothing there (Habana: exits)"),
    ],
)
def test_what_is_not_offered_says_why(host: Host, expected: dict[str, str]) -> None:
    assert found(host).devices == ()
    assert rules(host) == expected


@pytest.mark.parametrize("tree", [ONE.replace("/dev/infiniband/uverbs1 c", "/dev/infiniband/other c")])
def test_a_card_without_its_rdma_node_is_offered_without_it(host: Host) -> None:
    assert found(host).devices[0].edits == nodes("/dev/accel/accel3", "/dev/accel/accel_controlD3")
    assert rules(host) == {f"{PCI}/infiniband_verbs/uverbs1": "node-missing"}


NPU = accelerators.Npu(0, at("0000:00:0b.0"))


@pytest.mark.parametrize("tree", [text(NPU, CARD)])
def test_neither_kind_takes_the_others_accelerators(host: Host) -> None:
    assert [each.id for each in Gaudi().discover(host) if isinstance(each, Device)] == ["0000:33:00.0"]
    assert [each.id for each in Npu().discover(host) if isinstance(each, Device)] == ["accel0"]
    assert rules(host) == {}
    assert Found.of(Npu().discover(host)).exclusions == ()


@pytest.mark.parametrize("tree", [text(NPU).replace("-> ../../devices/pci0000:00/0000:00:0b.0/accel", "-> ../../x")])
def test_an_odd_link_is_no_business_of_a_node_without_gaudi(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize("tree", [ONE.replace(f"{STATUS} = Operational\n", "")])
def test_a_driver_that_tells_no_status_says_nothing_bad(host: Host) -> None:
    assert found(host).devices[0].faults == frozenset()


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        pytest.param(ONE, STATUS, id="a status that no driver has"),
        pytest.param(virtual(2, "0000:33:00.0"), "/sys/devices/virtual/accel/accel2/device/pci_addr", id="whose it is"),
    ],
)
def test_a_card_of_which_less_is_known_than_before_stays_as_unhealthy(host: Host, path: str) -> None:
    before = found(host)
    change(Path(host.root), path, "what?")

    (device,) = found(host).after(before).devices
    assert (device.id, device.health) == ("0000:33:00.0", Health.UNHEALTHY)


@pytest.mark.parametrize("tree", [node("gaudi")])
def test_one_odd_card_harms_no_other(host: Host) -> None:
    change(Path(host.root), f"{found(host).devices[2].sysfs_path}/status", "\\xff")

    assert [each.attributes["index"] for each in found(host).devices] == list("0134567")
    assert list(rules(host).values()) == ["unreadable"]


@pytest.mark.parametrize("tree", [virtual(2, "0000:33:00.0") + virtual(4, "0000:34:00.0")])
def test_a_read_that_never_ends_is_blamed_on_one_card(host: Host) -> None:
    stuck = Look(quarantined={"/sys/devices/virtual/accel/accel2": "a read of it has not come back"})

    seen = Found.of(Gaudi().discover(host.looking(stuck)))
    assert [each.id for each in seen.devices] == ["0000:34:00.0"]
    assert {each.path for each in seen.exclusions} == {"/sys/class/accel/accel2", at("0000:33:00.0")}
