"""The machine that is served: the node itself, or a pretended one."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from intel_agent.sysfs import Host

log = structlog.get_logger()


def pretended(machine: str, runtime_directory: str) -> AbstractContextManager[Host]:
    """Return the packaged machine, made below the directory for as long as the block lasts.

    Raises:
        SimulationError: it cannot be made there.
    """
    from intel_agent.simulation.pretended import pretended as made

    return made(machine, Path(runtime_directory, "simulation"))


@asynccontextmanager
async def served(machine: str, runtime_directory: str, root: str, host_root: str) -> AsyncGenerator[Host]:
    """Give the node itself, or the pretended `machine` if there is one, for as long as the block lasts.

    Raises:
        SimulationError: the pretended machine cannot be made.
    """
    if not machine:
        yield await to_thread.run_sync(Host, root, host_root)
        return
    making = await to_thread.run_sync(pretended, machine, runtime_directory)
    host = await to_thread.run_sync(making.__enter__)
    log.warning("simulation.started", machine=machine, directory=host.root)
    try:
        yield host
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(making.__exit__, None, None, None)
