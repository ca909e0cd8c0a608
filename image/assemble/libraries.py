"""The shared libraries: those that something in the image asks for, and no other."""

from collections import deque
from pathlib import Path, PurePosixPath

from assemble import elf
from assemble.base import Base
from assemble.errors import AssemblyError
from assemble.tree import copy, files

ON_DEMAND = ("libgcc_s.so.1",)
"""What glibc itself loads when a thread ends."""


def add_libraries(base: Base, image: Path) -> list[PurePosixPath]:
    """Put what the programs and libraries in `image` ask for beside them; return which files of the base that are.

    All go into the one directory that Debian's loader searches without a cache.

    Raises:
        AssemblyError: the base has not what is asked for.
    """
    libraries = PurePosixPath("usr/lib") / base.triplet
    taken: dict[str, PurePosixPath] = {}
    todo = deque(files(image))
    wanted: deque[str] = deque(ON_DEMAND)
    while todo or wanted:
        while wanted:
            if (name := wanted.popleft()) not in taken:
                taken[name] = base.library(name)
                copy(base.root / taken[name], image / libraries / name)
                todo.append(image / libraries / name)
        if todo:
            wanted += _wanted(image, todo.popleft())
    _add_loader(base, image, libraries, taken)
    return list(taken.values())


def _wanted(image: Path, path: Path) -> list[str]:
    """Return the names that `path` asks for and does not find in directories of its own."""
    asks = elf.read(path)
    if asks is None:
        return []
    origin = str(path.parent)
    own = [Path(each.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)) for each in asks.search]
    inside = [each for each in own if each.resolve().is_relative_to(image.resolve())]
    return [name for name in asks.needed if not any((each / name).is_file() for each in inside)]


def _add_loader(base: Base, image: Path, libraries: PurePosixPath, taken: dict[str, PurePosixPath]) -> None:
    """Make the path of the loader that is written in the interpreter lead to it."""
    program = elf.read(image / base.program)
    if program is None or program.loader is None:
        raise AssemblyError(f"/{base.program} of the base is not a dynamically linked program")
    directory, name = PurePosixPath(program.loader).parent.name, PurePosixPath(program.loader).name
    if name not in taken:
        taken[name] = base.library(name)
        copy(base.root / taken[name], image / libraries / name)
    if not (image / directory).is_symlink():
        (image / directory).symlink_to(f"usr/{directory}")
        (image / "usr" / directory).mkdir()
    (image / "usr" / directory / name).symlink_to("/" / libraries / name)
