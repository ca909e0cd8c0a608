"""What a kernel answered, as it was recorded: for interfaces and devices that the kernel of the tests may not have."""

from pathlib import Path

_FILE = Path(__file__).with_name("linux-6.1.txt")


def recorded(kind: str) -> list[bytes]:
    """Return the bodies of all messages of a kind, in order."""
    lines = (line.split() for line in _FILE.read_text().splitlines() if not line.startswith("#"))
    return [bytes.fromhex(content) for what, _, content in lines if what == kind]
