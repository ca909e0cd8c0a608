"""Which cards are offered, as what, and why others are not.

Ids of cases say what the existing Go plugin does where it is wrong.
"""

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.errors import SysfsError
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Health, Mount, Reason
from intel_agent.simulation.disk import add, change, materialise, remove
from intel_agent.simulation.tree import parse
from intel_agent.sysfs import Host, Look


def card(
    number: int, address: str = "", *, device: str = "0x56c0", driver: str | None = "xe", vendor: str = "0x8086"
) -> str:
    """Return the tree of one card as the kernel and udev show it."""
    address = address or f"0000:{number:02x}:00.0"
    function = f"/sys/devices/pci0000:00/{address}"
    render = 128 + number
    bound = f"{function}/driver -> ../../../bus/pci/drivers/{driver}" if driver else ""
    return f"""
{function}/vendor = {vendor}
{function}/device = {device}
{function}/numa_node = {number % 2}
{bound}
{function}/drm/card{number}/dev = 226:{number}
{function}/drm/card{number}/device -> ../..
{function}/drm/card{number}/card{number}-DP-1/status = disconnected
{function}/drm/controlD{64 + number}/dev = 226:{64 + number}
{function}/drm/renderD{render}/dev = 226:{render}
/sys/class/drm/card{number} -> ../../devices/pci0000:00/{address}/drm/card{number}
/sys/class/drm/card{number}-DP-1 -> ../../devices/pci0000:00/{address}/drm/card{number}/card{number}-DP-1
/sys/class/drm/renderD{render} -> ../../devices/pci0000:00/{address}/drm/renderD{render}
/dev/dri/card{number} c 226:{number}
/dev/dri/controlD{64 + number} c 226:{64 + number}
/dev/dri/renderD{render} c 226:{render}
/dev/dri/by-path/pci-{address}-card -> ../card{number}
/dev/dri/by-path/pci-{address}-render -> ../renderD{render}
"""


FIRST = "/sys/devices/pci0000:00/0000:01:00.0"
CARD = card(1)
TWO = card(1) + card(2, driver="i915", device="0x4905")
AGAIN = "this is looked at again by itself"
SEE_DEV = f"check that the agent sees the whole /dev of the host and that nothing removes device files; {AGAIN}"


def found(host: Host, gpu: Gpu | None = None) -> Found:
    return Found.of((gpu or Gpu()).discover(host))


def ids(host: Host, gpu: Gpu | None = None) -> list[str]:
    return [device.id for device in found(host, gpu).devices]


def rules(host: Host, gpu: Gpu | None = None) -> dict[str, str]:
    return {each.path: each.rule for each in found(host, gpu).exclusions}


def node(name: str) -> DeviceNode:
    return DeviceNode(f"/dev/{name}", f"/on/host/dev/{name}", "rw")


def mount(name: str) -> Mount:
    return Mount(f"/dev/{name}", f"/on/host/dev/{name}", read_only=True)


@pytest.mark.parametrize("tree", [CARD])
def test_offers_a_card_with_its_nodes_and_links(host: Host) -> None:
    assert found(host, Gpu(shared_dev_num=3)) == Found(
        devices=(
            Device(
                id="card1",
                resource="gpu.intel.com/xe",
                sysfs_path=FIRST,
                edits=ContainerEdits(
                    device_nodes=(node("dri/card1"), node("dri/renderD129")),
                    mounts=(mount("dri/by-path/pci-0000:01:00.0-card"), mount("dri/by-path/pci-0000:01:00.0-render")),
                ),
                cdi_name="card1",
                shares=3,
                numa_nodes=(1,),
                attributes={
                    "pciAddress": "0000:01:00.0",
                    "deviceId": "0x56c0",
                    "driver": "xe",
                    "model": "Data Center GPU Flex 170",
                    "discrete": "true",
                },
            ),
        )
    )


@pytest.mark.parametrize("tree", [card(1)])
def test_has_the_ids_that_kubelet_knows_from_the_go_plugin(host: Host) -> None:
    (device,) = found(host, Gpu(shared_dev_num=2)).devices

    assert device.ids == ("card1-0", "card1-1")


