"""What the image is made of, looked up in the archive."""

import json
import stat
import struct
import subprocess
import sys
from importlib import metadata
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .archive import Archive
from .conftest import CHECKOUT, NEEDLE

SBOM = "usr/share/sbom/intel-agent.cdx.json"

BYTES_AT_MOST = 16_000_000
"""A node pulls no more than that. What needs more needs a reason, and a look at `image/size.py`."""

UNCHECKED_HASH = 0b01
"""Flags of byte code that is known by its source's hash, which nobody looks at."""


def test_says_how_it_is_run(archive: Archive) -> None:
    assert archive.config["config"] == {
        "User": "0:0",
        "Env": ["PATH=/opt/intel-agent/bin"],
        "Entrypoint": ["intel-agent"],
        "Labels": {
            "org.opencontainers.image.title": "intel-agent",
            "org.opencontainers.image.description": "Every Intel accelerator of a Kubernetes node, from one process",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.version": archive.distributions()["intel-agent"],
        },
    }
    assert (archive.config["os"], archive.config["architecture"]) == ("linux", "amd64")


def test_containerd_finds_its_name(archive: Archive) -> None:
    assert archive.annotations["io.containerd.image.name"] == "localhost/intel-agent:latest"


def test_is_small(archive: Archive) -> None:
    assert archive.size < BYTES_AT_MOST


def test_its_size_is_broken_down(archive: Archive) -> None:
    command = [sys.executable, str(CHECKOUT / "image" / "size.py"), str(archive.path)]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert table[0] == "| part | MB | MB compressed |"
    assert table[-1].endswith(f"| {archive.size / 1e6:.2f} |")


def test_has_no_program_but_the_agent(archive: Archive) -> None:
    """No compiler, no pip, no shell."""
    files = archive.files()
    programs = {name for name, path in files.items() if "/bin/" in name or "/sbin/" in name or _runs(path)}
    assert programs == {
        "/opt/intel-agent/bin/intel-agent",
        "/opt/intel-agent/bin/python3",
        "/usr/bin/python3.11",
        # A program, too, if nobody asks it for a version of itself: glibc.
        "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
    }
    assert [name for name in files if {"pip", "ensurepip", "pydantic"} & set(Path(name).parts)] == []


def _runs(path: Path) -> bool:
    return not path.is_symlink() and bool(path.stat().st_mode & stat.S_IXUSR) and path.suffix != ".so"


def test_nobody_may_change_it_or_become_somebody(archive: Archive) -> None:
    odd = stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH
    entries = [path for path in archive.root.rglob("*") if not path.is_symlink()]
    assert [path for path in entries if path.stat().st_mode & odd] == [archive.root / "tmp"]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in archive.root.rglob("*")} == {(0, 0)}


def test_is_byte_code_that_nobody_has_to_compile_or_check(archive: Archive) -> None:
    files = archive.files()
    assert [name for name in files if name.endswith(".py")] == []
    heads = {path.read_bytes()[:8] for name, path in files.items() if name.endswith(".pyc")}
    assert heads == {MAGIC_NUMBER + struct.pack("<L", UNCHECKED_HASH)}


def test_has_no_settings_of_the_machine_that_built_it(archive: Archive) -> None:
    for name, path in archive.files().items():
        assert path.is_symlink() or NEEDLE.encode() not in path.read_bytes(), name
    assert NEEDLE not in json.dumps(archive.config)
    names = {path.name for path in archive.files().values()}
    assert names & {"pip.conf", "ca.pem", "resolv.conf", "hosts", ".netrc", "direct_url.json"} == set()


def test_list_of_contents_is_complete(archive: Archive) -> None:
    components = _components(archive)
    python = {each["name"].lower(): each["version"] for each in components if each["purl"].startswith("pkg:pypi/")}
    debian = {each["name"]: each["version"] for each in components if each["purl"].startswith("pkg:deb/debian/")}
    assert python == archive.distributions()
    assert debian == _packages(archive)
    assert len(components) == len(python) + len(debian)


def test_list_of_contents_is_what_scanners_read(archive: Archive) -> None:
    # Only `tox -e image` has it; the other environments must be able to read this file, too.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (archive.root / SBOM).read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def _components(archive: Archive) -> list[dict[str, Any]]:
    components: list[dict[str, Any]] = json.loads((archive.root / SBOM).read_bytes())["components"]
    return components


def _packages(archive: Archive) -> dict[str, str]:
    """Return the versions of Debian's packages that the image has records of."""
    records = [path.read_text(encoding="utf-8") for path in (archive.root / "var/lib/dpkg/status.d").iterdir()]
    fields = [dict(line.split(": ", 1) for line in each.splitlines() if line[:8] in _FIELDS) for each in records]
    return {each["Package"]: each["Version"] for each in fields}


_FIELDS = ("Package:", "Version:")


def test_every_library_has_its_package_and_its_licence(archive: Archive) -> None:
    packages = _packages(archive)
    assert {"libc6", "libssl3", "libpython3.11-minimal", "python3.11-minimal"} <= set(packages)
    notices = {path.parent.name for path in archive.root.glob("usr/share/doc/*/copyright")}
    assert notices == set(packages)


def test_what_is_left_out_is_what_we_can_do_without(archive: Archive) -> None:
    """Of what our dependencies require, that is what they import only for features that we do not use."""
    here = {"python_version": "3.11", "python_full_version": "3.11.2", "extra": ""}
    requirements = [
        Requirement(each)
        for distribution in metadata.distributions(path=[str(archive.site)])
        for each in distribution.requires or []
    ]
    required = {canonicalize_name(each.name) for each in requirements if not each.marker or each.marker.evaluate(here)}
    present = {canonicalize_name(name) for name in archive.distributions()}
    assert required - present == {"markdown-it-py", "pygments", "tzdata"}
    assert present - required == {"intel-agent"}
