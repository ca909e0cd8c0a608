"""Debian's packages in a base: those of dpkg, and those of a base that has no dpkg."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from assemble.errors import AssemblyError
from assemble.packages import add_records, distribution, owners, packages

LIBC = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nDescription: C\n library: x"
GONE = "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all"
LIBC_FILES = "00  lib/x86_64-linux-gnu/libc.so.6\n00  usr/share/doc/libc6/a name with spaces\n"


def base_with_dpkg(root: Path) -> Path:
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(f"{LIBC}\n\n{GONE}\n")
    (root / "var/lib/dpkg/info/libc6:amd64.md5sums").write_text(LIBC_FILES)
    return root


def base_without_dpkg(root: Path) -> Path:
    (root / "var/lib/dpkg/status.d").mkdir(parents=True)
    (root / "var/lib/dpkg/status.d/libc6").write_text(f"{LIBC}\n")
    (root / "var/lib/dpkg/status.d/libc6.md5sums").write_text(LIBC_FILES)
    return root


@pytest.mark.parametrize("base", [base_with_dpkg, base_without_dpkg])
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("usr/lib/x86_64-linux-gnu/libc.so.6", ["libc6"]),
        ("lib/x86_64-linux-gnu/libc.so.6", ["libc6"]),
        ("usr/share/doc/libc6/a name with spaces", ["libc6"]),
        ("usr/local/bin/python3.13", []),
    ],
)
def test_a_file_belongs_to_the_package_that_lists_it(
    base: Callable[[Path], Path], file: str, names: list[str], tmp_path: Path
) -> None:
    found = packages(base(tmp_path))
    assert [(each.name, each.version, each.architecture) for each in found] == [("libc6", "2.36-9", "amd64")]
    assert [each.name for each in owners([PurePosixPath(file)], found)] == names


def test_a_base_that_is_not_made_of_debian_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="no list of Debian packages"):
        packages(tmp_path)


def test_the_image_records_what_it_has_and_its_licence(tmp_path: Path) -> None:
    base, image = base_without_dpkg(tmp_path / "base"), tmp_path / "image"
    (base / "etc").mkdir()
    (base / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    with pytest.raises(AssemblyError, match="lacks /usr/share/doc/libc6/copyright"):
        add_records(base, packages(base), image)
    (base / "usr/share/doc/libc6").mkdir(parents=True)
    (base / "usr/share/doc/libc6/copyright").write_text("LGPL\n")
    add_records(base, packages(base), image)
    written = {str(path.relative_to(image)): path.read_text() for path in image.rglob("*") if path.is_file()}
    assert written == {
        "var/lib/dpkg/status.d/libc6": f"{LIBC}\n",
        "usr/share/doc/libc6/copyright": "LGPL\n",
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    }
    assert distribution(base) == "debian-12"
