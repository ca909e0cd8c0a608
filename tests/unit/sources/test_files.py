"""Changes in directories are told of, directories come and go."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from intel_agent.sources import files

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STEP", 20)
    monkeypatch.setattr(files, "TICK", 0.05)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_change_is_told_with_its_directory(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    told: list[frozenset[str]] = []
    async with anyio.create_task_group() as group:
        group.start_soon(files.follow, lambda: [str(one), str(other)], told.append)
        number = 0
        with anyio.fail_after(60):
            while frozenset({str(other)}) not in told:  # when the watch begins to see is not told by anybody
                (other / f"file{number}").touch()
                number += 1
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()


async def test_what_may_have_changed_before_the_watch_began_is_told_of_once(tmp_path: Path) -> None:
    told: list[frozenset[str]] = []
    async with anyio.create_task_group() as group:
        group.start_soon(files.follow, lambda: [str(tmp_path)], told.append)
        await until(lambda: bool(told))
        await quiet(told)
        group.cancel_scope.cancel()
    assert told == [{str(tmp_path)}]


async def test_a_directory_that_comes_later_is_watched(tmp_path: Path) -> None:
    later = tmp_path / "later"
    told: list[frozenset[str]] = []
    async with anyio.create_task_group() as group:
        asked = 0

        def directories() -> list[str]:
            nonlocal asked
            asked += 1
            return [str(later)]

        group.start_soon(files.follow, directories, told.append)
        await until(lambda: asked > 2)  # it knows that the directory is not there
        assert told == []
        later.mkdir()
        await until(lambda: bool(told))
        await quiet(told)  # what is told of now is what the watch sees
        before, number = len(told), 0
        with anyio.fail_after(60):
            while len(told) == before:
                (later / f"file{number}").touch()
                number += 1
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert told[-1] == {str(later)}


async def test_a_directory_that_was_made_anew_is_told_of(tmp_path: Path) -> None:
    place, spare = tmp_path / "place", tmp_path / "spare"
    place.mkdir()
    spare.mkdir()  # both are there: the new one has another number
    told: list[frozenset[str]] = []
    async with anyio.create_task_group() as group:
        asked = 0

        def directories() -> list[str]:
            nonlocal asked
            asked += 1
            return [str(place)]

        group.start_soon(files.follow, directories, told.append)
        await until(lambda: asked > 2)  # it knows the one that is there
        place.rmdir()
        spare.rename(place)
        await until(lambda: frozenset({str(place)}) in told)
        group.cancel_scope.cancel()


async def quiet(told: list[frozenset[str]]) -> None:
    """Wait until nothing is told of for many ticks: there is a watch."""
    with anyio.fail_after(60):
        number = -1
        while len(told) > number:
            number = len(told)
            await anyio.sleep(10 * files.TICK)


async def test_what_cannot_be_watched_is_told_of_all_the_time(tmp_path: Path) -> None:
    """Inotify is a resource of the whole node: a library that fails stands for a node that has none left."""

    def exhausted(*_: object, **__: object) -> None:
        raise OSError(24, "too many open files")

    broken = pytest.MonkeyPatch()
    broken.setattr(files, "watch", exhausted)
    told: list[frozenset[str]] = []
    with capture_logs() as logs:
        async with anyio.create_task_group() as group:
            group.start_soon(files.follow, lambda: [str(tmp_path)], told.append)
            await until(lambda: len(told) > 3)
            broken.undo()
            await quiet(told)
            before, number = len(told), 0
            with anyio.fail_after(60):
                while len(told) <= before:
                    (tmp_path / f"file{number}").touch()
                    number += 1
                    await anyio.sleep(0.05)
            group.cancel_scope.cancel()
    assert told[-1] == {str(tmp_path)}
    assert [each["problem"] for each in logs] == ["[Errno 24] too many open files"]
