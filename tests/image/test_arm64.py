"""The image for arm64: put together here, tried with an emulator."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from .archive import Archive

AARCH64 = 183
"""The machine in the head of an ELF file."""

SECONDS = 120.0
"""An emulated interpreter takes its time."""


def test_is_of_one_architecture(arm64: Archive) -> None:
    assert arm64.config["architecture"] == "arm64"
    heads = {name: path.read_bytes()[:20] for name, path in arm64.files().items() if not path.is_symlink()}
    machines = {name: int.from_bytes(head[18:20], "little") for name, head in heads.items() if head[:4] == b"\x7fELF"}
    assert set(machines.values()) == {AARCH64}
    assert "/usr/bin/python3.11" in machines


def test_has_the_same_distributions(archive: Archive, arm64: Archive) -> None:
    assert arm64.distributions() == archive.distributions()


@pytest.fixture(scope="module")
def emulated(arm64: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the image's file system that has the emulator and what a container has in /dev."""
    root = tmp_path_factory.mktemp("emulated") / "root"
    shutil.copytree(arm64.root, root, symlinks=True)
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator
    shutil.copy(emulator, root / "emulator")
    os.mknod(root / "dev" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return root


def _run(root: Path, *arguments: str) -> str:
    # The kernel need not know the emulator: it is given the interpreter that the launcher names.
    command = [
        "chroot",
        str(root),
        "/emulator",
        "/opt/intel-agent/bin/python3",
        "-I",
        "/opt/intel-agent/bin/intel-agent",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_starts(arm64: Archive, emulated: Path) -> None:
    assert _run(emulated, "--version") == f"intel-agent {arm64.distributions()['intel-agent']}\n"


def test_tells_its_story(emulated: Path) -> None:
    assert "The agent has stopped" in _run(emulated, "demo", "--seconds", "5").splitlines()[-1]
