"""How much tests with many examples try: all of it, or, for a Python beside the one that tries all, a part."""

import os

STEP = 7 if os.environ.get("THOROUGH") == "0" else 1
"""Of so many examples one is tried."""


def some(count: int) -> int:
    """Return how many of so many examples to try; two at least."""
    return max(count // STEP, 2)
