"""What was measured, to be printed at the end: no assertion but a deadline is about time."""

figures: list[str] = []


def figure(what: str, value: str) -> None:
    """Keep a figure for the end of the tests."""
    figures.append(f"{what}: {value}")
