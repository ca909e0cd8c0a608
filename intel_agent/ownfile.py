"""Files of ours on the node: replaced at one stroke."""

import contextlib
import itertools
import os
from collections.abc import Callable

_serial = itertools.count()


def _always() -> bool:
    return True


def replace(path: str, content: bytes, mode: int, serving: Callable[[], bool] = _always) -> None:
    """Write a file that readers find whole, old or new.

    A thread may be slow to write, and nobody may wait for it any more: it changes nothing once this agent does not
    serve the node, for files that only the serving one may write.

    Raises:
        OSError: it cannot be written; the error names the file itself, whatever went wrong on the way.
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
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def read(path: str, most: int = -1) -> bytes:
    """Return what is in the file, `most` bytes of it; nothing if it is not there.

    Raises:
        OSError: it is there and cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read(most)
    return b""


def identity(path: str) -> tuple[int, int] | None:
    """Return which file has this name: inode and change time, as the number alone is reused at once (ext4)."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
