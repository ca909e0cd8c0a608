"""Byte code takes the place of sources, and is the same for the same sources."""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from assemble.bytecode import NO_ASSERTIONS, NO_DOCSTRINGS, compile_all
from assemble.errors import AssemblyError

SOURCE = '"""Text."""\nassert False, "never in the image"\nprint(__doc__, __file__)\n'


def compiled(directory: Path, *, level: int, time: int = 0) -> Path:
    directory.mkdir()
    (directory / "module.py").write_text(SOURCE)
    os.utime(directory / "module.py", (time, time))
    compile_all(directory, PurePosixPath("opt/place"), level=level)
    assert [path.name for path in directory.iterdir()] == ["module.pyc"]
    return directory / "module.pyc"


@pytest.mark.parametrize(("level", "text"), [(NO_ASSERTIONS, "Text."), (NO_DOCSTRINGS, "None")])
def test_it_runs_without_assertions_whatever_the_flags(level: int, text: str, tmp_path: Path) -> None:
    file = compiled(tmp_path / "here", level=level)
    command = [sys.executable, "-c", "import module"]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=True)
    assert done.stdout == f"{text} {file}\n"


def test_neither_time_nor_place_of_the_source_is_in_it(tmp_path: Path) -> None:
    first = compiled(tmp_path / "first", level=NO_DOCSTRINGS, time=1)
    second = compiled(tmp_path / "second", level=NO_DOCSTRINGS, time=2)
    assert first.read_bytes() == second.read_bytes()
    assert b"/opt/place/module.py" in first.read_bytes()


def test_a_source_for_another_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("print 1\n")
    with pytest.raises(AssemblyError, match=r"old\.py is not for this Python"):
        compile_all(tmp_path, PurePosixPath("opt"), level=NO_DOCSTRINGS)
