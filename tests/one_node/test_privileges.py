"""What the agent's process in the running pod may do, as the kernel sees it: docs/security.md."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.machine import OFFER

from .release import RefusedError, Release

WRITABLE = ("/var/lib/kubelet/device-plugins", "/run/cdi", "/run/intel-agent", "/var/lib/intel-agent")
CONTAINERS_OWN = ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""What every container has; most of it is writable for what has capabilities."""


@pytest.fixture(scope="module")
def process(release: Release) -> Iterator[Path]:
    """Give the agent's process in /proc."""
    release.install()
    release.offered(OFFER)
    yield Path(f"/proc/{release.pid}")
    release.uninstall()


@pytest.fixture(scope="module")
def mounts(process: Path) -> dict[str, frozenset[str]]:
    """Give the options of each mount of the container, by its place; /var/run is a link to /run."""
    lines = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    return {
        place.replace("/var/run/", "/run/"): frozenset(options.split(",")) for _, _, _, _, place, options, *_ in lines
    }


def test_no_capability_is_left_and_none_can_be_had(process: Path) -> None:
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert sets == dict.fromkeys(sets, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_nothing_is_writable_but_the_four_directories(mounts: dict[str, frozenset[str]]) -> None:
    writable = {place for place, options in mounts.items() if "rw" in options}
    assert {place for place in writable if not place.startswith(CONTAINERS_OWN)} == {*WRITABLE}
    assert "ro" in mounts["/"]


def test_what_is_mounted_below_dev_and_sys_of_the_node_is_read_only_too(mounts: dict[str, frozenset[str]]) -> None:
    below = {place: options for place, options in mounts.items() if place.startswith(("/host/dev/", "/host/sys/"))}
    assert {"/host/dev/shm", "/host/sys/fs/cgroup/memory"} <= below.keys()
    assert [place for place, options in below.items() if "ro" not in options] == []


def test_it_has_namespaces_of_its_own(process: Path, release: Release) -> None:
    node = Path(f"/proc/{release.cluster.node.kubelet.pid}/ns")
    for kind in ("net", "pid", "ipc", "uts", "mnt"):
        assert (process / "ns" / kind).readlink() != (node / kind).readlink()


@pytest.mark.usefixtures("process")
def test_it_cannot_open_a_device_that_it_sees(release: Release) -> None:
    with pytest.raises(RefusedError, match="Operation not permitted: '/host/dev/dri/card0'"):
        release.exec("python3", "-c", "open('/host/dev/dri/card0')")


@pytest.mark.usefixtures("process")
def test_it_cannot_write_to_cgroups_of_the_node(release: Release) -> None:
    with pytest.raises(RefusedError, match="Read-only file system"):
        release.exec("python3", "-c", "open('/host/sys/fs/cgroup/memory/cgroup.procs', 'w')")


def test_it_has_no_token(mounts: dict[str, frozenset[str]]) -> None:
    assert [place for place in mounts if "serviceaccount" in place or "secrets" in place] == []