@pytest.mark.parametrize("tree", [card(10) + card(2) + card(1)])
def test_orders_cards_by_number(host: Host) -> None:
    assert ids(host) == ["card1", "card2", "card10"]


@pytest.mark.parametrize("tree", [TWO])
def test_each_driver_is_a_resource(host: Host) -> None:
    assert [(each.id, each.resource) for each in found(host).devices] == [
        ("card1", "gpu.intel.com/xe"),
        ("card2", "gpu.intel.com/i915"),
    ]


@pytest.mark.parametrize(
    ("tree", "numa_nodes"),
    [
        pytest.param(CARD.replace("numa_node = 1", "numa_node = -1"), (), id="-1 means that the kernel does not know"),
        pytest.param(CARD.replace("numa_node = 1", "numa_node = 0"), (0,), id="0 without local_cpulist (Go: no hint)"),
        pytest.param(CARD.replace(f"{FIRST}/numa_node = 1", ""), (), id="a kernel without NUMA"),
    ],
)
def test_says_the_numa_node_only_when_it_is_known(host: Host, numa_nodes: tuple[int, ...]) -> None:
    assert [each.numa_nodes for each in found(host).devices] == [numa_nodes]


@pytest.mark.parametrize(
    ("mode", "tree", "mounts"),
    [
        ("none", CARD, []),
        ("all", CARD, ["/dev/dri/by-path"]),
        pytest.param("all", "\n".join(line for line in CARD.split("\n") if "by-path" not in line), [], id="no udev"),
        pytest.param("single", "\n".join(line for line in CARD.split("\n") if "by-path" not in line), [], id="no udev"),
        pytest.param(
            "single",
            card(1, "0000:00:02.0") + card(2, "0000:00:02.1"),
            [f"/dev/dri/by-path/pci-0000:00:02.{function}-{kind}" for function in "01" for kind in ("card", "render")],
            id="each card its own",
        ),
    ],
)
def test_mounts_the_links_that_are_asked_for(mode: str, host: Host, mounts: list[str]) -> None:
    gpu = msgspec.convert({"bypathMode": mode}, Gpu)

    assert [mount.container_path for each in found(host, gpu).devices for mount in each.edits.mounts] == mounts


@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param("pci-0000:01:00.0-card -> ../card7", "'/dev/dri/card7'", id="another card's node"),
        pytest.param("pci-0000:01:00.0-card -> ../../nothing", "'/dev/nothing'", id="dangling: udev is late"),
        pytest.param("pci-0000:01:00.0-card = text", "'is not a link'", id="a file"),
    ],
)
def test_a_link_that_leads_astray_is_not_mounted(link: str, words: str, tmp_path: Path) -> None:
    materialise(CARD.replace("pci-0000:01:00.0-card -> ../card1", link), tmp_path)
    seen = found(Host(str(tmp_path), "/on/host"))

    assert [each.edits.mounts for each in seen.devices] == [(mount("dri/by-path/pci-0000:01:00.0-render"),)]
    assert [(each.rule, each.path) for each in seen.exclusions] == [
        ("by-path", "/dev/dri/by-path/pci-0000:01:00.0-card")
    ]
    assert words in seen.exclusions[0].evidence


@pytest.mark.parametrize("tree", [CARD])
def test_an_absolute_link_starts_at_the_root_of_the_host(host: Host) -> None:
    link = f"{host.root}/dev/dri/by-path/pci-0000:01:00.0-card"
    os.unlink(link)
    os.symlink("/dev/dri/card1", link)

    assert found(host).exclusions == ()


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(
            card(1, driver="vfio-pci"),
            Exclusion(FIRST, "driver", "driver 'vfio-pci'", f"bind it to one of: i915, xe; {AGAIN}"),
            id="driver vfio-pci (Go: a resource gpu.intel.com/vfio-pci)",
        ),
        pytest.param(
            card(1, driver=None),
            Exclusion(FIRST, "driver", "no driver", f"bind it to one of: i915, xe; {AGAIN}"),
            id="no driver link (Go: offered as i915)",
        ),
        pytest.param(
            CARD + f"{FIRST}/sriov_numvfs = 7",
            Exclusion(
                FIRST,
                "has-virtual-functions",
                "7 virtual functions are enabled",
                f"use those, or write 0 to its sriov_numvfs; {AGAIN}",
            ),
            id="physical function",
        ),
    ],
)
def test_names_what_is_not_offered(host: Host, expected: Exclusion) -> None:
    assert found(host) == Found(exclusions=(expected,))


