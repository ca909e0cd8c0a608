"""Files of the kernel as they come: read at one stroke, and followed by the kernel itself.

A look is thousands of such reads: this is the part of it that has to be fast.
"""

import errno
import os

from intel_agent.errors import SysfsError, words

PAGE = 4096
"""The most that the kernel puts into one attribute, in bytes."""
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
"""What the system says of a file that is not there."""
_DELETED = " (deleted)"
"""What the kernel appends to the path of a directory that went away meanwhile (proc(5))."""


def status(path: str) -> os.stat_result | None:
    """Return what the system knows of a file; `None` where there is none.

    Raises:
        SysfsError: that cannot be told.
    """
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise SysfsError(path, words(error)) from error


def text(path: str, longest: int = PAGE) -> str:
    """Return the text in a file without the space around it; `longest` bytes at most.

    Raises:
        SysfsError: it cannot be read, or is no text of that length.
    """
    try:
        raw = content(path, longest + 1, in_pieces=longest > PAGE)
    except OSError as error:
        raise SysfsError(path, words(error)) from error
    return decoded(path, raw, longest)


def decoded(path: str, raw: bytes, longest: int) -> str:
    """Return what was read from a file as text, without the space around it.

    Raises:
        SysfsError: it is no text, or more than `longest` bytes.
    """
    if len(raw) > longest:
        raise SysfsError(path, f"is longer than it can be ({longest} bytes)")
    try:
        found = raw.strip().decode("ascii")
    except UnicodeDecodeError as error:
        raise SysfsError(path, "is not text") from error
    if not found.isprintable() and any(letter not in "\n\t" and not letter.isprintable() for letter in found):
        raise SysfsError(path, "is not text")
    return found


def content(path: str, most: int, *, in_pieces: bool = False) -> bytes:
    """Return at most so many bytes of a file: an attribute comes at one stroke, a report in pieces of a page or so.

    File objects take twice as long.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.read(file, most)
        while in_pieces and len(raw) < most and (piece := os.read(file, most - len(raw))):
            raw += piece
    finally:
        os.close(file)
    return raw


def real(path: str) -> str:
    """Return where `path` leads, all links followed, as the kernel tells: it takes one step where Python takes twenty.

    Nothing is opened but the name, so no driver hears of it (O_PATH of open(2); /proc/self/fd of proc(5)).

    Raises:
        OSError: it leads nowhere.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        target = os.readlink(f"/proc/self/fd/{place}")
    finally:
        os.close(place)
    if target.endswith(_DELETED):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return target
