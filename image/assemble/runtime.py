"""The interpreter and its standard library, without what only developers, desktops and Python's own tests need."""

import shutil
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from assemble.base import STDLIB, Base
from assemble.bytecode import NO_DOCSTRINGS, compile_all
from assemble.tree import copy, files, write

LEFT_OUT = (
    "EXTERNALLY-MANAGED",
    "__phello__",
    "_pyrepl",
    "__pycache__",
    "config-*",  # to build extensions with
    "curses",
    "dbm",
    "distutils",
    "dist-packages",
    "doctest.py",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pdb.py",
    "pydoc*",
    "site-packages",
    "sitecustomize.py",
    "sqlite3",
    "test",
    "tkinter",
    "turtle*",
    "unittest",
    "venv",
    "xmlrpc",
)
"""Entries of the standard library."""

EXTENSIONS_LEFT_OUT = (
    "_codecs_*",  # encodings of East Asia
    "_ctypes_test*",
    "_crypt.*",
    "_curses*",
    "_dbm.*",
    "_gdbm.*",
    "_multibytecodec.*",
    "_sqlite3.*",
    "_test*",
    "_tkinter.*",
    "_xx*",
    "nis.*",
    "ossaudiodev.*",
    "readline.*",
    "xx*",
)
"""Entries of `lib-dynload`; with them go the libraries that only they need."""

USERS = "root:x:0:0:root:/:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\n"


def add_runtime(base: Base, image: Path) -> list[PurePosixPath]:
    """Put Python into `image`; return which files of the base are in it now, byte code counting as its source."""
    copy(base.root / base.program, image / base.program)
    taken = [base.program, *_add_stdlib(base, image)]
    _add_directories(image)
    write(image / "etc/passwd", USERS)
    write(image / "etc/group", GROUPS)
    return taken


def _add_directories(image: Path) -> None:
    for name in ("bin", "lib", "sbin"):
        (image / "usr" / name).mkdir(parents=True, exist_ok=True)
        (image / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "run", "sys", "tmp", "var/lib"):
        (image / name).mkdir(parents=True)
    (image / "tmp").chmod(0o1777)


def _add_stdlib(base: Base, image: Path) -> list[PurePosixPath]:
    place = base.prefix / STDLIB
    stdlib = str(base.root / place)
    patterns = {stdlib: LEFT_OUT, f"{stdlib}/lib-dynload": EXTENSIONS_LEFT_OUT}

    def left_out(directory: str, names: list[str]) -> list[str]:
        unwanted = ("__pycache__", *patterns.get(directory, ()))
        return [name for name in names if any(fnmatchcase(name, each) for each in unwanted)]

    shutil.copytree(stdlib, image / place, ignore=left_out)
    taken = [PurePosixPath(path.relative_to(image)) for path in files(image / place)]
    compile_all(image / place, place, level=NO_DOCSTRINGS)
    return taken
