"""Files of ours on the node: replaced at one stroke, and only by the agent that serves it."""

import contextlib
import itertools
import os
from collections.abc import Callable

_serial = itertools.count()


def replace(path: str, content: bytes, mode: int, serving: Callable[[], bool]) -> None:
    """Write a file that readers find whole, old or new.

    A thread may be slow to write, and nobody may wait for it any more: it changes nothing once this agent does not
    serve the node.

    Raises:
        OSError: it cannot be written.
    """
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}-{next(_serial)}")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)
        if serving():
            os.rename(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def read(path: str) -> bytes:
    """Return what is in the file; nothing if it is not there.

    Raises:
        OSError: it is there and cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read()
    return b""
