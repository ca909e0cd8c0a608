"""The same commit gives the same image, wherever and whenever it is built."""

import shutil
from pathlib import Path

from .archive import Archive, opened
from .conftest import CHECKOUT, Build

IGNORED = shutil.ignore_patterns("__pycache__", ".tox", ".venv", "build", "dist", ".*_cache", ".hypothesis")


def test_two_builds_are_equal(archive: Archive, build: Build, tmp_path: Path) -> None:
    """The second one has another place, other times of files, another mask, zone and language."""
    checkout = tmp_path / "elsewhere"
    shutil.copytree(CHECKOUT, checkout, symlinks=True, ignore=IGNORED, copy_function=shutil.copy)
    options = ("--arch", "amd64")
    again = build(*options, checkout=checkout, umask=0o077, TZ="Pacific/Kiritimati", LC_ALL="C", PIP_TRUSTED_HOST="")
    assert opened(again, tmp_path / "again").layers == archive.layers
    assert again.read_bytes() == archive.path.read_bytes()
