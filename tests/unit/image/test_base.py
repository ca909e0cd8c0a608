"""A base that the image cannot be made of is refused with what to do about it."""

import shutil
import sys
from pathlib import Path

import pytest
from assemble import elf
from assemble.base import PYTHON, Base
from assemble.errors import AssemblyError
from assemble.libraries import add_libraries


def test_the_python_of_the_base_is_the_one_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3.9").write_bytes(b"")
    with pytest.raises(
        AssemblyError, match=f"no {PYTHON} in .*: give BASE and BUILD_BASE images with the same version"
    ):
        _ = Base(tmp_path, "x86_64").prefix


@pytest.mark.parametrize("prefix", ["usr", "usr/local"])
def test_python_is_debians_or_that_of_dockers_image(prefix: str, tmp_path: Path) -> None:
    (tmp_path / prefix / "bin").mkdir(parents=True)
    (tmp_path / prefix / "bin" / PYTHON).write_bytes(b"")
    assert str(Base(tmp_path, "x86_64").prefix) == prefix


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    base, image = tmp_path / "base", tmp_path / "image"
    (base / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (base / "usr/lib/x86_64-linux-gnu/libgcc_s.so.1").write_bytes(b"")
    (image / "usr/bin").mkdir(parents=True)
    shutil.copy(sys.executable, image / "usr/bin/program")
    with pytest.raises(AssemblyError, match=r"the base has no library lib\S+ for x86_64: add the package that has it"):
        add_libraries(Base(base, "x86_64"), image)


def test_a_program_names_its_loader_and_the_c_library(tmp_path: Path) -> None:
    program = elf.read(Path(sys.executable))
    assert program is not None
    assert program.loader is not None
    assert Path(program.loader).name.startswith("ld-linux")
    assert "libc.so.6" in program.needed
    (tmp_path / "text").write_text("#!/bin/sh\n")
    assert elf.read(tmp_path / "text") is None


def test_a_library_without_versions_is_not_glibc(tmp_path: Path) -> None:
    shutil.copy(sys.executable, tmp_path / "program")
    with pytest.raises(AssemblyError, match=r"defines no symbol version GLIBC_\*"):
        elf.newest_version(tmp_path / "program", "GLIBC_")
