"""Device-info files: there before their devices are, gone with them, never under a pod, never somebody else's."""

import json
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from intel_agent.publish.deviceinfo import PENDING, DeviceInfoFiles, Outcome, Wanted
from intel_agent.publish.holdings import Key
from intel_agent.publish.lock import NodeLock

pytestmark = pytest.mark.anyio

FIRST: Key = ("intel.com/e810", "0000:3b:01.0")
SECOND: Key = ("intel.com/e810", "0000:3b:01.1")
ONE, TWO = b'{"a":1}', b'{"a":2}'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "devinfo" / "dp"


@pytest.fixture
async def lock(tmp_path: Path) -> AsyncGenerator[NodeLock]:
    (tmp_path / "kubelet").mkdir()
    lock = NodeLock(str(tmp_path / "kubelet"))
    await lock.hold()
    yield lock
    lock.release()


@asynccontextmanager
async def agent(lock: NodeLock, tmp_path: Path) -> AsyncGenerator[DeviceInfoFiles]:
    """Give the files of an agent that runs until the block ends; the next one finds what it left behind."""
    files = DeviceInfoFiles(lock, str(tmp_path / "run"))
    async with anyio.create_task_group() as group:
        group.start_soon(files.run)
        yield files
        group.cancel_scope.cancel()


async def tried(files: DeviceInfoFiles, wanted: Wanted) -> Outcome:
    files.want(wanted)
    with anyio.fail_after(60):
        await files.tried()
    return files.outcome.value


def seen(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(directory.iterdir())} if directory.exists() else {}


async def content(directory: Path) -> dict[str, bytes]:
    return await to_thread.run_sync(seen, directory)


def name(key: Key) -> str:
    return f"{key[0]}-{key[1]}-device.json".replace("/", "-")


async def test_each_device_has_a_file_that_all_may_read(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        outcome = await tried(files, Wanted(str(directory), {FIRST: ONE, SECOND: TWO}))

        assert outcome == Outcome({FIRST: ONE, SECOND: TWO})
        assert files.undefined == {}
    path = directory / "intel.com-e810-0000:3b:01.0-device.json"
    assert await content(directory) == {path.name: ONE, name(SECOND): TWO}
    assert stat.S_IMODE((await to_thread.run_sync(path.stat)).st_mode) == 0o444


async def test_a_device_has_no_true_file_until_it_is_written(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    files = DeviceInfoFiles(lock, str(tmp_path))
    files.want(Wanted(str(directory), {FIRST: ONE}))

    assert files.undefined == {FIRST: PENDING}


async def test_what_changes_is_written_again(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
        files.want(Wanted(str(directory), {FIRST: TWO}))
        assert files.undefined == {FIRST: PENDING}
        await files.tried()

        assert (files.undefined, await content(directory)) == ({}, {name(FIRST): TWO})


async def test_a_file_goes_with_its_device(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE, SECOND: TWO}))
        await tried(files, Wanted(str(directory), {SECOND: TWO}))

        assert await content(directory) == {name(SECOND): TWO}
        assert not files.unsettled


async def test_a_file_stays_as_long_as_a_pod_has_the_device(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
        outcome = await tried(files, Wanted(str(directory), {}, frozenset({FIRST})))
        assert (outcome.kept, files.unsettled) == (frozenset({FIRST}), True)
        assert await content(directory) == {name(FIRST): ONE}

        await tried(files, Wanted(str(directory)))
        assert (await content(directory), files.unsettled) == ({}, False)


async def test_the_next_agent_knows_which_files_are_ours(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    """Upstream takes away every file of a pool, also one that a running pod's network plugin may read again."""
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE, SECOND: TWO}))
    assert len(await content(directory)) == 2  # an agent that ends takes nothing away
    foreign = directory / "intel.com-e810-0000:99:00.0-device.json"
    await to_thread.run_sync(foreign.write_bytes, b"{}")
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {}, frozenset({SECOND})))
        assert await content(directory) == {name(SECOND): TWO, foreign.name: b"{}"}

        await tried(files, Wanted(str(directory)))
        assert await content(directory) == {foreign.name: b"{}"}


