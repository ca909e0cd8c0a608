"""What is not wanted any more is taken back, whatever was wanted in between."""

import anyio
import pytest

from intel_agent.cluster.membership import Membership
from intel_agent.config import Config
from intel_agent.errors import ClusterError
from intel_agent.latest import Latest
from intel_agent.reactions.leftovers import Leftovers

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param([()], [], id="never wanted"),
        pytest.param([("a",), ("a",)], [], id="wanted as before"),
        pytest.param([("a",), ()], ["a"], id="switched off"),
        pytest.param([("a",), ("a",), ()], ["a"], id="changed, and switched off before anything was written"),
        pytest.param([("a",), ("b",), ()], ["a", "b"], id="called otherwise, and switched off"),
        pytest.param([("a",), (), ("a",)], [], id="wanted again"),
    ],
)
async def test_all_that_was_wanted_once_and_is_not_goes(wanted: list[tuple[str, ...]], expected: list[str]) -> None:
    taken: list[str] = []

    async def take(name: str) -> None:
        taken.append(name)

    leftovers = Leftovers("taint", Membership(Latest(Config()), {}, "/nowhere"), take)
    for names in wanted:
        await leftovers.want(*names)
    async with anyio.create_task_group() as group:
        group.start_soon(leftovers.run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert taken == expected


async def test_it_is_tried_until_it_is_done() -> None:
    tries: list[str] = []
    done, again = anyio.Event(), anyio.Event()

    async def take(name: str) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise ClusterError("not now")
        await again.wait()  # the problem stays until it was seen
        done.set()

    membership = Membership(Latest(Config()), {}, "/nowhere")
    leftovers = Leftovers("taint", membership, take)
    await leftovers.want("a")
    await leftovers.want()
    async with anyio.create_task_group() as group:
        group.start_soon(leftovers.run)
        await anyio.wait_all_tasks_blocked()
        assert membership.problems == ("not now",)
        again.set()
        with anyio.fail_after(60):
            await done.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (tries, membership.problems) == (["a", "a"], ())


async def test_what_cannot_be_taken_back_keeps_nothing_else() -> None:
    taken: list[str] = []

    async def take(name: str) -> None:
        if name == "a":
            raise ClusterError("never")
        taken.append(name)

    membership = Membership(Latest(Config()), {}, "/nowhere")
    leftovers = Leftovers("taint", membership, take)
    for names in (("a",), ("b",), ()):
        await leftovers.want(*names)
    async with anyio.create_task_group() as group:
        group.start_soon(leftovers.run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (taken, membership.problems) == (["b"], ("never",))
