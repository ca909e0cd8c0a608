"""Paths inside of a directory that is somebody's root."""

from pathlib import Path, PurePosixPath

import pytest
from assemble.errors import AssemblyError
from assemble.tree import resolved


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "usr/lib/x").mkdir(parents=True)
    (tmp_path / "usr/lib/x/libz.so.1.2").write_bytes(b"")
    (tmp_path / "usr/lib/x/libz.so.1").symlink_to("libz.so.1.2")
    (tmp_path / "usr/lib/x/liba.so").symlink_to("/etc/alternatives/liba")
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "etc/alternatives/liba").symlink_to("../../usr/lib/x/libz.so.1")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib/out").symlink_to("../../../../../../../../etc/passwd")
    (tmp_path / "usr/lib/gone").symlink_to("/nowhere")
    (tmp_path / "usr/lib/circle").symlink_to("circle")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("usr/lib/x/libz.so.1.2", "usr/lib/x/libz.so.1.2"),
        ("usr/lib/x/libz.so.1", "usr/lib/x/libz.so.1.2"),
        ("lib/x/libz.so.1", "usr/lib/x/libz.so.1.2"),
        ("lib/x/liba.so", "usr/lib/x/libz.so.1.2"),
        ("lib/../lib/x", "usr/lib/x"),
        ("usr/lib/gone", None),
        ("usr/lib/none", None),
    ],
)
def test_links_are_followed_as_in_the_container(root: Path, path: str, leads_to: str | None) -> None:
    assert resolved(root, PurePosixPath(path)) == (PurePosixPath(leads_to) if leads_to else None)


def test_no_link_leads_out_of_the_root(root: Path) -> None:
    assert resolved(root, PurePosixPath("usr/lib/out")) is None
    (root / "etc/passwd").write_bytes(b"")
    assert resolved(root, PurePosixPath("usr/lib/out")) == PurePosixPath("etc/passwd")


def test_a_link_to_itself_is_refused(root: Path) -> None:
    with pytest.raises(AssemblyError, match="usr/lib/circle in the base is a link that leads in a circle"):
        resolved(root, PurePosixPath("usr/lib/circle"))
