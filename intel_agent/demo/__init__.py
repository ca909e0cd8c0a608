"""`intel-agent demo`: the real agent at work on a simulated node, for people to watch."""

import math
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from intel_agent.demo.audience import audience, standard_output
from intel_agent.demo.chronicle import Chronicle
from intel_agent.demo.picture import View
from intel_agent.demo.stage import Stage
from intel_agent.demo.story import Story
from intel_agent.errors import AgentError, leaves
from intel_agent.simulation import tree

LONGEST = 14
"""Most bytes of the path of a directory for temporary files: the paths of sockets in it, FPGAs' too, stay below 108."""
STORY_SECONDS = 28.0
"""How long the story pauses for its readers, all pauses together."""
WORK_SECONDS = 5.0
"""How long the story takes without any pause, on a slow machine."""
LINGER_SECONDS = 3.0
"""How long a pulled device stays in kubelet's list, when the demo takes its time."""

OPENING = (
    "The node, its devices and its kubelet are simulated; the agent is the real one, and so are the sockets.",
    "A simulated device makes no message of the kernel: the demo hints the agent where a real one would.",
)


async def run(node: str, seconds: float | None) -> int:
    """Show the agent at work on the packaged machine `node`, for so long or until SIGINT; return the exit code.

    Raises:
        AgentError: there is no such machine, or something took far longer than it should.
    """
    if seconds is not None and not seconds > 0:
        raise AgentError(f"found {seconds:g} seconds; allowed a number above 0")
    machine = await to_thread.run_sync(tree.node, node)
    try:
        async with _home() as home:
            return await _shown(node, machine, Stage(home), math.inf if seconds is None else seconds)
    except BaseExceptionGroup as group:
        # The terminal or the pipe may be gone, too; the command line knows what to make of one error, not of a group.
        expected, unexpected = group.split((AgentError, OSError))
        if unexpected is not None or expected is None:
            raise
        raise next(leaves(expected)) from group


async def _shown(node: str, machine: str, stage: Stage, seconds: float) -> int:
    pace = min(max((seconds - WORK_SECONDS) / STORY_SECONDS, 0.02), 1.0)
    chronicle = Chronicle(anyio.current_time)
    await stage.build(machine, LINGER_SECONDS * pace)

    def view() -> View:
        resources = tuple(stage.resources().values())
        return View(node, stage.remark, resources, stage.holders, chronicle.lines.value, int(chronicle.seconds))

    with standard_output() as output, audience(output, chronicle, view) as shown:
        for line in OPENING:
            chronicle.say(line)
        async with anyio.create_task_group() as group:
            group.start_soon(shown.follow)
            async with stage.kubelet:
                await _played(Story(stage, chronicle, pace), seconds)
            group.cancel_scope.cancel()
        await shown.finish()
    return 1 if stage.kubelet.violations else 0


async def _played(story: Story, seconds: float) -> None:
    """Run the agent and tell the story, until the time is over or a signal ends the agent."""
    with anyio.move_on_after(seconds) as scope:
        async with anyio.create_task_group() as group:

            async def run_agent() -> None:
                await story.stage.agent.run()
                group.cancel_scope.cancel()

            group.start_soon(run_agent)
            await story.tell(scope.deadline)
    took = anyio.current_time() - scope.deadline if scope.cancelled_caught else None
    await story.end(took)


@asynccontextmanager
async def _home() -> AsyncGenerator[Path]:
    """Yield a directory that is gone afterwards, with a path short enough for sockets."""
    parent = await to_thread.run_sync(tempfile.gettempdir)
    if len(parent.encode()) > LONGEST:
        parent = "/tmp"  # noqa: S108  # a directory of our own in it, that nobody else can enter
    async with anyio.TemporaryDirectory(prefix="agent-", dir=parent) as home:
        yield Path(home)
