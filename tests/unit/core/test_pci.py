"""PCI words: documented values are understood, anything else is said."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent import pci
from intel_agent.errors import SysfsError
from intel_agent.model import Exclusion
from intel_agent.simulation.machines import link
from intel_agent.sysfs import Dir, Host


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/sys/devices/pci0000:00/0000:00:02.0/drm/card0", "/sys/devices/pci0000:00/0000:00:02.0"),
        ("/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0", "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"),
        ("/sys/devices/pci10000:00/10000:00:02.0/nvme", "/sys/devices/pci10000:00/10000:00:02.0"),
        ("/sys/devices/platform/vgem", None),
        ("/sys/devices/0000:00:02.9/x", None),
    ],
)
def test_a_function_is_found_above_its_parts(path: str, above: str | None) -> None:
    function = pci.function_above(Dir(path))

    assert (function.path if function else None) == above


BELOW_BRIDGES = "/sys/devices/pci0000:6a/0000:6a:01.0/0000:6b:00.0/0000:6c:00.0"


def function(address: str, device: str = "0x4941", vendor: str = "0x8086", directory: str | None = None) -> str:
    directory = directory or f"/sys/devices/pci{address[:-5]}/{address}"
    return f"""
{directory}/device = {device}
{directory}/vendor = {vendor}
{link(f"/sys/bus/pci/devices/{address}", directory)}
"""


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(
            function("0000:10:00.0")
            + function("0000:0a:01.0")
            + function("0000:0a:00.7")
            + function("10000:01:00.0", "0x4943")
            + function("0000:0a:0b.0", "0x4940")
            + function("0000:0b:00.0", vendor="0x1af4")
            + function("0000:6c:00.0", directory=BELOW_BRIDGES),
            id="at any depth, in any domain (Go: four digits only), of Intel only (Go: QAT and DSA of any vendor)",
        )
    ],
)
def test_functions_are_found_by_their_ids(host: Host) -> None:
    found = list(pci.functions(host, {"0x4941", "0x4943"}, mixed={None}))

    assert [(host.kernel_path(each[0]), each[1]) for each in found if not isinstance(each, Exclusion)] == [
        ("/sys/devices/pci0000:0a/0000:0a:00.7", "0x4941"),
        ("/sys/devices/pci0000:0a/0000:0a:01.0", "0x4941"),
        ("/sys/devices/pci0000:10/0000:10:00.0", "0x4941"),
        (BELOW_BRIDGES, "0x4941"),
        ("/sys/devices/pci10000:01/10000:01:00.0", "0x4943"),
    ]
    assert len(found) == 5


@pytest.mark.parametrize("tree", [function("0000:0a:00.0") + function("0000:0b:00.0", "?") + function("0000:0c:00.0")])
def test_a_function_that_cannot_be_told_is_named_by_its_own_path(host: Host) -> None:
    """The existing plugins end, or fail the whole scan."""
    os.unlink(f"{host.root}/sys/bus/pci/devices/0000:0c:00.0")
    os.symlink("0000:0c:00.0", f"{host.root}/sys/bus/pci/devices/0000:0c:00.0")

    _, odd, loop = pci.functions(host, {"0x4941"}, mixed={None})

    assert isinstance(odd, Exclusion)
    assert isinstance(loop, Exclusion)
    assert (odd.path, odd.rule) == ("/sys/devices/pci0000:0b/0000:0b:00.0", "unreadable")
    assert (loop.path, loop.rule) == ("/sys/bus/pci/devices/0000:0c:00.0", "unreadable")


def bound(driver: str, *functions: tuple[str, str]) -> str:
    """Return the tree of functions with a driver: the address and the device id of each."""
    return "".join(
        function(address, device) + link(f"/sys/bus/pci/drivers/{driver}/{address}", f"/sys/bus/pci/devices/{address}")
        for address, device in functions
    )


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(bound("nvme", ("0000:01:00.0", "0x0001"), ("0000:02:00.0", "?")), [], id="another driver"),
        pytest.param(
            bound("both", ("0000:01:00.0", "0x0001"), ("0000:02:00.0", "0x4941")), ["0000:02:00.0"], id="a mixed one"
        ),
        pytest.param(
            bound("nvme", ("0000:01:00.0", "0x4941"), ("0000:02:00.0", "0x4941")),
            ["0000:01:00.0", "0000:02:00.0"],
            id="an unexpected one",
        ),
        pytest.param(
            bound("nvme", ("0000:01:00.0", "0x0001")) + function("0000:02:00.0"), ["0000:02:00.0"], id="no driver"
        ),
        pytest.param(
            function("0000:01:00.0") + "/sys/bus/pci/drivers/nvme = no directory",
            ["0000:01:00.0"],
            id="a driver that cannot be listed",
        ),
        pytest.param(function("0000:01:00.0") + "/sys/bus/pci/drivers = a file", ["0000:01:00.0"], id="no drivers"),
    ],
)
def test_one_function_of_a_driver_tells_what_it_has(host: Host, expected: list[str]) -> None:
    found = list(pci.functions(host, {"0x4941"}, mixed={None, "both"}))

    assert [each.path if isinstance(each, Exclusion) else each[0].name for each in found] == expected


@pytest.mark.parametrize("tree", ["/sys/devices/"])
def test_without_a_bus_there_are_no_functions(host: Host) -> None:
    assert list(pci.functions(host, {"0x4941"}, mixed={None})) == []


@given(st.lists(st.tuples(*[st.integers(0, last) for last in (0xFFFFF, 0xFF, 0x1F, 7)])))
def test_addresses_are_ordered_as_the_bus_counts(numbers: list[tuple[int, ...]]) -> None:
    addresses = ["{:04x}:{:02x}:{:02x}.{}".format(*each) for each in numbers]

    assert sorted(addresses, key=pci.order) == ["{:04x}:{:02x}:{:02x}.{}".format(*each) for each in sorted(numbers)]


@pytest.mark.parametrize(("text", "node"), [("-1", ()), ("0", (0,)), ("3", (3,)), (None, ())])
def test_the_numa_node_is_known_or_not(tmp_path: Path, text: str | None, node: tuple[int, ...]) -> None:
    if text is not None:
        Path(tmp_path, "numa_node").write_text(text)

    assert pci.numa_nodes(Dir(str(tmp_path))) == node


def test_other_negative_numbers_do_not_mean_unknown(tmp_path: Path) -> None:
    Path(tmp_path, "numa_node").write_text("-2")

    with pytest.raises(SysfsError, match="-2 is not a NUMA node, nor -1 for none"):
        pci.numa_nodes(Dir(str(tmp_path)))


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("7", 7), (None, 0), ("-1", None), ("many", None)])
def test_virtual_functions_are_counted(tmp_path: Path, text: str | None, count: int | None) -> None:
    if text is not None:
        Path(tmp_path, "sriov_numvfs").write_text(text)

    if count is None:
        with pytest.raises(SysfsError):
            pci.virtual_functions(Dir(str(tmp_path)))
    else:
        assert pci.virtual_functions(Dir(str(tmp_path))) == count


@pytest.mark.parametrize("text", ["", "8086", "0x8086 x", "0X8086", "0x808", "0x80860"])
def test_what_is_no_id_is_refused(tmp_path: Path, text: str) -> None:
    Path(tmp_path, "vendor").write_text(text)

    with pytest.raises(SysfsError, match="is not a PCI id like 0x8086"):
        pci.identity(Dir(str(tmp_path)), "vendor")


@given(st.lists(st.integers(0, 0xFFFF).map("0x{:04x}".format)))
def test_both_forms_of_a_list_mean_the_same(ids: list[str]) -> None:
    assert pci.ids(tuple(ids)) == pci.ids(", ".join(ids).upper()) == frozenset(ids)
    assert pci.id_list_problem(tuple(ids)) is None
    assert pci.id_list_problem(", ".join(ids)) is None


@given(st.lists(st.text() | st.integers()).map(tuple[str | int, ...]) | st.text() | st.integers())
def test_a_list_is_good_or_its_problem_is_named(given: pci.IdList) -> None:
    problem = pci.id_list_problem(given)

    assert problem is not None or all(len(each) == 6 for each in pci.ids(given))


CARDS = """
/sys/devices/pci0000:3a/0000:3b:00.0/accel/accel1/dev = 261:1
/sys/devices/pci0000:3a/0000:3b:00.0/accel/accel7/dev = 261:7
/sys/devices/virtual/accel/accel2/dev = 261:2
/sys/devices/platform/accel/accel3/dev = 261:3
/sys/elsewhere/0000:3c:00.0/accel/accel5/dev = 261:5
/sys/class/accel/accel1 -> ../../devices/pci0000:3a/0000:3b:00.0/accel/accel1
/sys/class/accel/accel7 -> ../../devices/pci0000:3a/0000:3b:00.0/accel/accel7
/sys/class/accel/accel2 -> ../../devices/virtual/accel/accel2
/sys/class/accel/accel3 -> ../../devices/platform/accel/accel3
/sys/class/accel/accel4 -> ../../devices/nothing
/sys/class/accel/accel5 -> ../../elsewhere/0000:3c:00.0/accel/accel5
/sys/class/accel/accel_controlD1 -> ../../devices/nothing
"""


@pytest.mark.parametrize("tree", [CARDS])
def test_members_of_a_class_are_known_by_the_function_that_made_them(host: Host) -> None:
    found, odd = pci.of_class(host, "accel", re.compile(r"accel[0-9]+"))

    assert {host.kernel_path(function): name for function, name in found.items()} == {
        "/sys/devices/pci0000:3a/0000:3b:00.0": "accel1"
    }
    assert {each.path: each.rule for each in odd} == {
        "/sys/class/accel/accel7": "second-device",
        "/sys/class/accel/accel4": "unreadable",
        "/sys/class/accel/accel5": "unreadable",
    }


def test_a_class_that_is_not_there_has_no_members(host: Host) -> None:
    assert pci.of_class(host, "accel", re.compile(".*")) == ({}, [])


@pytest.mark.parametrize("tree", ["/sys/class/accel = a file"])
def test_a_class_that_cannot_be_listed_is_trouble_of_the_whole_kind(host: Host) -> None:
    with pytest.raises(SysfsError):
        pci.of_class(host, "accel", re.compile(".*"))


FUNCTIONS = """
/sys/bus/pci/devices/0000:00:01.0/driver -> ../../drivers/nvme
/sys/bus/pci/devices/0000:00:02.0/driver -> ../../drivers/vfio-pci
/sys/bus/pci/devices/0000:00:03.0/class = 0x120000
/sys/bus/pci/devices/0000:00:04.0/driver = no link
/sys/bus/pci/devices/0000:00:05.0/class = 0x120000
/sys/bus/pci/drivers/nvme/0000:00:01.0 -> ../../devices/0000:00:01.0
/sys/bus/pci/drivers/vfio-pci/0000:00:02.0 -> ../../devices/0000:00:02.0
"""


def others(host: Host) -> list[str]:
    def seen(link: Dir) -> list[Exclusion]:
        return [Exclusion(link.name, "seen", "", "")]

    return [
        each.path if isinstance(each, Exclusion) and each.rule == "seen" else str(each)
        for each in pci.others(host, {"0000:00:05.0"}, {None, "vfio-pci"}, seen)
    ]


@pytest.mark.parametrize("tree", [FUNCTIONS])
def test_other_functions_are_those_that_no_driver_of_another_kind_has(host: Host) -> None:
    assert others(host) == ["0000:00:02.0", "0000:00:03.0", "0000:00:04.0"]


@pytest.mark.parametrize("tree", ["/sys/bus/pci/devices = a file"])
def test_a_bus_that_cannot_be_listed_is_said(host: Host) -> None:
    assert ["unreadable" in each for each in others(host)] == [True]
