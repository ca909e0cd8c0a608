"""One image for each architecture, built once for all tests."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from .archive import Archive, opened
from .container import Container

CHECKOUT = Path(__file__).parents[2]
TOOLS = ("buildah", "git", "mmdebstrap", "qemu-aarch64-static", "runc")

NEEDLE = "needle.invalid"
"""A setting of pip, which must not be found in an image."""

BUILD_SECONDS = 600.0
"""How long a build may take whose downloads are slow."""

Build = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.timeout(3 * BUILD_SECONDS))  # the first test waits for the build


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    """Skip where no image can be built, and say why."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts of the build, and containers")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}, see docs/image.md")
    if platform.machine() != "x86_64":
        pytest.skip("arm64 is tried with an emulator, from amd64")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Give `image/build.sh`: it returns the archive."""

    def run(*options: str, checkout: Path = CHECKOUT, umask: int = 0o022, **environment: str) -> Path:
        archive = tmp_path_factory.mktemp("archive") / "intel-agent.oci.tar"
        done = subprocess.run(
            [checkout / "image" / "build.sh", *options, "--output", archive],
            env=_environment(environment),
            umask=umask,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return archive

    return run


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return ours with a setting of pip that can be recognised, and without what pytest or tox set for themselves."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "TOX_", "COVERAGE_"))}
    hosts = f"{ours.get('PIP_TRUSTED_HOST', '')} {NEEDLE}".strip()
    return {**ours, "PIP_TRUSTED_HOST": hosts, **more}


@pytest.fixture(scope="session")
def archive(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Give the image for amd64, unpacked."""
    return opened(build("--arch", "amd64"), tmp_path_factory.mktemp("amd64"))


@pytest.fixture(scope="session")
def arm64(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Give the image for arm64, unpacked."""
    return opened(build("--arch", "arm64"), tmp_path_factory.mktemp("arm64"))


@pytest.fixture
def container(archive: Archive, tmp_path: Path) -> Iterator[Container]:
    """Give a container as a pod has one: no capability, nothing to be written but /tmp."""
    container = Container(archive, tmp_path / "bundle")
    yield container
    container.remove()
