"""Entry point of `intel-agent` and of `python -m intel_agent`."""

import os
import sys
from typing import NoReturn

from intel_agent import log
from intel_agent.cli import main as command_line


def main() -> NoReturn:
    """Do what the command line says and end the process, whatever threads are still stuck in a driver."""
    try:
        code = command_line(sys.argv[1:])
    except SystemExit as ended:  # argparse, with its own opinion of the code
        code = ended.code if isinstance(ended.code, int) else 1
    log.flush(1.0)
    os._exit(code)


if __name__ == "__main__":
    main()
