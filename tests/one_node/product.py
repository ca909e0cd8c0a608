"""What is delivered: the chart, and the image, built once for each commit."""

import os
import shutil
import subprocess
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
CHART = CHECKOUT / "charts" / "intel-agent"
REGISTRY = "localhost"

PARTS = ("Containerfile", "README.md", "LICENSE", "image", "intel_agent", "pyproject.toml")
"""What the image is made of."""

BUILD_SECONDS = 600.0
"""How long a build may take whose downloads are slow."""


def image() -> str:
    """Return the image as the chart calls it when it is told the registry only."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    return f"{REGISTRY}/intel-agent:{version}"


def archive() -> Path:
    """Return the image's archive of this commit, which is built when it is not there.

    With changes of its parts that are not committed it is built every time.
    """
    changed = _git("status", "--porcelain", "--", *PARTS)
    commit = "changed" if changed else _git("rev-parse", "HEAD").strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "intel-agent", "cluster-image")
    built = cache / f"{commit}.oci.tar"
    if changed or not built.exists():
        shutil.rmtree(cache, ignore_errors=True)
        draft = built.with_suffix(".draft")
        _build(draft)
        draft.replace(built)
    return built


def _build(output: Path) -> None:
    # Without what pytest and tox set for themselves.
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "TOX_", "COVERAGE_"))}
    command = [str(CHECKOUT / "image" / "build.sh"), "--name", image(), "--output", str(output)]
    done = subprocess.run(command, env=ours, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
