"""What the last look found is known to the next one, also to that of another agent, within one boot."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs
from unit.backends.nic.card import FIRST, FOURTH, OTHER, PORT, found, machine, selecting, without

from intel_agent import linkfiles
from intel_agent.backends import Backend
from intel_agent.backends.nic import Nic
from intel_agent.config import Config, Devices
from intel_agent.inventory import Inventory
from intel_agent.latest import Latest
from intel_agent.links import Links
from intel_agent.liveness import Liveness
from intel_agent.model import ContainerEdits, Device, DeviceNode, Exclusion, Fault, Reason
from intel_agent.sources.known import NOTHING, KnownFiles, by_path
from intel_agent.sources.scan import Scanner
from intel_agent.sysfs import Host

DEVICE = Device(
    "0000:3b:01.0",
    "intel.com/x",
    "/sys/devices/pci0000:3b/0000:3b:01.0",
    ContainerEdits(device_nodes=(DeviceNode("/dev/x", "/host/dev/x", origin="/dev/y"),), env={"a": "b"}),
    "0000:3b:01.0",
    numa_nodes=(1,),
    attributes={"driver": "iavf"},
    faults=frozenset({Fault(Reason.UNREADABLE, "sysfs", "odd")}),
)
PLAIN = replace(DEVICE, id="b", sysfs_path="/sys/b", edits=ContainerEdits(), attributes={}, shares=3)


def test_what_is_kept_is_recalled_by_the_next_agent(tmp_path: Path) -> None:
    KnownFiles(str(tmp_path / "run")).keep("nic", (DEVICE, PLAIN))

    assert KnownFiles(str(tmp_path / "run")).recalled("nic") == {DEVICE.sysfs_path: DEVICE, "/sys/b": PLAIN}
    assert KnownFiles(str(tmp_path / "run")).recalled("gpu") == NOTHING


def test_nothing_is_known_after_a_reboot(tmp_path: Path) -> None:
    KnownFiles(str(tmp_path), boot="one").keep("nic", (DEVICE,))

    with capture_logs() as log:
        assert KnownFiles(str(tmp_path), boot="two").recalled("nic") == NOTHING
    assert log == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="something else"),
        pytest.param('{"version": 2, "boot": "b", "devices": []}', id="another version"),
        pytest.param('{"version": 1, "boot": "b", "devices": [{"id": 1}]}', id="other devices"),
        pytest.param('{"version": 1, "boot": "b", "devices": [], "more": 1}', id="more"),
        pytest.param("\ufffd", id="no JSON"),
    ],
)
def test_a_broken_file_is_ignored_and_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "known-nic.json").write_text(content)

    with capture_logs() as log:
        assert KnownFiles(str(tmp_path), boot="b").recalled("nic") == NOTHING
    assert [each["event"] for each in log] == ["record.refused"]


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = KnownFiles(str(tmp_path / "file/run"))

    with capture_logs() as log:
        files.keep("nic", (DEVICE,))
        files.keep("nic", (PLAIN,))
    assert [each["event"] for each in log] == ["state.failed"]


def test_a_file_is_written_when_something_changed(tmp_path: Path) -> None:
    files = KnownFiles(str(tmp_path))
    files.keep("nic", (DEVICE,))
    first = (tmp_path / "known-nic.json").stat().st_ino
    files.keep("nic", (DEVICE,))
    second = (tmp_path / "known-nic.json").stat().st_ino
    files.keep("nic", (PLAIN,))

    assert first == second
    assert [each["id"] for each in json.loads((tmp_path / "known-nic.json").read_bytes())["devices"]] == ["b"]


class Agent:
    """The part of an agent that looks at a host, and what it found."""

    def __init__(self, host: Host, backend: Backend, directory: Path) -> None:
        assert isinstance(backend, Nic)
        config = Latest(Config(devices=Devices(nic=backend)))
        self.inventory = Latest(Inventory())
        self.scanner = Scanner(config, host, self.inventory, Liveness(), KnownFiles(str(directory)))

    async def looked(self) -> dict[str, Device]:
        """Look once more, and return the network functions by id."""
        before = self.looks
        with anyio.fail_after(60):
            while self.looks < before + 3:  # the first may have begun before; the second is published before the third
                self.scanner.hint(["nic"])
                await anyio.sleep(0.005)
        return {each.id: each for each in self.inventory.value.found["nic"].devices}

    @property
    def looks(self) -> int:
        looks = self.scanner.looks.get("nic")
        return looks.count if looks else 0


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = machine(tmp_path / "node", PORT, OTHER)
    tell(host, links(host))
    return host


def tell(host: Host, links: Links) -> None:
    """Have the pretended host's netlink say this from now on."""
    shutil.rmtree(f"{host.root}{linkfiles.DIRECTORY}", ignore_errors=True)
    for path, text in linkfiles.files(links):
        file = Path(f"{host.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def silence(host: Host) -> None:
    """Have nothing known of the pretended host's links."""
    Path(f"{host.root}{linkfiles.DIRECTORY}/uplinks").write_text("no list")


def links(host: Host) -> Links:
    assert host.links is not None
    return host.links


@pytest.mark.anyio
async def test_a_function_in_use_survives_ten_looks_and_a_restart(host: Host, tmp_path: Path) -> None:
    """The whole way: nothing but the link types says which pool the functions belong to."""
    section = selecting(linkTypes=["ether"], drivers=["iavf"], pfNames=["ens1f0", "ens1f1"])
    home: dict[str, Device] = {}
    first = Agent(host, section, tmp_path / "run")
    async with anyio.create_task_group() as group:
        group.start_soon(first.scanner.run)
        home = await first.looked()
        await to_thread.run_sync(tell, host, without(links(host), "ens1f0v0", "ens1f1v0"))
        for _ in range(10):
            assert await first.looked() == home
        group.cancel_scope.cancel()
    second = Agent(host, section, tmp_path / "run")
    async with anyio.create_task_group() as group:
        group.start_soon(second.scanner.run)
        for _ in range(3):
            assert await second.looked() == home
        group.cancel_scope.cancel()

    assert {FIRST, FOURTH} <= home.keys()


@pytest.mark.anyio
async def test_an_agent_that_begins_without_links_still_knows_later(host: Host, tmp_path: Path) -> None:
    section = selecting(linkTypes=["ether"], drivers=["iavf"])
    home = links(host)
    looked = by_path((await to_thread.run_sync(found, section, host)).devices)
    await to_thread.run_sync(KnownFiles(str(tmp_path / "run")).keep, "nic", tuple(looked.values()))
    await to_thread.run_sync(silence, host)
    agent = Agent(host, section, tmp_path / "run")
    async with anyio.create_task_group() as group:
        group.start_soon(agent.scanner.run)
        assert await agent.looked() == {}
        await to_thread.run_sync(tell, host, without(home, "ens1f0v0"))

        later = by_path((await agent.looked()).values())
        assert {path: replace(each, depends_on=()) for path, each in later.items()} == looked
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_kinds_that_do_not_ask_have_no_file(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(backend: Nic, host: Host) -> Iterator[Device | Exclusion]:
        assert not backend.remembers
        assert host.known == {}
        yield DEVICE

    monkeypatch.setattr(Nic, "remembers", False)
    monkeypatch.setattr(Nic, "discover", forgetful)
    agent = Agent(host, selecting(), tmp_path / "run")
    async with anyio.create_task_group() as group:
        group.start_soon(agent.scanner.run)
        for _ in range(2):
            assert list(await agent.looked()) == [DEVICE.id]
        group.cancel_scope.cancel()

    assert await to_thread.run_sync(os.listdir, tmp_path) == ["node"]
