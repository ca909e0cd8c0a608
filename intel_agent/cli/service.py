"""`intel-agent run`."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import structlog

from intel_agent import agent
from intel_agent import log as logs
from intel_agent.config import load
from intel_agent.errors import AgentError

log = structlog.get_logger()


def run(config: Path | None, root: str, host_root: str) -> int:
    """Serve the node until a signal says stop; return the exit code.

    Raises:
        AgentError: the agent cannot go on, for a reason that a person can act on.
    """
    wanted = load(config).config.log
    logs.configure(wanted.level, wanted.format)
    try:
        anyio.run(agent.run, agent.Settings(config, root, host_root))
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(AgentError)
        if unexpected is None and expected is not None:
            raise AgentError("\n".join(str(each) for each in _leaves(expected))) from group
        log.exception("agent.failed")
        return 1
    except AgentError:
        raise
    except Exception:  # the last border: nothing is left to go on, but why must be in the log
        log.exception("agent.failed")
        return 1
    return 0


def _leaves(group: BaseExceptionGroup[AgentError]) -> Iterator[AgentError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
