"""Decisions follow the clock, are said once for each change, and are remembered."""

from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from intel_agent.backends.gpu import Gpu
from intel_agent.cluster.memory import Memory
from intel_agent.cluster.resolution import PATIENCE, Basis, nothing
from intel_agent.cluster.sections import Sections
from intel_agent.config import Config, Devices, Labels, NodeOverride, Selector
from intel_agent.latest import Latest

pytestmark = pytest.mark.anyio

OVERRIDE = NodeOverride(selector=Selector(match_labels={"a": "b"}), devices={"gpu": {"sharedDevNum": 3}})
CONFIG = Config(node_overrides=(OVERRIDE,))
THREE = Devices(gpu=Gpu(shared_dev_num=3))


class Clock:
    """A clock that stands still until it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def saying(*events: str) -> Generator[None]:
    with capture_logs() as lines:
        yield
    assert [each["event"] for each in lines] == list(events)


async def test_waiting_ends_with_the_base_and_then_with_labels(tmp_path: Path) -> None:
    clock = Clock()
    labels: Latest[Labels | None] = Latest(None)
    sections = Sections(labels, Memory(str(tmp_path), "n"), clock)
    assert sections.patience == inf
    with saying("overrides.waiting"):
        assert (await sections.settle(CONFIG)).devices == nothing()
        clock.now += 10
        assert (await sections.settle(CONFIG)).basis is Basis.WAITING
    assert sections.patience == PATIENCE - 10
    clock.now += sections.patience
    with saying("overrides.ignored"):
        assert (await sections.settle(CONFIG)).devices == Devices()
        assert (await sections.settle(CONFIG)).basis is Basis.BASE
    assert sections.patience == inf
    labels.set({"a": "b"})
    with saying("overrides.applied"):
        assert (await sections.settle(CONFIG)).devices == THREE
        assert (await sections.settle(CONFIG)).devices == THREE
    after = Sections(Latest(None), Memory(str(tmp_path), "n"), clock)
    with saying("overrides.remembered"):
        assert (await after.settle(CONFIG)).devices == THREE
        assert (await after.settle(CONFIG)).basis is Basis.REMEMBERED
    assert after.patience == inf


async def test_overrides_that_come_back_take_nothing_away(tmp_path: Path) -> None:
    clock = Clock()
    sections = Sections(Latest(None), Memory(str(tmp_path), "n"), clock)
    await sections.settle(CONFIG)
    clock.now += PATIENCE
    with saying("overrides.ignored"):
        await sections.settle(CONFIG)
        assert (await sections.settle(Config())).basis is Basis.FILE
    with saying("overrides.waiting"):
        assert (await sections.settle(CONFIG)).devices == Devices()
    clock.now += PATIENCE  # what was in force before stays, however long that takes
    assert (await sections.settle(CONFIG)).basis is Basis.WAITING
    assert sections.patience == inf


async def test_what_cannot_be_remembered_is_said_once(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.write_text("no directory")
    sections = Sections(Latest({"a": "b"}), Memory(str(place), "n"), Clock())
    with saying("overrides.applied", "state.failed"):
        assert (await sections.settle(CONFIG)).devices == THREE
        await sections.settle(CONFIG)
    place.unlink()
    with saying():
        await sections.settle(CONFIG)
    assert await to_thread.run_sync(Memory(str(place), "n").recalled, CONFIG) == THREE


async def test_overrides_that_cannot_be_used_together_are_said_once(tmp_path: Path) -> None:
    config = Config(
        node_overrides=tuple(
            NodeOverride(selector=Selector(), devices={"gpu": {key: ("0x0001",)}}) for key in ("allowIDs", "denyIDs")
        )
    )
    sections = Sections(Latest({"a": "b"}), Memory(str(tmp_path), "n"), Clock())
    with saying("overrides.applied", "overrides.refused"):
        await sections.settle(CONFIG)
        (kept,) = tmp_path.iterdir()
        before = kept.read_bytes()
        assert (await sections.settle(config)).devices == THREE
        assert (await sections.settle(config)).basis is Basis.REFUSED
    assert kept.read_bytes() == before
