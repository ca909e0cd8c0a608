"""Files in which an agent leaves something for the one after it: of one version, and perhaps of one boot."""

import os

import msgspec

from intel_agent import ownfile

LIMIT = 16 << 20
"""The largest file that is read, in bytes, if nothing else is said."""
_BOOT = "/proc/sys/kernel/random/boot_id"


class _Head(msgspec.Struct, frozen=True):
    """What is in the file of any version."""

    version: int
    boot: str = ""


def boot() -> str:
    """Return the id of this boot; Documentation/admin-guide/sysctl/kernel.rst, `random`.

    Raises:
        OSError: the kernel does not tell.
    """
    with open(_BOOT, encoding="ascii") as file:
        return file.read().strip()


def read(path: str, version: int, boot: str = "", *, limit: int = LIMIT) -> bytes:
    """Return what is in the file, or nothing if there is none or it is of another boot than `boot`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of another version.
    """
    content = ownfile.read(path, limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is longer than {limit} bytes")
    if not content:
        return b""
    head = msgspec.json.decode(content, type=_Head)
    if head.version != version:
        raise ValueError(f"it is of version {head.version}, and this agent knows {version}")
    return b"" if boot and head.boot != boot else content


def write(path: str, content: bytes) -> None:
    """Have the file say this, at one stroke; its directory is made if need be.

    Raises:
        OSError: it cannot be written.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    ownfile.replace(path, content + b"\n", 0o600)
