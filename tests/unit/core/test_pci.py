"""PCI words: documented values are understood, anything else is said."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent import pci
from intel_agent.errors import SysfsError
from intel_agent.sysfs import Dir


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
