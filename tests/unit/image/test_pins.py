"""The files that pin what the image is made of follow pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[3]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
REMEDY = "; write it again as docs/image.md says"


def pins(name: str) -> dict[str, str]:
    text = (CHECKOUT / "image" / name).read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("requirements.txt", PROJECT["project"]["dependencies"]),
        ("build-requirements.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_what_the_project_requires_is_pinned(file: str, wanted: list[str]) -> None:
    pinned = pins(file)
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name), "nothing")
        assert version in requirement.specifier, f"{file} pins {requirement.name} to {version}{REMEDY}"


def test_the_containerfile_has_the_version_of_a_checkout_without_tags() -> None:
    text = (CHECKOUT / "Containerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={PROJECT['tool']['hatch']['version']['fallback-version']}\n" in text
