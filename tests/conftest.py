"""What all tests share: one event loop back end, and no blocking call on it."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings
from thorough import some

import intel_agent

# What tests share says, too, what it compared when it fails.
pytest.register_assert_rewrite("browser", "chart", "e2e", "image", "integration", "one_node", "qat_trees", "unit")

# How long an example takes is a matter of the machine: a test that hangs runs into its own limit.
settings.register_profile("untimed", deadline=None, max_examples=some(100))
settings.load_profile("untimed")


# Hypothesis tries the constants of all modules that are there: the same ones in whatever order tests run.
for module in pkgutil.walk_packages(intel_agent.__path__, "intel_agent."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_call() -> Iterator[BlockBuster]:
    """Make every blocking call of the package on an event loop a failure."""
    with blockbuster_ctx("intel_agent") as guard:
        # coverage locks its own data, on whichever thread it measures
        guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
        yield guard