@pytest.mark.parametrize("tree", [CARD + f"{FIRST}/sriov_numvfs = 0"])
def test_a_physical_function_without_virtual_ones_is_offered(host: Host) -> None:
    assert ids(host) == ["card1"]


@pytest.mark.parametrize("tree", [CARD + f"{FIRST}/physfn -> ../0000:00:02.0\n"])
def test_a_virtual_function_names_its_physical_one(host: Host) -> None:
    assert found(host).devices[0].attributes["physicalFunction"] == "0000:00:02.0"


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param("", id="no graphics at all"),
        pytest.param(card(1, vendor="0x1002", driver="amdgpu"), id="another maker's card"),
        pytest.param(
            "/sys/devices/platform/vgem/drm/card0/dev = 226:0\n"
            "/sys/class/drm/card0 -> ../../devices/platform/vgem/drm/card0",
            id="a card without hardware",
        ),
        pytest.param(
            f"{FIRST}/vendor = 0x8086\n{FIRST}/simple-framebuffer.0/drm/card0/dev = 226:0\n"
            "/sys/class/drm/card0 -> ../../devices/pci0000:00/0000:01:00.0/simple-framebuffer.0/drm/card0",
            id="the firmware's framebuffer below an Intel function",
        ),
        pytest.param("/sys/class/drm/version = drm 1.1.0 20060810\n/sys/class/drm/cardinal = ?", id="no cards"),
    ],
)
def test_says_nothing_of_what_is_not_of_its_kind(host: Host) -> None:
    assert found(host, Gpu(enable_monitoring=True)) == Found()


@pytest.mark.parametrize(
    ("section", "tree", "expected"),
    [
        pytest.param({"allowIDs": ["0x56c0"]}, TWO, {"card1": None, "card2": "not-allowed"}, id="allow"),
        pytest.param({"denyIDs": ["0x56c0"]}, TWO, {"card1": "denied", "card2": None}, id="deny"),
        pytest.param({"allowIDs": "0x56C0, 0x4905"}, TWO, {"card1": None, "card2": None}, id="comma list, upper case"),
        pytest.param(
            {"allowIDs": ["0x56c0"]},
            card(1, device="0x56c1") + card(2, device="0x6c00"),
            {"card1": "not-allowed", "card2": "not-allowed"},
            id="ids are compared as a whole (Go: 0x56c passes for 0x56c0)",
        ),
        pytest.param(
            {"denyIDs": ["0x56c0"]},
            card(1, device="") + card(2),
            {"card1": "unreadable", "card2": "denied"},
            id="an empty file is no id (Go: part of every list)",
        ),
        pytest.param(
            {"allowIDs": ["0x56c0"]},
            card(1, device=""),
            {"card1": "unreadable"},
            id="an empty file is never allowed (Go: always)",
        ),
        pytest.param(
            {"allowIDs": ["0x56c0"]}, card(1, device="0x56c0  "), {"card1": None}, id="white space (Go: refused)"
        ),
        pytest.param({"allowIDs": []}, TWO, {"card1": None, "card2": None}, id="nothing means all"),
        pytest.param({"allowIDs": ""}, TWO, {"card1": None, "card2": None}, id="nothing as text means all"),
    ],
)
def test_lists_choose_by_device_id(section: dict[str, object], host: Host, expected: dict[str, str | None]) -> None:
    gpu = msgspec.convert(section, Gpu)
    seen = found(host, gpu)
    offered: dict[str, str | None] = {each.id: None for each in seen.devices}
    refused = {f"card{int(each.path[-7:-5], 16)}": each.rule for each in seen.exclusions}

    assert offered | refused == expected


