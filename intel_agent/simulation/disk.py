"""Trees on disk: a directory that looks to the agent like a machine's /sys and /dev, and devices that come and go.

Everything appears and disappears in the kernel's order, so whoever looks in between sees what a real node shows:
a new device has its directory before its node and udev's links come last; an unplugged one loses its node first,
its directory at one stroke, and udev's links at the end.
Source: device_add and device_del in drivers/base/core.c of the kernel.
"""

import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from intel_agent import linkfiles
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
    parse,
    tree,
)
from intel_agent.sysfs import SIMULATION_MARK, DeviceNumber

MARK_TEXT = "A simulated node of intel-agent: device nodes may be regular files that hold `c MAJOR:MINOR`.\n"
NODE_MODE = 0o666
"""Permissions of device nodes: as for a real GPU's render node, everybody may open them."""

_TOPS = ("sys", "dev", "netlink")
_INTERFACES = f"{linkfiles.DIRECTORY}/interfaces"
_STAND_IN = re.compile(rb"c ([0-9]+):([0-9]+)\n")


def materialise(machine: str | Tree, root: Path) -> None:
    """Make the machine below `root`, which is created when it is not there, and mark it as simulated.

    Character devices are real ones where the process may make them, otherwise stand-ins that `sysfs.Host` knows.

    Raises:
        TreeError: the text is not understood, or something of the machine is there already.
    """
    parsed = parse(machine) if isinstance(machine, str) else machine
    for name in ("sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / SIMULATION_MARK).write_text(MARK_TEXT, encoding="utf-8")
    add(root, parsed)


def add(root: Path, part: Tree) -> None:
    """Make the entries of `part` below `root`, as when devices are plugged in.

    Raises:
        TreeError: one of them is there already; then nothing was made.
    """
    for path, entry in part.entries.items():
        here = _below(root, path)
        if os.path.lexists(here) and not (isinstance(entry, Directory) and here.is_dir()):
            raise TreeError(f"{path}: is there already")
    parents: set[Path] = set()
    for path, entry in sorted(part.entries.items(), key=lambda item: _rank(*item)):
        here = _below(root, path)
        if here.parent not in parents:
            here.parent.mkdir(parents=True, exist_ok=True)
            parents.add(here.parent)
        _make(root, here, entry)


def remove(root: Path, *paths: str) -> Tree:
    """Remove what is at `paths` (`/sys/devices/...`), as an unplug does, and return it, so that it can be added again.

    With a device go its virtual functions, what VFIO made of its IOMMU group if nobody else is in that, every link into
    it, its nodes in /dev with the links to them, and what netlink tells of its interfaces.

    Raises:
        TreeError: there is nothing at one of the paths.
    """
    for path in paths:
        if not os.path.lexists(_below(root, path)):
            raise TreeError(f"{path}: there is nothing")
    tops = frozenset(paths).union(*(_virtual_functions(root, path) for path in paths))
    tops = tops.union(*(_vfio_group(root, path) for path in tops))
    part = _part(dict(_survey(root, tops | {_INTERFACES})), tops)
    outside = {path: entry for path, entry in part.entries.items() if not _is_in(tops, path)}
    for path, entry in sorted(outside.items(), key=lambda item: -_rank(*item)):
        if not _is_of_udev(path, entry):
            _below(root, path).unlink(missing_ok=True)
    for top in tops:
        _remove_at_once(root, _below(root, top))
    for path, entry in outside.items():
        if _is_of_udev(path, entry):
            _below(root, path).unlink(missing_ok=True)
    return part


def change(root: Path, path: str, text: str) -> None:
    """Give the file at `path` another text (the newline goes without saying), at one stroke.

    Raises:
        TreeError: there is no such file.
    """
    here = _below(root, path)
    if not here.is_file():
        raise TreeError(f"{path}: there is no such file")
    _write(root, here, f"{text}\n".encode())


def read(root: Path) -> Tree:
    """Return what is below `root` of a machine: files, links, character devices and empty directories."""
    return tree(dict(_survey(root, frozenset(f"/{top}" for top in _TOPS))))


def _below(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


def _rank(path: str, entry: Entry) -> int:
    """Return the place of an entry in the order in which the kernel, and udev after it, make them."""
    if isinstance(entry, CharacterDevice):
        return 3
    if isinstance(entry, Link):
        return 4 if _is_of_udev(path, entry) else 2 if path.startswith("/sys/dev/") else 1
    return 0


def _is_of_udev(path: str, entry: Entry) -> bool:
    return isinstance(entry, Link) and path.startswith("/dev/")


def _is_in(tops: frozenset[str], path: str) -> bool:
    return not tops.isdisjoint((path, *ancestors(path)))


def _make(root: Path, here: Path, entry: Entry) -> None:
    match entry:
        case Directory():
            here.mkdir(exist_ok=True)
        case File(content):
            _write(root, here, content)
        case Link(target):
            here.symlink_to(target)
        case CharacterDevice(number):
            _make_node(root, here, number)


def _make_node(root: Path, here: Path, number: DeviceNumber) -> None:
    try:
        os.mknod(here, stat.S_IFCHR | NODE_MODE, os.makedev(number.major, number.minor))
    except PermissionError:
        _write(root, here, f"c {number}\n".encode())
    here.chmod(NODE_MODE)


def _write(root: Path, here: Path, content: bytes) -> None:
    """Write the file so that nobody ever sees a part of it: the kernel never shows one either."""
    draft = f"{root}/{SIMULATION_MARK}.{os.getpid()}.{threading.get_native_id()}"
    with open(draft, "wb") as file:
        file.write(content)
    os.chmod(draft, 0o644)
    os.rename(draft, here)


def _remove_at_once(root: Path, here: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{SIMULATION_MARK}.", dir=root) as aside:
        there = Path(aside, here.name)
        here.rename(there)
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)


def _virtual_functions(root: Path, path: str) -> Iterator[str]:
    for link in _below(root, path).glob("virtfn*"):
        function = destination(f"{path}/{link.name}", os.readlink(link))
        if function is not None and _below(root, function).is_dir():
            yield function


def _vfio_group(root: Path, path: str) -> Iterator[str]:
    function = _below(root, path)
    if (function / "iommu_group").is_symlink():
        group = os.path.basename(os.readlink(function / "iommu_group"))
        members = _below(root, f"/sys/kernel/iommu_groups/{group}/devices").glob("*")
        directory = f"/sys/devices/virtual/vfio/{group}"
        if [each.name for each in members] == [function.name] and _below(root, directory).is_dir():
            yield directory


def _part(present: dict[str, Entry], tops: frozenset[str]) -> Tree:
    """Return what goes together with `tops`: everything in them, nodes of theirs, and links to all that."""
    part = {path: entry for path, entry in present.items() if _is_in(tops, path)}
    numbers = set(_numbers(part))
    part |= {path: entry for path, entry in present.items() if _is_node_of(numbers, path, entry)}
    part |= {path: entry for path, entry in present.items() if _is_interface_of(tops, path, entry)}
    links = {path: entry for path, entry in present.items() if _leads_into(part, tops, path, entry)}
    return tree(part | links)


def _is_interface_of(tops: frozenset[str], path: str, entry: Entry) -> bool:
    """Return whether the entry is what netlink tells of an interface of one of the devices."""
    if not path.startswith(f"{_INTERFACES}/") or not isinstance(entry, File):
        return False
    device = linkfiles.device(entry.content)
    return device is not None and device.rpartition("/")[2] in {os.path.basename(top) for top in tops}


def _is_node_of(numbers: set[str], path: str, entry: Entry) -> bool:
    return path.startswith("/dev/") and isinstance(entry, CharacterDevice) and str(entry.number) in numbers


def _leads_into(part: dict[str, Entry], tops: frozenset[str], path: str, entry: Entry) -> bool:
    if not isinstance(entry, Link) or (to := destination(path, entry.target)) is None:
        return False
    return to in part or _is_in(tops, to)


def _numbers(part: dict[str, Entry]) -> Iterable[str]:
    for path, entry in part.items():
        if isinstance(entry, File) and path.endswith("/dev"):
            yield entry.content.decode("ascii", "replace").strip()
        elif isinstance(entry, CharacterDevice):
            yield str(entry.number)


def _survey(root: Path, contents_of: frozenset[str]) -> Iterator[tuple[str, Entry]]:
    """Yield every entry of the machine by path; files outside of `contents_of` seem empty, which saves time."""
    for top in _TOPS:
        for directory, names, files in os.walk(root / top):
            path = "/" + os.path.relpath(directory, root)
            names.sort()
            if not names and not files and path != f"/{top}":
                yield path, Directory()
            for name in sorted((*names, *files)):
                here = f"{path}/{name}"
                if (entry := _read_entry(root, here, contents=_is_in(contents_of, here))) is not None:
                    yield here, entry


def _read_entry(root: Path, path: str, *, contents: bool) -> Entry | None:
    """Return the entry, or `None` for a directory and for what no tree can say (a pipe)."""
    here = _below(root, path)
    status = here.lstat()
    if stat.S_ISLNK(status.st_mode):
        return Link(os.readlink(here))
    if stat.S_ISCHR(status.st_mode):
        return CharacterDevice(DeviceNumber(os.major(status.st_rdev), os.minor(status.st_rdev)))
    if not stat.S_ISREG(status.st_mode):
        return None
    if path.startswith("/dev/") and (number := _STAND_IN.fullmatch(here.read_bytes())) is not None:
        return CharacterDevice(DeviceNumber(int(number[1]), int(number[2])))
    return File(here.read_bytes() if contents else b"")
