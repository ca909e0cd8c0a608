"""`intel-agent migrate`: the resources of the old plugins as a values file."""

import sys
from collections.abc import Sequence
from typing import Literal

from intel_agent.config.document import LIMIT
from intel_agent.errors import AgentError, words
from intel_agent.migrate import migrated

STANDARD_INPUT = "-"


def run(files: Sequence[str], chart: str | None, hardware_labels: Literal["drop", "keep"]) -> int:
    """Print the values; return 1 when something has no equivalent, and else 0.

    Raises:
        AgentError: a file cannot be read or understood, or there is nothing in any of them.
    """
    texts = [_read(each) for each in files]
    migration = migrated(texts, chart=chart, keep_hardware_labels=hardware_labels == "keep")
    sys.stdout.write(migration.text)
    for note in migration.notes:
        sys.stderr.write(f"intel-agent: {note}\n")
    return 1 if migration.notes else 0


def _read(file: str) -> tuple[str, str]:
    """Return what to call the file, and its text."""
    source = "stdin" if file == STANDARD_INPUT else file
    try:
        if file == STANDARD_INPUT:
            content = sys.stdin.buffer.read(LIMIT + 1)
        else:
            with open(file, "rb") as opened:
                content = opened.read(LIMIT + 1)
    except OSError as error:
        raise AgentError(f"{source}: {words(error)}") from error
    if len(content) > LIMIT:
        raise AgentError(f"{source}: found more than {LIMIT} bytes; allowed {LIMIT}: give it in parts")
    try:
        return source, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AgentError(f"{source}:{line}: found bytes that are no text; allowed UTF-8") from error
