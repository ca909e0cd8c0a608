"""Trees: text that round-trips, and mistakes that are told."""

import operator
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.simulation import fleet
from intel_agent.simulation.tree import (
    CharacterDevice,
    Directory,
    Entry,
    File,
    Link,
    Tree,
    TreeError,
    ancestors,
    destination,
    names,
    node,
    parse,
    tree,
)
from intel_agent.sysfs import DeviceNumber

NAMES = st.text(alphabet=string.ascii_letters + string.digits + ":!-_", min_size=1, max_size=6)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/sys/" + "/".join(parts))
NUMBERS = st.builds(DeviceNumber, st.integers(0, 4095), st.integers(0, 1_048_575))
ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.binary(max_size=20).map(File),
    st.text(max_size=20).map(lambda text: File(f"{text}\n".encode())),
    NAMES.map(lambda name: Link(f"../{name}")),
    NUMBERS.map(CharacterDevice),
    st.just(Directory()),
)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Return a tree: entries whose paths do not lie below one another."""
    entries = draw(st.dictionaries(PATHS, ENTRIES, max_size=8))
    return tree(
        {path: entry for path, entry in entries.items() if not any(path.startswith(f"{other}/") for other in entries)}
    )


@given(trees())
def test_text_of_a_tree_is_the_tree(any_tree: Tree) -> None:
    assert parse(str(any_tree)) == any_tree


@given(st.text())
def test_text_is_a_tree_or_a_tree_error(text: str) -> None:
    try:
        parsed = parse(text)
    except TreeError:
        return
    assert parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        pytest.param("/sys/a = 0x8086", File(b"0x8086\n"), id="a file ends with a newline"),
        pytest.param("/sys/a =", File(b"\n"), id="an empty attribute is a newline"),
        pytest.param(r"/sys/a = \c", File(b""), id="nothing at all"),
        pytest.param(r"/sys/a = A=1\nB=2", File(b"A=1\nB=2\n"), id="two lines"),
        pytest.param(r"/sys/a = \\c", File(b"\\c\n"), id="a backslash before a c"),
        pytest.param(r"/sys/a = \xff\x20\t\c", File(b"\xff \t"), id="bytes"),
        pytest.param("  /sys/a   =  b  c  ", File(b"b  c\n"), id="white space around does not count"),
        pytest.param("/sys/a = b = c -> d", File(b"b = c -> d\n"), id="marks in a text are text"),
        pytest.param("/sys/a -> ../b", Link("../b"), id="link"),
        pytest.param("/sys/a c 226:128", CharacterDevice(DeviceNumber(226, 128)), id="character device"),
        pytest.param("/sys/a/", Directory(), id="directory"),
    ],
)
def test_one_entry_a_line(line: str, entry: Entry) -> None:
    assert parse(f"\n# a comment\n{line}\n") == tree({"/sys/a": entry})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("\n/sys/a", r"line 2: '/sys/a': is neither", id="nothing said"),
        pytest.param("/sys/a = 1\n/sys/a = 2", r"line 2: .*is there twice", id="twice"),
        pytest.param("/sys/a b 8:0", "is neither", id="block device"),
        pytest.param("/sys/a c 226", "is neither", id="half a number"),
        pytest.param("/sys/a ->", "is neither", id="link to nowhere"),
        pytest.param(r"/sys/a = \q", r"unknown escape", id="unknown escape"),
        pytest.param("/sys/a = b\\", r"unknown escape", id="backslash at the end"),
        pytest.param("sys/a = 1", "must be absolute", id="relative"),
        pytest.param("/sys/../etc/passwd = 1", "must be absolute", id="dots"),
        pytest.param("/sys//a = 1", "must be absolute", id="empty part"),
        pytest.param("/sys/a = 1\n/sys/a/b = 2", "lies below /sys/a, which is not a directory", id="below a file"),
        pytest.param("/sys/a -> b\n/sys/a/b = 2", "lies below /sys/a, which is not a directory", id="below a link"),
        pytest.param("/sys/a -> /etc/passwd", "must be relative and stay in the tree", id="absolute link"),
        pytest.param("/sys/a -> ../../etc/passwd", "must be relative and stay in the tree", id="link out of the tree"),
    ],
)
def test_mistakes_are_told(text: str, problem: str) -> None:
    with pytest.raises(TreeError, match=problem):
        parse(text)


def test_sum_refuses_doubles() -> None:
    left, right = parse("/sys/a = 1"), parse("/sys/b = 2")
    assert left + right == parse("/sys/a = 1\n/sys/b = 2")
    with pytest.raises(TreeError, match="/sys/a: is there twice"):
        operator.add(left, left)


def test_destination_of_a_link_is_a_matter_of_text() -> None:
    assert destination("/sys/class/drm/card0", "../../devices/x") == "/sys/devices/x"
    assert destination("/sys/a", "../../x") is None


@pytest.mark.parametrize("name", fleet.MACHINES)
def test_packaged_machine_is_what_the_builders_make(name: str) -> None:
    assert node(name) == fleet.text(name)


@pytest.mark.parametrize("name", fleet.MACHINES)
def test_no_link_of_a_packaged_machine_leads_nowhere(name: str) -> None:
    entries = parse(node(name)).entries
    there = {*entries, *(above for path in entries for above in ancestors(path))}
    assert [
        path
        for path, entry in entries.items()
        # Only links to devices: nothing reads the directories of subsystems and drivers themselves.
        if isinstance(entry, Link) and path.rpartition("/")[2] not in {"subsystem", "driver", "iommu_group"}
        if destination(path, entry.target) not in there
    ] == []


def test_names_are_those_of_the_fleet() -> None:
    assert names() == tuple(sorted(fleet.MACHINES))


def test_unknown_machine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TreeError, match="no machine is called 'mainframe'; there are bench, empty, everything"):
        node("mainframe")
