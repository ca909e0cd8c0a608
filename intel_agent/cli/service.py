"""`intel-agent run`."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from intel_agent import agent, heap
from intel_agent import log as logs
from intel_agent.config import Config, changed, load
from intel_agent.errors import AgentError, leaves

log = structlog.get_logger()

T = TypeVar("T")


def run(settings: agent.Settings) -> int:
    """Serve the node until a signal says stop; return the exit code.

    Raises:
        AgentError: the agent cannot go on, for a reason that a person can act on.
    """
    heap.share()
    wanted = load(settings.config_file).config
    logs.configure(wanted.log.level, wanted.log.format)
    log.info(
        "config.loaded",
        file=str(settings.config_file) if settings.config_file else None,
        changed=changed(Config(), wanted),
    )
    return served(agent.run, settings)


def served(serve: Callable[[T], Awaitable[None]], settings: T) -> int:
    """Run `serve` to its end; return the exit code. What nobody thought of is in the log, with its traceback.

    Raises:
        AgentError: it ended for reasons that a person can act on; all of them in one.
    """
    try:
        anyio.run(serve, settings)
    except AgentError:
        raise
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(AgentError)
        if unexpected is None and expected is not None:
            raise AgentError("\n".join(str(each) for each in leaves(expected))) from group
        log.exception("agent.failed")
        return 1
    except Exception:  # the last border: nothing is left to go on, but why must be in the log
        log.exception("agent.failed")
        return 1
    return 0
