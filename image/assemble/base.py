"""The base: the file system whose Python the image runs. Debian's, or an image that is made of Debian."""

import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assemble import elf
from assemble.errors import AssemblyError
from assemble.tree import resolved

STDLIB = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
"""Python's own modules, below its prefix. Byte code is of one version, so the build's and the base's are the same."""

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Architectures as images name them, and as the kernel does."""

LIBRARY_DIRECTORIES = ("lib/{triplet}", "usr/lib/{triplet}", "lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")


@dataclass(frozen=True, slots=True)
class Base:
    """A base for one architecture."""

    root: Path
    machine: str
    """As the kernel names it."""

    @property
    def triplet(self) -> str:
        return f"{self.machine}-linux-gnu"

    @property
    def prefix(self) -> PurePosixPath:
        """The directory of Python's `bin` and `lib`.

        Raises:
            AssemblyError: there is no Python of our version.
        """
        for prefix in (PurePosixPath("usr/local"), PurePosixPath("usr")):
            if resolved(self.root, prefix / "bin" / PYTHON) == prefix / "bin" / PYTHON:
                return prefix
        raise AssemblyError(
            f"the base has no {PYTHON} in /usr/local/bin or /usr/bin, which is the one of the build: "
            "give BASE and BUILD_BASE images with the same version of Python"
        )

    @property
    def program(self) -> PurePosixPath:
        return self.prefix / "bin" / PYTHON

    @property
    def glibc(self) -> tuple[int, ...]:
        """The version of the C library; wheels say which one they need at least."""
        return elf.newest_version(self.root / self.library("libc.so.6"), "GLIBC_")

    def library(self, name: str) -> PurePosixPath:
        """Return where the base has a shared library.

        Raises:
            AssemblyError: it has none of this name.
        """
        for directory in LIBRARY_DIRECTORIES:
            if found := resolved(self.root, PurePosixPath(directory.format(triplet=self.triplet)) / name):
                return found
        raise AssemblyError(f"the base has no library {name} for {self.machine}: add the package that has it")
