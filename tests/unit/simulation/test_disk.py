"""Machines on disk, and devices that are pulled and brought back."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.simulation import fleet
from intel_agent.simulation.disk import add, change, materialise, read, remove
from intel_agent.simulation.tree import CharacterDevice, Directory, File, Tree, TreeError, node, parse, tree
from intel_agent.sysfs import DeviceNumber, Host

CARD = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
QUEUE = "/sys/devices/pci0000:6a/0000:6a:01.0/dsa0/wq0.1"
PHYSICAL = "/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.0"


@pytest.fixture(params=[True, False], ids=["real nodes", "stand-ins"])
def nodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    """Return whether device nodes are real; skip that when this process may not make them."""

    def refused(*_: object) -> None:
        raise PermissionError

    real: bool = request.param
    if not real:
        monkeypatch.setattr(os, "mknod", refused)
        return real
    try:
        os.mknod(tmp_path / "probe", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make device nodes")
    return real


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("name", fleet.MACHINES)
def test_a_machine_on_disk_is_the_machine(name: str, tmp_path: Path) -> None:
    machine = parse(node(name))
    materialise(machine, tmp_path)
    assert read(tmp_path) == machine


def test_device_nodes_are_real_or_honest(tmp_path: Path, *, nodes: bool) -> None:
    materialise("/dev/dri/card0 c 226:0", tmp_path)
    status = (tmp_path / "dev/dri/card0").stat()
    assert stat.S_ISCHR(status.st_mode) == nodes
    assert stat.S_IMODE(status.st_mode) == 0o666
    host = Host(str(tmp_path))
    assert host.simulated
    assert host.number("/dev/dri/card0") == DeviceNumber(226, 0)


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        pytest.param("everything", (CARD,), id="card"),
        pytest.param("everything", (QUEUE,), id="queue"),
        pytest.param("everything", (CARD, QUEUE), id="both"),
        pytest.param("everything", ("/sys/devices/virtual/misc/sgx_enclave",), id="enclave"),
        pytest.param("gpu-server", (PHYSICAL,), id="physical function"),
    ],
)
def test_pulled_and_brought_back_changes_nothing(name: str, paths: tuple[str, ...], tmp_path: Path) -> None:
    materialise(node(name), tmp_path)
    before = read(tmp_path)
    part = remove(tmp_path, *paths)
    after = read(tmp_path)
    assert not part.entries.keys() & after.entries.keys()
    assert _without_empty(after).entries.keys() | part.entries.keys() == before.entries.keys()
    add(tmp_path, part)
    assert read(tmp_path) == before


@given(data=st.data())
def test_any_directory_can_be_pulled_and_brought_back(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("node")
    materialise(node("laptop"), root)
    before = read(root)
    directories = {str(Path(path).parent) for path in before.entries if "/devices/" in path}
    path = data.draw(st.sampled_from(sorted(directories)))
    add(root, remove(root, path))
    assert read(root) == before


def _without_empty(machine: Tree) -> Tree:
    return tree({path: entry for path, entry in machine.entries.items() if not isinstance(entry, Directory)})


def test_with_a_card_goes_every_link_to_it(tmp_path: Path) -> None:
    materialise(node("everything"), tmp_path)
    part = remove(tmp_path, CARD)
    assert sorted(path for path in part.entries if not path.startswith(CARD)) == [
        "/dev/char/226:0",
        "/dev/char/226:128",
        "/dev/char/241:1",
        "/dev/dri/by-path/pci-0000:3b:00.0-card",
        "/dev/dri/by-path/pci-0000:3b:00.0-render",
        "/dev/dri/card0",
        "/dev/dri/renderD128",
        "/dev/mei1",
        "/sys/bus/auxiliary/devices/xe.mei-gscfi.15104",
        "/sys/bus/pci/devices/0000:3b:00.0",
        "/sys/bus/pci/drivers/xe/0000:3b:00.0",
        "/sys/class/drm/card0",
        "/sys/class/drm/renderD128",
        "/sys/class/mei/mei1",
        "/sys/dev/char/226:0",
        "/sys/dev/char/226:128",
        "/sys/dev/char/241:1",
        "/sys/kernel/iommu_groups/20/devices/0000:3b:00.0",
    ]


def test_virtual_functions_go_with_their_physical_one(tmp_path: Path) -> None:
    materialise(node("gpu-server"), tmp_path)
    remove(tmp_path, PHYSICAL)
    assert {path.name for path in (tmp_path / "dev/dri").glob("card*")} == {
        f"card{each}" for each in (0, 1, 2, 3, 7, 8, 9)
    }


def test_a_function_on_vfio_goes_with_its_nodes(tmp_path: Path) -> None:
    materialise(node("gpu-server"), tmp_path)
    remove(tmp_path, "/sys/devices/pci0000:aa/0000:aa:00.0/0000:ab:00.1")
    assert sorted(path.name for path in (tmp_path / "dev/vfio").iterdir()) == ["62", "63", "devices", "vfio"]
    assert sorted(path.name for path in (tmp_path / "dev/vfio/devices").iterdir()) == ["vfio1", "vfio2"]


def test_what_no_tree_can_say_is_removed_all_the_same(tmp_path: Path) -> None:
    materialise("/sys/devices/x/state = ok", tmp_path)
    os.mkfifo(tmp_path / "sys/devices/x/hangs")
    assert remove(tmp_path, "/sys/devices/x") == parse("/sys/devices/x/state = ok")
    assert not (tmp_path / "sys/devices/x").exists()


def test_a_single_node_can_be_pulled(tmp_path: Path) -> None:
    materialise("/dev/sgx_enclave c 10:125\n/dev/char/10:125 -> ../sgx_enclave", tmp_path)
    part = remove(tmp_path, "/dev/sgx_enclave")
    assert part.entries["/dev/sgx_enclave"] == CharacterDevice(DeviceNumber(10, 125))
    assert list((tmp_path / "dev/char").iterdir()) == []


def test_nothing_is_made_over_something(tmp_path: Path) -> None:
    materialise("/sys/a = 1", tmp_path)
    with pytest.raises(TreeError, match="/sys/a: is there already"):
        add(tmp_path, parse("/sys/b = 2\n/sys/a = 2"))
    assert not (tmp_path / "sys/b").exists()


def test_nothing_cannot_be_pulled(tmp_path: Path) -> None:
    materialise(node("empty"), tmp_path)
    with pytest.raises(TreeError, match="/sys/devices/nothing: there is nothing"):
        remove(tmp_path, "/sys/devices/nothing")


def test_attributes_change_and_are_never_created(tmp_path: Path) -> None:
    materialise("/sys/state = enabled", tmp_path)
    change(tmp_path, "/sys/state", "disabled")
    assert read(tmp_path) == tree({"/sys/state": File(b"disabled\n")})
    with pytest.raises(TreeError, match="/sys/mode: there is no such file"):
        change(tmp_path, "/sys/mode", "shared")
