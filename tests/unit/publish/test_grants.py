"""What containers may have: what was handed out, until kubelet tells who has it."""

import pytest

from intel_agent.publish import grants
from intel_agent.publish.grants import Grants

pytestmark = pytest.mark.anyio

XE = "gpu.intel.com/xe"
CARD0, CARD1 = (XE, "card0-0"), (XE, "card1-0")


async def test_an_id_may_be_held_from_the_moment_on_when_it_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "SETTLE", 3600)
    given = Grants()
    with given.granting(XE, ["card0-0"]):
        assert given.ever == given.recent == {CARD0}
        given.known([CARD1])  # kubelet does not tell of it yet
        assert given.ever == {CARD0, CARD1}
    assert given.recent == {CARD0}
    monkeypatch.setattr(grants, "SETTLE", 0)
    assert given.recent == frozenset()
    given.known([])
    assert given.ever == set()


async def test_what_was_refused_was_not_handed_out() -> None:
    given = Grants()
    with pytest.raises(ZeroDivisionError), given.granting(XE, ["card0-0"]):
        raise ZeroDivisionError
    assert given.ever == given.recent == frozenset()


async def test_a_refusal_forgets_nobody_else_who_gets_the_same() -> None:
    """A kubelet that has just restarted may ask again while the answer to the one before it is not ready."""
    given = Grants()

    def refused() -> None:
        with given.granting(XE, ["card0-0"]):
            with given.granting(XE, ["card0-0"]):
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refused()
    assert given.ever == given.recent == {CARD0}