@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ({"allowIDs": ["0x56c0", "0x56C1"]}, {}),
        ({"denyIDs": " 0x56c0 , 0x56c1 "}, {}),
        ({"allowIDs": "", "denyIDs": "0x56c0"}, {}),
        ({"allowIDs": 0x56C0}, {"allowIDs": '22208 is a number: quote the id, for example "0x56c0"'}),
        ({"denyIDs": [0x0BDA]}, {"denyIDs": '3034 is a number: quote the id, for example "0x0bda"'}),
        (
            {"allowIDs": "0x56c0,"},
            {"allowIDs": "'' is not a PCI device id like \"0x56c0\" (0x and four hexadecimal digits)"},
        ),
        (
            {"allowIDs": ["56c0", 1]},
            {
                "allowIDs": "'56c0' is not a PCI device id like \"0x56c0\" (0x and four hexadecimal digits); "
                '1 is a number: quote the id, for example "0x0001"'
            },
        ),
        (
            {"allowIDs": ["0x56c0"], "denyIDs": ["0x56c1"]},
            {"denyIDs": "cannot be given together with allowIDs: keep one of them"},
        ),
    ],
)
def test_lists_are_checked(section: dict[str, object], problems: dict[str, str]) -> None:
    assert msgspec.convert(section, Gpu).problems() == problems


def test_the_schema_asks_for_text() -> None:
    schema = msgspec.json.schema(Gpu)["$defs"]["Gpu"]["properties"]

    for key in ("allowIDs", "denyIDs"):
        assert schema[key]["type"] == ["array", "string"]
        assert schema[key]["anyOf"][0]["items"]["type"] == "string"


@pytest.mark.parametrize("section", [{"sharedDevNum": 0}, {"sharedDevNum": 10_001}, {"bypathMode": "some"}])
def test_values_out_of_range_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Gpu)


@pytest.mark.parametrize("policy", ["none", "balanced", "packed"])
def test_the_policy_holds_for_all_resources(policy: str) -> None:
    gpu = msgspec.convert({"preferredAllocationPolicy": policy}, Gpu)

    assert {gpu.policy(f"gpu.intel.com/{name}") for name in ("i915", "xe", "monitoring")} == {policy}


@pytest.mark.parametrize("tree", [CARD.replace("/dev/dri/renderD129 c 226:129", "")])
def test_a_card_keeps_the_nodes_that_are_there_and_the_missing_one_is_named(host: Host) -> None:
    seen = found(host)

    assert [each.edits.device_nodes for each in seen.devices] == [(node("dri/card1"),)]
    assert [each.health for each in seen.devices] == [Health.HEALTHY]
    assert Exclusion(f"{FIRST}/drm/renderD129", "node-missing", "/dev/dri/renderD129 is not there", SEE_DEV) in (
        seen.exclusions
    )


@pytest.mark.parametrize(
    "tree", [CARD.replace("/dev/dri/card1 c", "/dev/card1 c").replace("/dri/renderD129 c", "/r c")]
)
def test_a_card_without_any_node_is_not_offered(host: Host) -> None:
    seen = found(host)

    assert seen.devices == ()
    assert Exclusion(FIRST, "no-node", "card1 has no device node in /dev/dri", SEE_DEV) in seen.exclusions


def spoil(path: Path, how: str) -> None:
    """Put something odd in the place of a file or link: nothing, a directory, a link to itself, or another text."""
    path.unlink()
    match how:
        case "absent":
            pass
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case _:
            path.write_text(f"{how}\n".removeprefix("="))


LINK = "/sys/class/drm/card1"


