"""Every command of the documentation has somebody who runs it, and those that need no agent that runs are run here.

They run as they stand; replaced are paths below /sys, which lead into a tree of the test.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from documented import NOT_RUN, OTHERS, PAGES, PLACES, REPOSITORY, SHELL, Block, Place, blocks, fenced, prints, runs
from shell import Shell, ours

from intel_agent.simulation.disk import materialise

FILES: Mapping[str, str] = {
    "docs/cli.md": """
# agent.yaml

nodeOverrides:
- selector: {matchLabels: {type: flex}}
  devices: {gpu: {sharedDevNum: 4}}
""",
    "docs/configuration.md": """devices:
  gpu:
    sharedDevNums: 2
    allowIDs: 0x56c0

health:
  rescanSeconds: 0
""",
}
"""What the file `agent.yaml` of a page says."""

REFUSED = "intel-agent config check agent.yaml"
"""Ends with 1, because of what it prints."""

ENDLESS: Mapping[str, str] = {"intel-agent demo": "registered"}
"""What goes on until Ctrl-C, which it gets when it has printed this."""

SYS = re.compile(r"/sys/(?=bus|class)")

SYSFS = """
/sys/bus/pci/drivers_probe =
/sys/bus/pci/drivers/idxd/unbind =
/sys/bus/pci/drivers/dlb2/bind =
/sys/bus/pci/drivers/dlb2/unbind =
/sys/bus/pci/drivers/dlb2/0000:6d:00.0 -> ../../../../devices/pci0000:6d/0000:6d:00.0
/sys/bus/pci/drivers/4xxxvf/unbind =
/sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:3b/0000:3b:00.0
/sys/bus/pci/devices/0000:6a:01.0 -> ../../../devices/pci0000:6a/0000:6a:01.0
/sys/bus/pci/devices/0000:6b:00.0 -> ../../../devices/pci0000:6b/0000:6b:00.0
/sys/bus/pci/devices/0000:ab:00.0 -> ../../../devices/pci0000:ab/0000:ab:00.0
/sys/bus/pci/devices/0000:ab:00.1 -> ../../../devices/pci0000:ab/0000:ab:00.1
/sys/devices/pci0000:3b/0000:3b:00.0/sriov_numvfs = 0
/sys/devices/pci0000:ab/0000:ab:00.0/sriov_numvfs = 0
/sys/devices/pci0000:ab/0000:ab:00.0/sriov_drivers_autoprobe = 1
/sys/devices/pci0000:ab/0000:ab:00.1/driver_override = (null)
/sys/devices/pci0000:6a/0000:6a:01.0/driver_override = (null)
/sys/devices/pci0000:6a/0000:6a:01.0/driver -> ../../../bus/pci/drivers/idxd
/sys/devices/pci0000:6b/0000:6b:00.0/qat/state = up
/sys/devices/pci0000:6b/0000:6b:00.0/qat/cfg_services = dc
/sys/devices/pci0000:6b/0000:6b:00.0/sriov_totalvfs = 16
/sys/devices/pci0000:6b/0000:6b:00.0/sriov_numvfs = 0
/sys/devices/pci0000:6b/0000:6b:00.0/virtfn0 -> ../0000:6b:00.1
/sys/devices/pci0000:6b/0000:6b:00.1/driver_override = (null)
/sys/devices/pci0000:6b/0000:6b:00.1/driver -> ../../../bus/pci/drivers/4xxxvf
/sys/devices/pci0000:6d/0000:6d:00.0/sriov_numvfs = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_atomic_inflights = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_dir_credits = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_dir_ports = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_hist_list_entries = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_ldb_credits = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_ldb_ports = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_ldb_queues = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_sched_domains = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_sn0_slots = 0
/sys/devices/pci0000:6d/0000:6d:00.0/vf0_resources/num_sn1_slots = 0
/sys/devices/pci0000:18/0000:18:00.0/sriov_numvfs = 0
/sys/class/net/ens1f0/device -> ../../../devices/pci0000:18/0000:18:00.0
/sys/bus/platform/devices/dfl-port.0/errors/errors = 0x4
"""
"""What the commands for sysfs write to: names of Documentation/ABI/testing/sysfs-bus-pci, sysfs-driver-qat and
sysfs-platform-dfl-port, and of the driver dlb2, which the kernel does not have. A function of QAT is there already."""

_LIMITS: Mapping[str, str] = {
    "num_atomic_inflights": "2048",
    "num_dir_credits": "2048",
    "num_dir_ports": "8",
    "num_hist_list_entries": "2048",
    "num_ldb_credits": "8192",
    "num_ldb_ports": "4",
    "num_ldb_queues": "32",
    "num_sched_domains": "32",
    "num_sn0_slots": "2",
    "num_sn1_slots": "2",
}
WRITTEN: Mapping[str, Mapping[str, str]] = {
    "docs/devices/fpga.md": {"bus/platform/devices/dfl-port.0/errors/errors": "0x4"},
    "docs/devices/gpu.md": {
        "devices/pci0000:ab/0000:ab:00.0/sriov_drivers_autoprobe": "0",
        "devices/pci0000:ab/0000:ab:00.0/sriov_numvfs": "4",
        "devices/pci0000:ab/0000:ab:00.1/driver_override": "vfio-pci",
        "bus/pci/drivers_probe": "0000:ab:00.1",
    },
    "docs/migrate.md": {
        "devices/pci0000:6a/0000:6a:01.0/driver_override": "vfio-pci",
        "bus/pci/drivers/idxd/unbind": "0000:6a:01.0",
        "devices/pci0000:6b/0000:6b:00.0/qat/state": "up",
        "devices/pci0000:6b/0000:6b:00.0/qat/cfg_services": "sym;asym",
        "devices/pci0000:6b/0000:6b:00.0/sriov_numvfs": "16",
        "devices/pci0000:6b/0000:6b:00.1/driver_override": "vfio-pci",
        "bus/pci/drivers/4xxxvf/unbind": "0000:6b:00.1",
        "bus/pci/drivers_probe": "0000:6b:00.1",
        "devices/pci0000:6d/0000:6d:00.0/sriov_numvfs": "1",
        "bus/pci/drivers/dlb2/unbind": "0000:6d:00.1",
        "bus/pci/drivers/dlb2/bind": "0000:6d:00.1",
        **{f"devices/pci0000:6d/0000:6d:00.0/vf0_resources/{name}": limit for name, limit in _LIMITS.items()},
        "devices/pci0000:3b/0000:3b:00.0/sriov_numvfs": "4",
        "devices/pci0000:18/0000:18:00.0/sriov_numvfs": "8",
    },
}
"""What files below /sys say that the commands of a page write to, in the end. Nothing else is written."""


ON_SYSFS = [each for each in runs(Place.HERE) if any(SYS.search(command.text) for command in each.commands)]
IN_A_CHECKOUT = [each for each in runs(Place.HERE) if each.page.startswith("docs/develop/")]
ALONE = [each for each in runs(Place.HERE) if each not in (*ON_SYSFS, *IN_A_CHECKOUT)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (directory := tmp_path / "here").mkdir()
    return ours(directory, tmp_path)


def files(root: Path) -> Iterator[tuple[str, str]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
            yield str(path.relative_to(root)), path.read_text(encoding="utf-8").rstrip("\n")


def test_every_block_says_what_it_is() -> None:
    strange = [each for page in PAGES for each in fenced(page) if each.language not in SHELL | OTHERS]
    assert [f"{each.page}:{each.line}: {each.language!r}" for each in strange] == []


def test_no_rule_about_commands_is_idle() -> None:
    texts = [command.text for block in blocks() for command in block.commands]
    assert [each for each in (*PLACES, *NOT_RUN) if not any(re.search(each, text) for text in texts)] == []


@pytest.mark.parametrize("place", Place)
def test_who_runs_commands_takes_them_from_the_pages(place: Place) -> None:
    assert f"Place.{place.name}" in (REPOSITORY / place).read_text(encoding="utf-8")
    assert runs(place) != ()


@pytest.mark.parametrize("block", ALONE, ids=str)
def test_it_does_what_the_page_says(block: Block, shell: Shell) -> None:
    if block.page in FILES:
        (shell.directory / "agent.yaml").write_text(FILES[block.page])
    for command in block.of(Place.HERE):
        if (other := re.search("zsh|fish", command.text)) and shutil.which(other[0]) is None:
            continue
        ended = shell.run(command.text, until=ENDLESS.get(command.text))
        assert ended.code == (command.text == REFUSED), f"{command.text}: {ended.output}"
        assert prints(ended.output, command.output), f"{command.text}: {ended.output}"


@pytest.mark.parametrize("block", IN_A_CHECKOUT, ids=str)
def test_what_is_generated_is_there_already(block: Block, tmp_path: Path) -> None:
    for name in ("charts", "docs", "intel_agent"):
        shutil.copytree(REPOSITORY / name, tmp_path / "checkout" / name)
    shell = ours(tmp_path / "checkout", tmp_path, checkout=tmp_path / "checkout")
    before = dict(files(shell.directory))
    for command in block.of(Place.HERE):
        ended = shell.run(command.text)
        assert ended.code == 0, f"{command.text}: {ended.output}"
        if page := re.search("# into (.*)", command.text):
            assert ended.output.strip() in before[page[1]]

    assert dict(files(shell.directory)) == before


@pytest.mark.parametrize("page", WRITTEN)
def test_it_writes_what_the_page_means(page: str, shell: Shell) -> None:
    materialise(SYSFS, shell.directory)
    before = dict(files(shell.directory / "sys"))
    for block in ON_SYSFS:
        if block.page == page:
            script = "\n".join(each.text for each in block.of(Place.HERE))
            ended = shell.run(SYS.sub(f"{shell.directory}/sys/", script))
            assert ended.code == 0, ended.output

    assert dict(files(shell.directory / "sys")) == {**before, **WRITTEN[page]}


def test_no_command_for_sysfs_is_left_out() -> None:
    assert {each.page for each in ON_SYSFS} == WRITTEN.keys()
