"""Machines on disk, for tests: a large one is made once and copied, by a program that does nothing else."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from intel_agent.simulation.disk import materialise

LARGE = 200
"""Lines from which on a copy is made sooner."""
ENOUGH = 1 << 30
"""Bytes that must be free in memory."""
_SHARED = "/dev/shm"
MEMORY = _SHARED if os.access(_SHARED, os.W_OK) and shutil.disk_usage(_SHARED).free >= ENOUGH else None
"""Where directories are made: in memory where that can be had, as no disk is part of any test."""


def put(machine: str, root: Path) -> None:
    """Make the machine of the text at `root`, where there is nothing yet."""
    if machine.count("\n") < LARGE:
        materialise(machine, root)
    else:
        root.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", _pattern(machine), root], check=True)


@cache
def _pattern(machine: str) -> Path:
    base = tempfile.mkdtemp(prefix="machine-", dir=MEMORY)
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    materialise(machine, Path(base, "node"))
    return Path(base, "node")


def removed(directory: Path) -> None:
    """Remove a directory, also one in which somebody else makes and removes files at the same time."""
    while directory.exists():
        subprocess.run(["rm", "--recursive", "--force", directory], check=False, capture_output=True)
