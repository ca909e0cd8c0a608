"""Paths below a directory that is to become, or was, the root of a file system."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from assemble.errors import AssemblyError

LINKS_AT_MOST = 40
"""What Linux follows before it says ELOOP."""


def resolved(root: Path, path: PurePosixPath) -> PurePosixPath | None:
    """Return the path of the file that `path` leads to as a process inside of `root` sees it; None: there is none.

    Both are relative to `root`.

    Raises:
        AssemblyError: links lead in a circle.
    """
    todo = list(reversed(path.parts))
    done = PurePosixPath()
    links = 0
    while todo:
        part = todo.pop()
        done = done.parent if part == ".." else done / part
        here = root / done
        if here.is_symlink():
            links += 1
            if links > LINKS_AT_MOST:
                raise AssemblyError(f"{path} in the base is a link that leads in a circle")
            target = PurePosixPath(os.readlink(here))
            done = PurePosixPath() if target.is_absolute() else done.parent
            todo += reversed(target.relative_to("/").parts if target.is_absolute() else target.parts)
    return done if (root / done).exists() else None


def files(root: Path) -> Iterator[Path]:
    """Yield the regular files below `root`, in an order that depends on their names only."""
    for directory, inner, names in os.walk(root):
        inner.sort()
        for name in sorted(names):
            if not (path := Path(directory, name)).is_symlink():
                yield path


def copy(source: Path, target: Path) -> None:
    """Copy a file, and make the directories above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def write(target: Path, content: str, *, mode: int = 0o644) -> None:
    """Write a file, and make the directories above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content, encoding="utf-8")
    target.chmod(mode)


def settle(root: Path, epoch: int) -> None:
    """Give everything below `root` the same owner and time."""
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            _settle(Path(directory, name), epoch)
        _settle(Path(directory), epoch)


def _settle(path: Path, epoch: int) -> None:
    os.chown(path, 0, 0, follow_symlinks=False)
    os.utime(path, (epoch, epoch), follow_symlinks=False)
