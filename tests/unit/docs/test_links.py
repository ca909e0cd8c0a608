"""A link from one page to another leads to a file that is there, and to one of its headings."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
PAGES = tuple(
    sorted(
        page
        for pattern in ("*.md", "docs/**/*.md", "changes/*.md", "charts/*/*.md", "protos/*.md", "tests/*/*.md")
        for page in REPOSITORY.glob(pattern)
    )
)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub calls them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    words = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each).lower() for each in headings)
    return {re.sub(r"[^\w -]", "", each).replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    folder = REPOSITORY if page.parent.name == "changes" else page.parent  # fragments become a part of CHANGELOG.md
    ends = {(folder / path if path else page, anchor) for path, anchor in links}

    assert [str(end) for end, _ in ends if not end.exists()] == []
    assert [f"{end}#{anchor}" for end, anchor in ends if anchor and anchor not in anchors(end)] == []


def test_each_decision_has_a_number_of_its_own() -> None:
    records = sorted((REPOSITORY / "docs/adr").glob("*.md"))
    numbers = [int(each.name[:4]) for each in records]

    assert len({*numbers}) == len(numbers)
    assert [int(each.read_text(encoding="utf-8").split()[1].rstrip(".")) for each in records] == numbers
