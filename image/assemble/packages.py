"""Debian's packages in the base, and which of them the image has files of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assemble.errors import AssemblyError
from assemble.tree import copy, resolved, write

DATABASE = PurePosixPath("var/lib/dpkg")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    version: str
    architecture: str
    stanza: str
    """What dpkg's database says of it."""
    files: frozenset[str]
    """Its regular files, as `_plain` spells them."""


def packages(root: Path) -> tuple[Package, ...]:
    """Return the packages of the base by name, from dpkg's database or from the `status.d` of a base without dpkg.

    Raises:
        AssemblyError: there are none.
    """
    found = [*_from_status(root), *_from_directory(root)]
    if not found:
        raise AssemblyError("the base has no list of Debian packages (/var/lib/dpkg): it is not made of Debian")
    return tuple(sorted(found, key=lambda package: package.name))


def owners(of: Iterable[PurePosixPath], among: Iterable[Package]) -> tuple[Package, ...]:
    """Return the packages that at least one of the files belongs to."""
    names = {_plain(str(path)) for path in of}
    return tuple(package for package in among if not package.files.isdisjoint(names))


def add_records(root: Path, used: Iterable[Package], image: Path) -> None:
    """Say in `image` what its files come from: a record of each package for scanners, its copyright, the release."""
    for package in used:
        write(image / DATABASE / "status.d" / package.name, package.stanza + "\n")
        notice = PurePosixPath("usr/share/doc") / package.name / "copyright"
        found = resolved(root, notice)
        if found is None:
            raise AssemblyError(f"the base lacks /{notice}: the image must carry the licence of what is in it")
        copy(root / found, image / notice)
    write(image / "etc/os-release", _release(root))


def distribution(root: Path) -> str:
    """Return the name and version of the base's distribution: `debian-12`."""
    values = dict(line.split("=", 1) for line in _release(root).splitlines() if "=" in line)
    return f"{values.get('ID', 'linux')}-{values.get('VERSION_ID', '0')}".replace('"', "")


def _release(root: Path) -> str:
    found = resolved(root, PurePosixPath("etc/os-release"))
    if found is None:
        raise AssemblyError("the base has no /etc/os-release: add the package base-files")
    return (root / found).read_text(encoding="utf-8")


def _from_status(root: Path) -> Iterator[Package]:
    status = root / DATABASE / "status"
    if not status.exists():
        return
    for stanza in status.read_text(encoding="utf-8").split("\n\n"):
        fields = _fields(stanza)
        if fields.get("Status", "").endswith(" installed"):
            name, architecture = fields["Package"], fields["Architecture"]
            sums = [root / DATABASE / "info" / f"{each}.md5sums" for each in (name, f"{name}:{architecture}")]
            yield _package(stanza, fields, [path for path in sums if path.exists()])


def _from_directory(root: Path) -> Iterator[Package]:
    for path in (root / DATABASE / "status.d").glob("*"):
        if path.suffix != ".md5sums":
            stanza = path.read_text(encoding="utf-8")
            sums = path.with_name(f"{path.name}.md5sums")
            yield _package(stanza, _fields(stanza), [sums] if sums.exists() else [])


def _package(stanza: str, fields: dict[str, str], sums: Iterable[Path]) -> Package:
    lines = [line for path in sums for line in path.read_text(encoding="utf-8").splitlines()]
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        stanza=stanza.strip(),
        files=frozenset(_plain(line.split(maxsplit=1)[1]) for line in lines),
    )


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza that fit on one line."""
    lines = [line for line in stanza.splitlines() if line and not line[0].isspace() and ": " in line]
    return dict(line.split(": ", 1) for line in lines)


def _plain(path: str) -> str:
    """Return a path without what merged /usr made ambiguous: `lib/x` and `usr/lib/x` are one file."""
    return path.removeprefix("/").removeprefix("usr/")
