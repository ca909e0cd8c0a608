"""The C library's heap, from which Python takes everything that is larger than 512 bytes.

Sources: mallopt(3), malloc_trim(3). A C library without such functions does without them.
"""

import ctypes
from contextlib import suppress

LARGE = 128 * 1024
"""Blocks of at least so many bytes go back to the kernel as soon as they are free, as pages for Prometheus are."""

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
"""M_ARENA_MAX and M_MMAP_THRESHOLD of malloc.h. The second one grows by itself unless it is set."""


def share() -> None:
    """Have all threads take memory from one heap: what is free there is of use to every one (docs/performance.md).

    To be called before the first thread begins.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Give what is free in the heap back to the kernel: after something large was made and put together.

    It takes up to some milliseconds, in which no other thread gets memory: nothing for where it matters how fast it is.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
