"""What a program or library asks of the dynamic loader."""

from dataclasses import dataclass
from pathlib import Path

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection
from elftools.elf.segments import InterpSegment

from assemble.errors import AssemblyError


@dataclass(frozen=True, slots=True)
class Elf:
    """A dynamically linked file."""

    needed: tuple[str, ...] = ()
    """Names of libraries (DT_NEEDED)."""
    search: tuple[str, ...] = ()
    """Directories to look into first (DT_RUNPATH or DT_RPATH), with `$ORIGIN` in them."""
    loader: str | None = None
    """Absolute path of the loader; libraries name none."""


def read(path: Path) -> Elf | None:
    """Return what `path` asks for, or None if it is no ELF file."""
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        elf = ELFFile(file)
        needed: list[str] = []
        search: list[str] = []
        loader = None
        for segment in elf.iter_segments():
            if isinstance(segment, InterpSegment):
                loader = segment.get_interp_name()
            if isinstance(segment, DynamicSegment):
                needed += _values(segment, "needed")
                search += [each for name in ("rpath", "runpath") for each in _values(segment, name)]
    return Elf(tuple(needed), tuple(search), loader)


def _values(segment: DynamicSegment, name: str) -> list[str]:
    """Return the values of the tags DT_NEEDED, DT_RPATH or DT_RUNPATH; a tag has its value under its name."""
    texts = [str(getattr(tag, name)) for tag in segment.iter_tags(f"DT_{name.upper()}")]
    return [each for text in texts for each in text.split(":")]


def newest_version(library: Path, prefix: str) -> tuple[int, ...]:
    """Return the newest symbol version that a library defines: (2, 36) for `GLIBC_2.36`.

    Raises:
        AssemblyError: it defines none.
    """
    with library.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".gnu.version_d")
        names = (
            [auxiliary.name for _, all_of in section.iter_versions() for auxiliary in all_of]
            if isinstance(section, GNUVerDefSection)
            else []
        )
    numbers = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    versions = [tuple(map(int, number.split("."))) for number in numbers if number.replace(".", "").isdigit()]
    if not versions:
        raise AssemblyError(f"{library} defines no symbol version {prefix}*: it is not the library of glibc")
    return max(versions)
