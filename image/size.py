"""Says what the size of the image is made of: `size.py FILE.oci.tar`.

Each part is compressed by itself; what is left over is what the archive says of its files.
"""

import gzip
import json
import re
import sys
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import IO

SMALL = 0.02
"""Parts below this share of the whole are added up."""

PARTS = (
    (r"opt/intel-agent/lib/[^/]+/site-packages/(\w+)", r"\1 (Python)"),
    (r"usr/(?:local/)?lib/python[^/]+/lib-dynload/", "extensions of the standard library"),
    (r"usr/(?:local/)?lib/python[^/]+/", "the standard library"),
    (r"usr/(?:local/)?bin/", "the interpreter"),
    (r"usr/lib/[^/]+/([^/]+)", r"\1 (library)"),
    (r"usr/share/doc/", "licences of Debian's packages"),
)


def main() -> None:
    """Print the table, the largest part first."""
    parts: dict[str, list[bytes]] = defaultdict(list)
    with tarfile.open(Path(sys.argv[1])) as archive:
        layers = [_opened(archive, f"blobs/{digest.replace(':', '/')}") for digest in _layers(archive)]
        for layer in layers:
            for name, content in _files(layer):
                parts[_part(name)].append(content)
        compressed = sum(layer.seek(0, 2) for layer in layers)
    rows = {part: (len(b"".join(files)), len(gzip.compress(b"".join(files), 6))) for part, files in parts.items()}
    sys.stdout.write(_table(rows, compressed, sum(map(len, parts.values()))))


def _table(rows: dict[str, tuple[int, int]], compressed: int, files: int) -> str:
    whole, contents = (sum(each) for each in zip(*rows.values(), strict=True))
    lines = [f"| {part} | {size / 1e6:.2f} | {small / 1e6:.2f} |" for part, (size, small) in _gathered(rows)]
    about = f"| names, owners and times of {files} files | - | {(compressed - contents) / 1e6:.2f} |"
    total = f"| the image | {whole / 1e6:.2f} | {compressed / 1e6:.2f} |"
    return "\n".join(["| part | MB | MB compressed |", "| --- | --- | --- |", *lines, about, total, ""])


def _layers(archive: tarfile.TarFile) -> list[str]:
    index = _json(archive, "index.json")
    manifest = _json(archive, f"blobs/{index['manifests'][0]['digest'].replace(':', '/')}")
    return [layer["digest"] for layer in manifest["layers"]]


def _json(archive: tarfile.TarFile, name: str) -> dict[str, list[dict[str, str]]]:
    content: dict[str, list[dict[str, str]]] = json.load(_opened(archive, name))
    return content


def _opened(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise SystemExit(f"{name} of the archive is not a file: it is no OCI archive")
    return file


def _files(layer: IO[bytes]) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=layer, mode="r:gz") as content:
        named = [(member.name, content.extractfile(member)) for member in content if member.isfile()]
        return [(name, file.read()) for name, file in named if file is not None]


def _part(name: str) -> str:
    """Return what a file is part of."""
    found = ((re.match(pattern, name), part) for pattern, part in PARTS)
    return next((match.expand(part) for match, part in found if match), "lists of contents, and the rest")


def _gathered(rows: dict[str, tuple[int, int]]) -> list[tuple[str, tuple[int, int]]]:
    """Return the rows by their compressed size, the small ones as one at the end."""
    limit = SMALL * sum(small for _, small in rows.values())
    large = sorted(((part, row) for part, row in rows.items() if row[1] >= limit), key=lambda each: -each[1][1])
    rest = [row for row in rows.values() if row[1] < limit]
    return [*large, (f"{len(rest)} smaller parts", (sum(row[0] for row in rest), sum(row[1] for row in rest)))]


if __name__ == "__main__":
    main()
