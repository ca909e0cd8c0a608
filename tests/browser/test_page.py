"""The page for people, as a real browser shows it."""

import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


@pytest.fixture
def address() -> Iterator[str]:
    """Run the demo, which serves the page, and give its address."""
    command = [sys.executable, "-m", "intel_agent", "demo", "--seconds", "600"]
    with (
        tempfile.TemporaryFile("w+") as rest,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=rest, text=True) as demo,
    ):
        assert demo.stdout is not None
        yield next(line.split()[-1] for line in demo.stdout if "for a browser:" in line)
        demo.terminate()


def test_devices_are_in_the_document(address: str) -> None:
    shown = subprocess.run([*BROWSER, "--dump-dom", address], capture_output=True, text=True, check=True).stdout

    for text in ("gpu.intel.com/xe", "card0", "healthy", "wq-user-shared-wq0.0"):
        assert text in shown


@pytest.mark.parametrize("width", [1280, 500])
def test_the_picture_has_something_in_it(address: str, width: int, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    window = f"--window-size={width},1400"
    told = subprocess.run(
        [*BROWSER, "--enable-logging=stderr", window, f"--screenshot={picture}", address],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "CONSOLE" not in told.stderr, "the browser complains of the page"
    assert (size := dimensions(picture)) == (width, 1400), size
    assert len(colours(picture)) > 50, "the page is empty"


def dimensions(picture: Path) -> tuple[int, int]:
    """Return width and height of a PNG file (https://www.w3.org/TR/png-3/#11IHDR)."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height


def colours(picture: Path) -> set[bytes]:
    """Return groups of three bytes of the picture, as they are stored: many only if much is drawn."""
    content, place, data = picture.read_bytes(), 8, b""
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        if content[place + 4 : place + 8] == b"IDAT":
            data += content[place + 8 : place + 8 + length]
        place += length + 12
    pixels = zlib.decompress(data)
    return {pixels[each : each + 3] for each in range(0, len(pixels), 3)}