async def test_a_file_that_somebody_else_replaced_is_not_ours(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))

    def replaced() -> None:
        (directory / "draft").write_bytes(b'{"theirs":1}')
        (directory / "draft").rename(directory / name(FIRST))

    await to_thread.run_sync(replaced)
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory)))

    assert await content(directory) == {name(FIRST): b'{"theirs":1}'}


async def test_the_existing_plugins_file_of_a_device_becomes_ours(
    lock: NodeLock, tmp_path: Path, directory: Path
) -> None:
    def left_behind() -> None:
        directory.mkdir(parents=True)
        (directory / name(FIRST)).write_bytes(b"{}")
        (directory / name(FIRST)).chmod(0o444)

    await to_thread.run_sync(left_behind)
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
        assert await content(directory) == {name(FIRST): ONE}


async def test_what_is_taken_away_comes_back(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
        await to_thread.run_sync(os.unlink, directory / name(FIRST))
        files.look()
        await files.tried()

        assert await content(directory) == {name(FIRST): ONE}


async def test_another_directory_takes_the_files_of_free_devices_along(
    lock: NodeLock, tmp_path: Path, directory: Path
) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
        await tried(files, Wanted(str(tmp_path / "other"), {FIRST: ONE}))

    assert await content(directory) == {}
    assert await content(tmp_path / "other") == {name(FIRST): ONE}


async def test_without_a_directory_there_are_no_files_and_no_faults(lock: NodeLock, tmp_path: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted("", {FIRST: ONE}))

        assert files.undefined == {}
    assert not await to_thread.run_sync((tmp_path / "run").exists)


async def test_a_directory_that_cannot_be_written_is_said_once(lock: NodeLock, tmp_path: Path) -> None:
    await to_thread.run_sync((tmp_path / "file").write_text, "")
    with capture_logs() as log:
        async with agent(lock, tmp_path) as files:
            for wanted in ({FIRST: ONE}, {FIRST: ONE, SECOND: TWO}):
                await tried(files, Wanted(str(tmp_path / "file" / "dp"), wanted))
            problem = f"[Errno 20] Not a directory: '{tmp_path}/file/dp'"

            assert files.undefined == {FIRST: problem, SECOND: problem}
    assert [each["event"] for each in log] == ["deviceinfo.failed"]


async def test_one_file_that_cannot_be_written_is_one_device(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    await to_thread.run_sync(lambda: (directory / name(FIRST)).mkdir(parents=True))
    async with agent(lock, tmp_path) as files:
        outcome = await tried(files, Wanted(str(directory), {FIRST: ONE, SECOND: TWO}))

        assert list(files.undefined) == [FIRST]
        assert outcome.written == {SECOND: TWO}


async def test_a_broken_ledger_takes_nothing_away(lock: NodeLock, tmp_path: Path, directory: Path) -> None:
    async with agent(lock, tmp_path) as files:
        await tried(files, Wanted(str(directory), {FIRST: ONE}))
    ledger = tmp_path / "run" / "device-info.json"
    assert list(json.loads(await to_thread.run_sync(ledger.read_bytes))) == [str(directory / name(FIRST))]
    await to_thread.run_sync(ledger.write_text, "[")
    with capture_logs() as log:
        async with agent(lock, tmp_path) as files:
            await tried(files, Wanted(str(directory), {SECOND: TWO}))

    assert [each["event"] for each in log] == ["record.refused"]
    assert await content(directory) == {name(FIRST): ONE, name(SECOND): TWO}


async def test_an_agent_that_does_not_serve_the_node_writes_nothing(tmp_path: Path, directory: Path) -> None:
    await to_thread.run_sync((tmp_path / "kubelet").mkdir)
    serving, waiting = (NodeLock(str(tmp_path / "kubelet")) for _ in range(2))
    await serving.hold()
    async with agent(waiting, tmp_path) as files:
        files.want(Wanted(str(directory), {FIRST: ONE}))
        with anyio.move_on_after(0.3):
            await files.tried()
        assert await content(directory) == {}
        serving.release()
        with anyio.fail_after(60):
            await files.tried()

        assert await content(directory) == {name(FIRST): ONE}
    waiting.release()
