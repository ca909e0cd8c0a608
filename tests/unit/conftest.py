"""What unit tests share: a node made of a text tree."""

from pathlib import Path

import pytest
from machines import put

from intel_agent.sysfs import Host


@pytest.fixture
def tree() -> str:
    """Return the machine of the test; tests give their own by parameter."""
    return ""


@pytest.fixture
def host(tree: str, tmp_path: Path) -> Host:
    """Return the node that `tree` describes; on the host it is called /on/host."""
    root = tmp_path / "node"
    put(tree, root)
    return Host(str(root), "/on/host")
