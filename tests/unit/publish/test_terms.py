"""On which terms devices were given away is known to the next agent."""

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from intel_agent.publish import terms
from intel_agent.publish.lock import NodeLock
from intel_agent.publish.terms import NAME, Term, Terms, TermsFile, merged, read

XE = "gpu.intel.com/xe"
SOME: Terms = {XE: {"card0": Term(1, "/sys/devices/0")}}
MORE: Terms = {XE: {"card0": Term(3, "/sys/devices/0"), "card1": Term(3, "/sys/devices/1", ("/sys/devices/2",))}}


@pytest.mark.parametrize(
    ("ours", "kubelets", "both"),
    [
        pytest.param({}, {XE: {"card0": 3}}, {XE: {"card0": Term(3, "")}}, id="only kubelet knows"),
        pytest.param(SOME, {}, SOME, id="only we know"),
        pytest.param(SOME, {XE: {"card0": 3}}, SOME, id="we gave it to one alone"),
        pytest.param(
            MORE, {XE: {"card0": 1}}, {XE: {**MORE[XE], "card0": Term(1, "/sys/devices/0")}}, id="another did"
        ),
        pytest.param({XE: {}}, {XE: {"card0": 1}}, {XE: {"card0": Term(1, "")}}, id="nothing of the resource"),
    ],
)
def test_what_somebody_has_alone_he_has_alone(
    ours: Terms, kubelets: Mapping[str, Mapping[str, int]], both: Terms
) -> None:
    assert merged(ours, kubelets) == both


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 1}', b'{"a": {"b": [1]}}', b"\xff"])
def test_a_damaged_file_is_not_taken_for_an_empty_one(tmp_path: Path, content: bytes) -> None:
    assert read(str(tmp_path)) == {}
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read(str(tmp_path))


def test_a_file_without_parts_is_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'{"gpu.intel.com/xe": {"card0": [1, "/sys/devices/0"]}}')
    assert read(str(tmp_path)) == SOME


@pytest.mark.anyio
async def test_what_is_wanted_when_the_agent_ends_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "LAST_WRITE", 60.0)
    lock = NodeLock(str(tmp_path))
    file = TermsFile(lock, str(tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(file.run)
        file.want(SOME)
        await file.tried(60)
        file.want(MORE)
        group.cancel_scope.cancel()  # before anything else had its turn
    lock.release()
    assert await anyio.to_thread.run_sync(read, str(tmp_path)) == MORE


@pytest.mark.anyio
async def test_the_file_says_what_is_wanted_whatever_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "RECHECK", 0.05)
    monkeypatch.setattr(terms, "RETRY", 0.05)
    directory = tmp_path / "dp"
    directory.mkdir()
    lock = NodeLock(str(directory))
    file = TermsFile(lock, str(directory))

    async def says(wanted: Terms) -> None:
        with anyio.fail_after(60):
            while await anyio.to_thread.run_sync(read, str(directory)) != wanted:
                await anyio.sleep(0.01)

    with capture_logs() as logs:
        async with anyio.create_task_group() as group:
            group.start_soon(file.run)
            file.want(SOME)
            await file.tried(60)
            assert await anyio.to_thread.run_sync(read, str(directory)) == SOME
            file.want(MORE)
            await says(MORE)
            (directory / NAME).unlink()
            await says(MORE)
            (directory / NAME).unlink()
            (directory / NAME).mkdir()  # nothing can be written there
            with anyio.fail_after(60):
                while not logs:
                    await anyio.sleep(0.01)
            (directory / NAME).rmdir()
            await says(MORE)
            group.cancel_scope.cancel()
    lock.release()
    assert [each["event"] for each in logs] == ["terms.failed"]
    assert [path.name for path in directory.iterdir() if path.name.startswith(f".{NAME}")] == []
