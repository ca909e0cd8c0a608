"""Which lives devices live: told apart by numbers that the kernel gives once.

Source: fs/kernfs/dir.c. Every directory and link in sysfs has a number (`st_ino`) that counts up and is not used again:
a device that comes back has another directory, and a driver that is bound anew another link `driver`.
No driver is asked, so none can block it.
"""

import os
from collections.abc import Iterable

from intel_agent.health.condition import Life
from intel_agent.sysfs import Host


def lives(host: Host, paths: Iterable[str]) -> dict[str, Life | None]:
    """Return the present life of what is at each path below /sys; `None` where there is nothing."""
    return {path: _life(host.root + path) for path in paths}


def _life(path: str) -> Life | None:
    directory = _number(path)
    return None if directory is None else Life(directory, _number(f"{path}/driver"))


def _number(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None
