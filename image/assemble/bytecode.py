"""Byte code in the place of sources.

A `.pyc` file where the `.py` file would be is imported without looking for a source, and never written again.
The same sources give the same bytes: a file is known by the hash of its source, not by its time, and all files are
compiled by one process in the order of their names.
"""

import py_compile
from pathlib import Path, PurePosixPath

from assemble.errors import AssemblyError
from assemble.tree import files

NO_ASSERTIONS, NO_DOCSTRINGS = 1, 2
"""Python's levels -O and -OO."""


def compile_all(directory: Path, place: PurePosixPath, *, level: int) -> None:
    """Replace every source below `directory` by its byte code; `place` is where the image has that directory."""
    for source in [path for path in files(directory) if path.suffix == ".py"]:
        try:
            py_compile.compile(
                str(source),
                cfile=str(source.with_suffix(".pyc")),
                dfile=str("/" / place / source.relative_to(directory)),
                doraise=True,
                optimize=level,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            raise AssemblyError(f"{source} is not for this Python: {error.msg}") from error
        source.unlink()
