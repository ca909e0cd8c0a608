"""The agent and what it imports, as a virtual environment that no tool of ours has to run in."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path, PurePosixPath

from assemble.base import STDLIB, Base
from assemble.bytecode import NO_ASSERTIONS, NO_DOCSTRINGS, compile_all
from assemble.errors import AssemblyError
from assemble.tree import files, write

HOME = PurePosixPath("opt/intel-agent")
SITE = HOME / STDLIB / "site-packages"

LEFT_OUT = (
    "*.c",
    "*.cpp",
    "*.h",
    "*.pxd",
    "*.pyi",
    "*.pyx",
    "py.typed",
    "*/tests/*",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",  # of what pip wrote; we have changed it since
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",  # where the build had the wheel
)
"""Files of installed distributions."""

LAUNCHER = """\
#!/{home}/bin/python3 -I
import sys

from {module} import {function}

sys.exit({function}())
"""


def add_distributions(base: Base, requirements: Path, wheel: Path, image: Path) -> None:
    """Put the agent's wheel and what it requires into `image`, for the base's machine and C library."""
    site = image / SITE
    _install(base, site, "--require-hashes", "--requirement", str(requirements))
    _install(base, site, "--no-index", str(wheel))
    for path in files(site):
        if any(fnmatchcase(str(path.relative_to(site)), each) for each in LEFT_OUT):
            path.unlink()
    _remove_empty(site)
    # The configuration's schema is described by docstrings: ours stay.
    compile_all(site / "intel_agent", SITE / "intel_agent", level=NO_ASSERTIONS)
    compile_all(site, SITE, level=NO_DOCSTRINGS)
    _add_launcher(base, image)


def installed(image: Path) -> list[metadata.Distribution]:
    """Return the distributions in `image` by name."""
    return sorted(metadata.distributions(path=[str(image / SITE)]), key=lambda each: each.name.lower())


def _install(base: Base, site: Path, *what: str) -> None:
    # pip is not told of the interpreter but of its kind, so it may be one that cannot run here.
    platforms = [option for each in _platforms(base) for option in ("--platform", each)]
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--target", str(site)]
    options = ("--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", "--quiet")
    done = subprocess.run([*command, *options, *platforms, *what], check=False)  # noqa: S603 - no shell, our words
    if done.returncode:
        raise AssemblyError("pip could not install the above")
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts for the Python of the build


def _platforms(base: Base) -> Iterator[str]:
    """Yield the tags of wheels that run on the base, the newest first."""
    major, minor = base.glibc
    for each in range(minor, 16, -1):
        yield f"manylinux_{major}_{each}_{base.machine}"
    yield f"manylinux2014_{base.machine}"
    yield f"linux_{base.machine}"


def _remove_empty(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _add_launcher(base: Base, image: Path) -> None:
    (script,) = metadata.Distribution.at(_record(image, "intel_agent")).entry_points.select(group="console_scripts")
    text = LAUNCHER.format(home=HOME, module=script.module, function=script.attr)
    write(image / HOME / "bin" / script.name, text, mode=0o755)
    (image / HOME / "bin" / "python3").symlink_to("/" / base.program)
    write(image / HOME / "pyvenv.cfg", f"home = /{base.program.parent}\ninclude-system-site-packages = false\n")


def _record(image: Path, name: str) -> Path:
    (found,) = (image / SITE).glob(f"{name}-*.dist-info")
    return found
