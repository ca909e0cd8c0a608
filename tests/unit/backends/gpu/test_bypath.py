"""Which links of /dev/dri/by-path containers get."""

import os
from pathlib import Path

import msgspec
import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.simulation.disk import materialise
from intel_agent.sysfs import Host

from .cards import CARD, card, found, mount


@pytest.mark.parametrize(
    ("mode", "tree", "mounts"),
    [
        ("none", CARD, []),
        ("all", CARD, ["/dev/dri/by-path"]),
        pytest.param("all", "\n".join(line for line in CARD.split("\n") if "by-path" not in line), [], id="no udev"),
        pytest.param("single", "\n".join(line for line in CARD.split("\n") if "by-path" not in line), [], id="no udev"),
        pytest.param(
            "single",
            card(1, "0000:00:02.0") + card(2, "0000:00:02.1"),
            [f"/dev/dri/by-path/pci-0000:00:02.{function}-{kind}" for function in "01" for kind in ("card", "render")],
            id="each card its own",
        ),
    ],
)
def test_mounts_the_links_that_are_asked_for(mode: str, host: Host, mounts: list[str]) -> None:
    gpu = msgspec.convert({"bypathMode": mode}, Gpu)

    assert [mount.container_path for each in found(host, gpu).devices for mount in each.edits.mounts] == mounts


@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param("pci-0000:01:00.0-card -> ../card7", "'/dev/dri/card7'", id="another card's node"),
        pytest.param("pci-0000:01:00.0-card -> ../../nothing", "'/dev/nothing'", id="dangling: udev is late"),
        pytest.param("pci-0000:01:00.0-card = text", "'is not a link'", id="a file"),
    ],
)
def test_a_link_that_leads_astray_is_not_mounted(link: str, words: str, tmp_path: Path) -> None:
    materialise(CARD.replace("pci-0000:01:00.0-card -> ../card1", link), tmp_path)
    seen = found(Host(str(tmp_path), "/on/host"))

    assert [each.edits.mounts for each in seen.devices] == [(mount("dri/by-path/pci-0000:01:00.0-render"),)]
    assert [(each.rule, each.path) for each in seen.exclusions] == [
        ("by-path", "/dev/dri/by-path/pci-0000:01:00.0-card")
    ]
    assert words in seen.exclusions[0].evidence


@pytest.mark.parametrize("tree", [CARD])
def test_an_absolute_link_starts_at_the_root_of_the_host(host: Host) -> None:
    link = f"{host.root}/dev/dri/by-path/pci-0000:01:00.0-card"
    os.unlink(link)
    os.symlink("/dev/dri/card1", link)

    assert found(host).exclusions == ()


def test_links_that_come_later_are_mounted(tmp_path: Path) -> None:
    """The Go plugin looks for the directory once in its life."""
    bare = "\n".join(line for line in CARD.split("\n") if "by-path" not in line)
    materialise(bare, tmp_path)
    host = Host(str(tmp_path), "/on/host")
    before = [each.edits.mounts for each in found(host).devices]
    materialise("\n".join(line for line in CARD.split("\n") if "by-path" in line), tmp_path)

    assert before == [()]
    assert [len(each.edits.mounts) for each in found(host).devices] == [2]
