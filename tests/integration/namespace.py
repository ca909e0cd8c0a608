"""A network namespace of its own with its own /sys, in a thread: whatever runs there sees its interfaces only."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_NEW_MOUNTS, _NEW_NETWORK = 0x20000, 0x40000000
_PRIVATE = 0x4000 | 0x40000


class Namespace:
    """Runs functions in the namespace. `root` is a directory whose /sys shows it there, and nowhere else."""

    def __init__(self, thread: ThreadPoolExecutor, root: Path) -> None:
        self._thread = thread
        self.root = root
        self.path = thread.submit(_entered, root).result(60)

    def run(self, function: Callable[[], T], within: float = 60) -> T:
        """Return what the function returns there; threads and processes that it starts are there, too."""
        return self._thread.submit(function).result(within)

    def ip(self, *commands: str) -> None:
        """Have the program of that name do commands."""
        self.run(partial(ip, commands))


def ip(commands: Sequence[str]) -> None:
    batch = "".join(f"{each}\n" for each in commands)
    done = subprocess.run(["ip", "-batch", "-"], check=False, input=batch, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


@contextmanager
def namespace(root: Path) -> Generator[Namespace]:
    """Give a namespace that ends with the block; nothing of it is seen outside."""
    with ThreadPoolExecutor(1, thread_name_prefix="namespace") as thread:
        yield Namespace(thread, root)


def _entered(root: Path) -> str:
    """Move this thread into namespaces of its own; return where its network namespace is."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_NETWORK | _NEW_MOUNTS) or library.mount(b"none", b"/", None, _PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no namespace")
    (root / "sys").mkdir(parents=True)
    (root / "dev").mkdir()
    if library.mount(b"sysfs", str(root / "sys").encode(), b"sysfs", 1, None):  # read-only
        raise OSError(ctypes.get_errno(), "no sysfs")
    ip(["link set lo up"])
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def makes(kind: str, more: str = "") -> bool:
    """Return whether the kernel makes interfaces of this kind."""
    commands = ("link add nic0 type veth peer name wire0", f"link add link nic0 name made0 type {kind} {more}")
    batch = "".join(f"{each}\n" for each in commands)
    done = subprocess.run(
        ["unshare", "--net", "ip", "-batch", "-"], check=False, input=batch.encode(), capture_output=True, timeout=60
    )
    return done.returncode == 0
