"""A packaged machine in a directory of its own, to be served instead of the node's own devices.

Whoever made a directory holds its lock, so that those that a killed process left behind can be told and removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from intel_agent.errors import SimulationError, words
from intel_agent.simulation import disk, tree
from intel_agent.sysfs import Host

STAND_IN = "/dev/null"
"""What containers get in place of a pretended device node: it is on every node, and opening it harms nobody."""
PREFIX = "node-"


@contextmanager
def pretended(machine: str, place: Path) -> Generator[Host]:
    """Make the packaged machine in a fresh directory below `place`, and remove it when the block ends.

    Raises:
        SimulationError: it cannot be made there.
    """
    try:
        directory, lock = _fresh(place)
    except OSError as error:
        raise SimulationError(f"{place}: {words(error)}: {_REMEDY}") from error
    try:
        try:
            disk.materialise(tree.node(machine), directory)
        except OSError as error:
            raise SimulationError(f"{directory}: {words(error)}: {_REMEDY}") from error
        yield Host(str(directory), stand_in=STAND_IN)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


_REMEDY = "the pretended machine needs a directory that can be written"


def _fresh(place: Path) -> tuple[Path, int]:
    """Return a new directory and the descriptor of its lock; what nobody holds any more is removed."""
    place.mkdir(parents=True, exist_ok=True)
    turn = _opened(place)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)  # for milliseconds: between making a directory and locking it
        for old in place.glob(f"{PREFIX}*"):
            _remove_abandoned(old)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock = _opened(directory)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return directory, lock
    finally:
        os.close(turn)


def _remove_abandoned(directory: Path) -> None:
    lock = _opened(directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # served by another process
    finally:
        os.close(lock)
    shutil.rmtree(directory)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
