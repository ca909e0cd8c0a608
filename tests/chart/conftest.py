"""Both versions of Helm. What needs them is marked `chart` and runs by `tox -e chart`."""

from pathlib import Path

import pytest

from .apis import source
from .helm import VERSIONS, Helm, built


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and {"helm", "helms"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.chart)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build and fetch what tests need, so that no test's deadline is spent on it."""
    if any(item.get_closest_marker("chart") is not None for item in session.items):
        for program in (*VERSIONS, "nfd", "policy", "prometheus"):
            built(program)
        source()


@pytest.fixture(params=VERSIONS)
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    """Each version in turn."""
    return Helm(str(request.param), tmp_path)


@pytest.fixture
def helms(tmp_path: Path) -> tuple[Helm, ...]:
    """All versions, to be compared."""
    return tuple(Helm(version, tmp_path) for version in VERSIONS)
