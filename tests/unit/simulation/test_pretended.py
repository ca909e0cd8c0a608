"""A pretended machine is made afresh, hands out nothing of itself, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from intel_agent.backends.dsa import Dsa
from intel_agent.backends.gpu import Gpu
from intel_agent.errors import SimulationError
from intel_agent.model import Device
from intel_agent.simulation.pretended import STAND_IN, pretended


def test_containers_get_dev_null_in_place_of_everything(tmp_path: Path) -> None:
    with pretended("everything", tmp_path / "simulation") as host:
        found = [*Gpu().discover(host), *Dsa().discover(host)]
    devices = [each for each in found if isinstance(each, Device)]
    nodes = {node.path: node.host_path for device in devices for node in device.edits.device_nodes}
    mounts = {mount.container_path: mount.host_path for device in devices for mount in device.edits.mounts}
    assert {"/dev/dri/card0", "/dev/dri/renderD128", "/dev/dsa/wq0.0"} <= nodes.keys()
    assert "/dev/dri/by-path/pci-0000:3b:00.0-card" in mounts
    assert {*nodes.values(), *mounts.values()} == {STAND_IN}


def test_it_is_removed_at_the_end(tmp_path: Path) -> None:
    with pretended("laptop", tmp_path / "run" / "simulation") as host:
        assert Path(host.root, "dev/dri").is_dir()
        assert Path(host.root).parent == tmp_path / "run" / "simulation"
    assert list((tmp_path / "run" / "simulation").iterdir()) == []


def test_two_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    with pretended("laptop", tmp_path) as one:
        with pretended("xeon", tmp_path) as other:
            assert Path(one.root, "dev/dri/card0").exists()
            assert Path(other.root, "dev/dsa/wq0.0").exists()
        assert [str(each) for each in tmp_path.iterdir()] == [one.root]


KILLED = """
import sys, time
from pathlib import Path
from intel_agent.simulation.pretended import pretended
with pretended("laptop", Path(sys.argv[1])) as host:
    print(host.root, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    other = tmp_path / "of somebody else"
    other.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert left.is_dir()
    with pretended("laptop", tmp_path) as host:
        assert not left.exists()
        assert sorted(tmp_path.iterdir()) == sorted([other, Path(host.root)])


def test_a_place_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    place = tmp_path / "file" / "simulation"
    place.parent.write_text("no directory")
    with pytest.raises(SimulationError) as caught, pretended("laptop", place):
        pass
    assert str(caught.value) == (
        f"{place}: not a directory: the pretended machine needs a directory that can be written"
    )


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small file system")
    script = f"mount -t tmpfs -o size=16k none {tmp_path} && exec {sys.executable} -c '{KILLED}' {tmp_path}"
    ended = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "no space left on device: the pretended machine needs" in ended.stderr