@pytest.mark.parametrize(
    ("what", "how", "where"),
    [
        pytest.param(f"{FIRST}/vendor", "=", FIRST, id="vendor is empty (Go: no card)"),
        pytest.param(f"{FIRST}/vendor", "=8086", FIRST, id="vendor without 0x (Go: no card)"),
        pytest.param(f"{FIRST}/vendor", "absent", FIRST, id="no vendor (Go: no card)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=", FIRST, id="no number of VFs (Go: hidden as if there were some)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=abc", FIRST, id="VFs abc (Go: hidden as if there were some)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=-1", FIRST, id="VFs -1 (Go: none)"),
        pytest.param(f"{FIRST}/numa_node", "=0-1", FIRST, id="numa_node is no number"),
        pytest.param(f"{FIRST}/numa_node", "=" + "9" * 40, FIRST, id="numa_node beyond 64 bits"),
        pytest.param("/dev/dri/card1", "directory", FIRST, id="node is a directory (Go: handed out)"),
        pytest.param(LINK, "loop", LINK, id="link to itself"),
        pytest.param(LINK, "directory", LINK, id="no link"),
    ],
)
def test_an_odd_card_is_named_and_harms_no_other(tmp_path: Path, what: str, how: str, where: str) -> None:
    materialise(TWO + f"{FIRST}/sriov_numvfs = 0", tmp_path)
    spoil(tmp_path / what[1:], how)
    host = Host(str(tmp_path), "/on/host")

    assert ids(host, Gpu(enable_monitoring=True)) == ["card2", "all"]
    assert rules(host) == {where: "unreadable"}


@pytest.mark.parametrize("tree", [TWO])
def test_a_card_whose_files_cannot_be_read_any_more_stays_as_unreadable(host: Host) -> None:
    before = found(host)
    change(Path(host.root), f"{FIRST}/vendor", "")
    after = found(host).after(before)

    assert {each.id: each.health for each in after.devices} == {"card1": Health.UNHEALTHY, "card2": Health.HEALTHY}
    assert {fault.reason for each in after.devices for fault in each.faults} == {Reason.UNREADABLE}


@pytest.mark.parametrize("tree", [TWO])
def test_a_card_in_quarantine_is_not_touched(host: Host) -> None:
    before = found(host)
    os.unlink(f"{host.root}{FIRST}/vendor")
    os.mkfifo(f"{host.root}{FIRST}/vendor")  # whoever opens it waits for ever
    quarantined = host.looking(Look(quarantined={FIRST: "a read has not come back for 5 s"}))
    after = found(quarantined, Gpu(enable_monitoring=True)).after(before)

    assert {each.id: each.health for each in after.devices} == {
        "card2": Health.HEALTHY,
        "all": Health.HEALTHY,
        "card1": Health.UNHEALTHY,
    }


@pytest.mark.parametrize("tree", [CARD + "/sys/class/drm/card3 -> ../../devices/pci0000:00/0000:01:00.0/drm/card3\n"])
def test_two_cards_of_one_function_are_one(host: Host) -> None:
    os.mkdir(f"{host.root}{FIRST}/drm/card3")

    assert ids(host) == ["card1"]
    assert rules(host) == {"/sys/class/drm/card3": "second-card", f"{FIRST}/drm/card3": "node-missing"}


def test_follows_unplugging_plugging_and_virtual_functions(tmp_path: Path) -> None:
    """More than two changes: the third one is where the Go plugin's scan loop blocks for ever."""
    materialise(TWO + f"{FIRST}/sriov_numvfs = 0", tmp_path)
    host = Host(str(tmp_path), "/on/host")
    seen = [ids(host)]
    for _ in range(3):
        part = remove(tmp_path, FIRST)
        seen.append(ids(host))
        add(tmp_path, part)
        seen.append(ids(host))
    change(tmp_path, f"{FIRST}/sriov_numvfs", "1")
    add(tmp_path, parse(card(3, "0000:01:00.1")))
    seen.append(ids(host))

    assert seen == [["card1", "card2"], *[["card2"], ["card1", "card2"]] * 3, ["card2", "card3"]]


BARE = f"""
{FIRST}/class = 0x038000
{FIRST}/vendor = 0x8086
/sys/bus/pci/devices/0000:01:00.0 -> ../../../devices/pci0000:00/0000:01:00.0
"""


