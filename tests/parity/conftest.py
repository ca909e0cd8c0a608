"""What the comparison needs; without it the tests are skipped, and say why."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.node import Node, made
from machines import MEMORY, removed

from .existing import TOOLS, programs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.parity)


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mount namespaces and device nodes")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    programs()


@pytest.fixture
def node(machine: str) -> Iterator[Node]:
    base = Path(tempfile.mkdtemp(prefix="ia", dir=MEMORY))
    yield made(base, machine)
    removed(base)
