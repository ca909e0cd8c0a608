"""Memory of the C library: one heap for all threads, and what is free goes back."""

import ctypes
import subprocess
import sys

import pytest

LIBRARY = ctypes.CDLL(None)

HEAP = """
import ctypes, sys, threading
from pathlib import Path
from intel_agent import heap
if sys.argv[1] == "shared":
    heap.share()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
places = []
thread = threading.Thread(target=lambda: places.append(library.malloc(1000)))
thread.start()
thread.join()
(heap,) = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[heap]")]
low, high = (int(each, 16) for each in heap.split("-"))
print(low <= places[0] < high)
"""


@pytest.mark.skipif(not hasattr(LIBRARY, "mallopt"), reason="this C library has one heap anyway")
@pytest.mark.parametrize(("heap", "on_the_first"), [("shared", "True\n"), ("its own", "False\n")])
def test_threads_take_memory_from_one_heap(heap: str, on_the_first: str) -> None:
    command = [sys.executable, "-c", HEAP, heap]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == on_the_first


FREED = """
import ctypes, re
from pathlib import Path
from intel_agent import heap
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def resident():
    return int(re.search(r"Anonymous: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1]) * 1024
heap.share()
size, count = 60_000, 1000
places = [library.malloc(size) for _ in range(count)]
for each in places:
    library.memset(each, 1, size)
for each in places[:-1]:  # the last one keeps the end of the heap where it is
    library.free(each)
before = resident()
heap.give_back()
print(before - resident() > size * count / 2)
"""


@pytest.mark.skipif(not hasattr(LIBRARY, "malloc_trim"), reason="this C library cannot")
def test_what_is_free_in_the_heap_goes_back_to_the_kernel() -> None:
    command = [sys.executable, "-c", FREED]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
