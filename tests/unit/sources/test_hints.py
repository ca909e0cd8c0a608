"""A source of hints that fails is said once, tried again, and ends nothing."""

from collections.abc import Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from intel_agent.sources import hints
from intel_agent.sources.hints import Works, listened

pytestmark = pytest.mark.anyio

GONE = PermissionError(1, "Operation not permitted")


class Played:
    """A source that goes the given ways, one after the other, and then stays."""

    def __init__(self, ways: Sequence[Exception | None]) -> None:
        self._ways = list(ways)
        self.over = anyio.Event()

    async def listen(self, works: Works) -> None:
        if not self._ways:
            self.over.set()
            await anyio.sleep_forever()
        way = self._ways.pop(0)
        if way is None:
            works()
            return
        raise way


@pytest.mark.parametrize(
    ("ways", "problems"),
    [
        pytest.param([], [], id="nothing happens"),
        pytest.param([GONE] * 3, [str(GONE)], id="the same three times"),
        pytest.param([GONE, None, GONE], [str(GONE)] * 2, id="again after it has heard"),
        pytest.param([GONE, OSError("other"), GONE], [str(GONE), "other", str(GONE)], id="one after the other"),
        pytest.param([KeyError("a bug"), GONE], ["unexpected: KeyError('a bug')", str(GONE)], id="a bug"),
    ],
)
async def test_failures_are_said_once_and_tried_again(
    ways: Sequence[Exception | None], problems: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "AGAIN", 0)
    source = Played(ways)
    with capture_logs() as lines:
        async with anyio.create_task_group() as group:
            group.start_soon(listened, source.listen)
            with anyio.fail_after(60):
                await source.over.wait()
            group.cancel_scope.cancel()

    assert [line["problem"] for line in lines] == list(problems)
    assert {line["event"] for line in lines} <= {"events.unavailable"}
    assert [bool(line["exc_info"]) for line in lines] == [each.startswith("unexpected") for each in problems]
