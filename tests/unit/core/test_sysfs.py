"""Typed reads: what is text, a number, a link, a node; and what is said where something else is."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.errors import SysfsError
from intel_agent.model import Device, DeviceNode, Exclusion
from intel_agent.rawfiles import PAGE
from intel_agent.sysfs import REPORT, SIMULATION_MARK, DeviceNumber, Dir, Host, Look, natural


@pytest.fixture
def directory(tmp_path: Path) -> Dir:
    return Dir(str(tmp_path))


def write(directory: Dir, content: bytes, name: str = "file") -> None:
    Path(directory.path, name).write_bytes(content)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"0x8086\n", "0x8086"), (b"", ""), (b"  a b\t\n", "a b"), (b"two\nlines\n", "two\nlines"), (b"a\tb", "a\tb")],
)
def test_text_is_stripped(directory: Dir, content: bytes, text: str) -> None:
    write(directory, content)

    assert directory.text("file") == directory.optional_text("file") == text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"\xff\xfe", "is not text", id="bytes"),
        pytest.param(b"a\0b", "is not text", id="zero"),
        pytest.param(b"\x1b[2J", "is not text", id="terminal sequence"),
        pytest.param(b"\x1c0", "is not text", id="a separator that Python's str takes for white space"),
        pytest.param(b"a" * (PAGE + 1), "is longer than it can be", id="more than a page"),
    ],
)
def test_what_is_not_text_is_refused(directory: Dir, content: bytes, problem: str) -> None:
    write(directory, content)

    for read in (directory.text, directory.optional_text):
        with pytest.raises(SysfsError, match=problem):
            read("file")


def test_a_page_is_not_too_long(directory: Dir) -> None:
    write(directory, b"a" * PAGE)

    assert len(directory.text("file")) == PAGE


def test_a_report_is_longer_than_a_page_and_has_an_end(directory: Dir) -> None:
    write(directory, b"a" * REPORT)

    assert len(directory.whole_text("file")) == REPORT

    write(directory, b"a" * (REPORT + 1))
    with pytest.raises(SysfsError, match="is longer than it can be"):
        directory.whole_text("file")


def test_a_report_that_comes_in_pieces_is_put_together() -> None:
    """The kernel gives a buffer at once: here one packet of a pipe."""
    reader, writer = os.pipe2(os.O_DIRECT)
    for letter in (b"a", b"b", b"c"):
        os.write(writer, letter * PAGE)
    os.close(writer)
    try:
        assert Dir("/proc/self/fd").whole_text(str(reader)) == "a" * PAGE + "b" * PAGE + "c" * PAGE
    finally:
        os.close(reader)


def test_only_a_missing_attribute_is_none(directory: Dir) -> None:
    """Unreadable is not absent: the Go plugins take both for the same."""
    os.mkdir(directory.path + "/directory")
    os.symlink("loop", directory.path + "/loop")
    write(directory, b"")

    assert directory.optional_text("nothing") is None
    assert directory.optional_text("file/below") is None
    assert directory.optional_integer("nothing") is None
    with pytest.raises(SysfsError, match="no such file"):
        directory.text("nothing")
    for name in ("directory", "loop"):
        with pytest.raises(SysfsError, match=f"{name}: "):
            directory.optional_text(name)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-1", -1), ("007", 7), (str(2**63 - 1), 2**63 - 1)])
def test_integers_are_decimal(directory: Dir, text: str, number: int) -> None:
    write(directory, text.encode())

    assert directory.optional_integer("file") == number


@pytest.mark.parametrize("text", ["", "-", "--1", "0x10", "1 2", "1.0", "+1", str(2**63), "9" * PAGE])
def test_what_is_no_integer_is_refused(directory: Dir, text: str) -> None:
    write(directory, text.encode())

    with pytest.raises(SysfsError, match=r"is not a decimal number|is more than 64 bits"):
        directory.optional_integer("file")


@given(content=st.binary(max_size=40))
def test_any_content_is_an_integer_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = Dir(str(tmp_path_factory.getbasetemp()))
    write(directory, content, "any")

    try:
        number = directory.optional_integer("any")
    except SysfsError:
        return
    assert number is not None
    assert int(content) == number


def test_a_link_is_named_by_its_last_part(directory: Dir) -> None:
    os.symlink("../../bus/pci/drivers/xe", directory.path + "/driver")
    write(directory, b"")

    assert directory.link_name("driver") == "xe"
    assert directory.link_name("nothing") is None
    with pytest.raises(SysfsError, match="file: is not a link"):
        directory.link_name("file")
    with pytest.raises(SysfsError, match="file name too long"):
        directory.link_name("a" * 300)


def test_existence_follows_links(directory: Dir) -> None:
    os.symlink("nowhere", directory.path + "/dangling")
    os.symlink("loop", directory.path + "/loop")

    assert directory.exists()
    assert not directory.exists("dangling")
    with pytest.raises(SysfsError, match="too many levels"):
        directory.exists("loop")


def test_resolving_leads_to_a_directory_with_a_name_of_the_kernel(directory: Dir) -> None:
    os.mkdir(directory.path + "/real")
    os.symlink("real", directory.path + "/link")
    os.mkdir(os.fsencode(directory.path) + b"/\xff")
    os.symlink(b"\xff", os.fsencode(directory.path) + b"/odd")
    os.mkdir(directory.path + "/gone (deleted)")  # as the kernel calls what went away while it was looked at

    assert (directory / "link").resolved().name == "real"
    with pytest.raises(SysfsError, match="no such file"):
        directory.resolved("nothing")
    with pytest.raises(SysfsError, match="no such file"):
        directory.resolved("gone (deleted)")
    with pytest.raises(SysfsError, match="no name that the kernel gives"):
        directory.resolved("odd")


def test_children_come_in_natural_order(directory: Dir) -> None:
    for name in ("card10", "card2", "version"):
        os.mkdir(f"{directory.path}/{name}")
    write(directory, b"")

    assert [each.name for each in directory.children("card*")] == ["card2", "card10"]
    assert (directory / "nothing").children() == []
    with pytest.raises(SysfsError, match="not a directory"):
        (directory / "file").children()


@given(st.lists(st.integers(0, 10**9), unique=True))
def test_natural_order_is_that_of_numbers(numbers: list[int]) -> None:
    names = [f"wq{number}.{7 - number % 8}" for number in numbers]

    assert sorted(names, key=natural) == [f"wq{number}.{7 - number % 8}" for number in sorted(numbers)]


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_names_have_an_order(left: str, right: str) -> None:
    assert (natural(left) < natural(right)) is not (natural(left) >= natural(right))


@pytest.mark.parametrize("tree", ["/dev/dri/card0 c 226:0"])
def test_a_node_is_named_as_the_host_names_it(host: Host) -> None:
    os.symlink("card0", f"{host.root}/dev/dri/alias")
    os.mkdir(f"{host.root}/dev/odd")
    os.symlink("loop", f"{host.root}/dev/loop")

    assert host.simulated
    assert host.node("/dev/dri/card0") == DeviceNode("/dev/dri/card0", "/on/host/dev/dri/card0", "rw")
    assert str(host.number("/dev/dri/alias")) == "226:0"
    assert host.node("/dev/dri/card1") is None
    with pytest.raises(SysfsError, match="/dev/odd: is not a character device"):
        host.node("/dev/odd")
    with pytest.raises(SysfsError, match="/dev/loop: too many levels"):
        host.node("/dev/loop")


@pytest.mark.parametrize(
    ("content", "number"),
    [("c 226:0\n", DeviceNumber(226, 0)), ("c 1:", None), ("c :1", None), ("b 1:2", None), ("", None), ("c 12", None)],
)
def test_a_file_stands_in_for_a_node_on_simulated_nodes_only(
    tmp_path: Path, content: str, number: DeviceNumber | None
) -> None:
    Path(tmp_path, "dev").mkdir()
    Path(tmp_path, "dev/a").write_text(content)
    real = Host(str(tmp_path))
    Path(tmp_path, SIMULATION_MARK).write_text("")
    simulated = Host(str(tmp_path))

    with pytest.raises(SysfsError, match="/dev/a: is not a character device"):
        real.number("/dev/a")
    if number is None:
        with pytest.raises(SysfsError, match="nor the stand-in of one"):
            simulated.number("/dev/a")
    else:
        assert simulated.number("/dev/a") == number


def test_the_null_device_is_a_node_everywhere() -> None:
    assert Host().node("/dev/null") == DeviceNode("/dev/null", "/dev/null", "rw")
    assert Host().number("/dev/null") == DeviceNumber(1, 3)


def test_links_are_read_as_the_host_means_them(host: Host) -> None:
    os.mkdir(f"{host.root}/dev/char")
    os.symlink("../dri/card0", f"{host.root}/dev/char/226:0")
    os.symlink("/dev/dri/card1", f"{host.root}/dev/char/226:1")
    os.mkdir(f"{host.root}/dev/char/226:2")

    assert host.target("/dev/char/226:0") == "/dev/dri/card0"
    assert host.target("/dev/char/226:1") == "/dev/dri/card1"
    assert host.target("/dev/char/226:3") is None
    with pytest.raises(SysfsError, match="/dev/char/226:2: is not a link"):
        host.target("/dev/char/226:2")
    with pytest.raises(SysfsError, match="file name too long"):
        host.target("/dev/char/" + "a" * 300)


def test_the_beginning_of_a_binary_attribute_is_read(host: Host) -> None:
    Path(host.root, "config").write_bytes(b"\x86\x80\xff\0more")
    root = Dir(host.root)

    assert root.optional_bytes("config", 4) == b"\x86\x80\xff\0"
    assert root.optional_bytes("nothing", 4) is None
    with pytest.raises(SysfsError, match=": is a directory"):
        root.optional_bytes("dev", 4)


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    Path(tmp_path, "real/sys/devices/a").mkdir(parents=True)
    Path(tmp_path, "link").symlink_to("real")
    host = Host(str(tmp_path / "link"))

    assert host.kernel_path((host.sys / "devices/a").resolved()) == "/sys/devices/a"


def test_one_device_that_cannot_be_read_harms_no_other(host: Host) -> None:
    look = Look(quarantined={"/sys/2": "a read has not come back"})
    host = host.looking(look)
    at: list[str | None] = []

    def read(directory: Dir) -> list[Device | Exclusion]:
        at.append(look.at)
        if directory.name == "1":
            directory.text("nothing")
        return [Exclusion(host.kernel_path(directory), "seen", "", "")]

    seen = [item for item in host.each([host.sys / name for name in "123"], read) if isinstance(item, Exclusion)]

    assert [(each.path, each.rule) for each in seen] == [
        ("/sys/1", "unreadable"),
        ("/sys/2", "unreadable"),
        ("/sys/3", "seen"),
    ]
    assert "a read has not come back" in seen[1].evidence
    assert at == ["/sys/1", "/sys/3"]
    assert look.at is None


def test_a_look_that_nobody_waits_for_reads_nothing_more(host: Host) -> None:
    host = host.looking(Look(abandoned_at="/sys/1"))

    with pytest.raises(SysfsError, match="nobody waits for this look any more"), host.reading(host.sys):
        pass
