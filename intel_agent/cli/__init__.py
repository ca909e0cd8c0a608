"""The command line: which commands there are, and what a person learns of errors.

Exit codes: 0 all is well, 1 something is wrong and was said, 2 the command line is wrong, or `doctor` could not look,
130 interrupted (SIGINT), 141 nobody reads the output any more (SIGPIPE).
"""

import os
import sys
from collections.abc import Sequence

from intel_agent.cli.commands import COMMANDS
from intel_agent.cli.parser import parsed
from intel_agent.errors import AgentError

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str]) -> int:
    """Do what `arguments` say; return the exit code.

    Raises:
        SystemExit: after --help and --version, and when the arguments make no sense.
    """
    try:
        code = _done(arguments)
    except AgentError as error:
        code = complain(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer must not fail again when Python flushes it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    return code


def _done(arguments: Sequence[str]) -> int:
    """Do what `arguments` say; return the exit code. All that was printed is written then, help and version, too."""
    try:
        command, values = parsed(COMMANDS, arguments)
        return command.run(values)
    finally:
        sys.stdout.flush()


def complain(error: AgentError) -> int:
    """Say what is wrong, one line for each problem, and return the exit code for that."""
    for line in str(error).splitlines():
        sys.stderr.write(f"intel-agent: {line}\n")
    return 1