@pytest.mark.parametrize(
    ("tree", "rule", "evidence"),
    [
        pytest.param(BARE, "driver", "no driver", id="no driver"),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/vfio-pci", "driver", "driver 'vfio-pci'", id="vfio-pci"
        ),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/xe",
            "no-card",
            "driver xe made no card of it",
            id="the driver gave up",
        ),
        pytest.param(
            BARE + f"{FIRST}/driver -> ../../../bus/pci/drivers/xe\n{FIRST}/survivability_mode = type: Boot",
            "survivability",
            "it is in survivability mode",
            id="drivers/gpu/drm/xe/xe_survivability_mode.c",
        ),
    ],
)
def test_names_gpus_that_no_driver_made_a_card_of(host: Host, rule: str, evidence: str) -> None:
    assert [(each.path, each.rule, each.evidence) for each in found(host).exclusions] == [(FIRST, rule, evidence)]


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(BARE.replace("0x8086", "0x1002"), id="another maker's display"),
        pytest.param(BARE.replace("0x038000", "0x020000"), id="a network card"),
        pytest.param(BARE.replace(f"{FIRST}/class = 0x038000", ""), id="no class"),
    ],
)
def test_says_nothing_of_other_functions(host: Host) -> None:
    assert found(host) == Found()


@pytest.mark.parametrize("tree", [TWO + BARE.replace(f"{FIRST}/vendor = 0x8086", "")])
def test_a_card_is_not_named_as_missing(host: Host) -> None:
    assert rules(host) == {}


@pytest.mark.parametrize("tree", [TWO])
def test_a_bus_that_cannot_be_listed_costs_no_card(host: Host) -> None:
    Path(host.root, "sys/bus/pci").mkdir(parents=True)
    Path(host.root, "sys/bus/pci/devices").write_text("")

    assert ids(host) == ["card1", "card2"]
    assert rules(host) == {"/sys/bus/pci/devices": "unreadable"}


CONTROLLER = f"""
{FIRST}/xe.mei-gscfi.256/mei/mei0/dev = 241:0
{FIRST}/xe.mei-gsc.256/mei/mei1/dev = 241:1
{FIRST}/xe.mei-gsc.256/mei/power/control = auto
/dev/mei0 c 241:0
"""


@pytest.mark.parametrize("tree", [TWO + CONTROLLER])
def test_monitoring_sees_all_cards_and_their_controllers(host: Host) -> None:
    seen = found(host, Gpu(enable_monitoring=True, shared_dev_num=2))

    assert seen.devices[2:] == (
        Device(
            id="all",
            resource="gpu.intel.com/monitoring",
            sysfs_path="/sys/class/drm",
            edits=ContainerEdits(
                device_nodes=tuple(
                    node(name) for name in ("dri/card1", "dri/renderD129", "dri/card2", "dri/renderD130", "mei0")
                )
            ),
            cdi_name="monitoring",
            attributes={"cards": "card1,card2"},
        ),
    )
    assert seen.exclusions == (
        Exclusion(f"{FIRST}/xe.mei-gsc.256/mei/mei1", "node-missing", "/dev/mei1 is not there", SEE_DEV),
    )


@pytest.mark.parametrize("tree", [TWO + CONTROLLER])
def test_a_controller_that_cannot_be_read_costs_only_itself(host: Host) -> None:
    spoil(Path(host.root, "dev/mei0"), "directory")
    seen = found(host, Gpu(enable_monitoring=True))

    assert [each.id for each in seen.devices] == ["card1", "card2", "all"]
    assert [(each.path, each.rule) for each in seen.exclusions] == [(FIRST, "controller")]


@pytest.mark.parametrize("tree", [card(1, driver="vfio-pci")])
def test_there_is_nothing_to_monitor_without_a_card(host: Host) -> None:
    assert ids(host, Gpu(enable_monitoring=True)) == []


@pytest.mark.parametrize("tree", [TWO])
def test_a_class_that_cannot_be_listed_is_no_empty_node(host: Host) -> None:
    """The Go plugin removes all resources here."""
    shutil.rmtree(f"{host.root}/sys/class/drm")
    Path(host.root, "sys/class/drm").write_text("")

    with pytest.raises(SysfsError, match="not a directory"):
        found(host)
