"""What is answered over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Pages = Mapping[str, Callable[[frozenset[str]], Awaitable[Page]]]
"""What makes each page, by path; it is given the names in the query (`?verbose`)."""


def plain(status: int, text: str) -> Page:
    return Page(f"{text}\n".encode(), status=status)
