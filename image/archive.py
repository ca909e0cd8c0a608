"""Packs an OCI layout into an archive for `ctr images import`: `archive.py LAYOUT NAME FILE.oci.tar`.

The same layout gives the same bytes.
"""

import json
import sys
import tarfile
from pathlib import Path

CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation by which containerd names what it imports."""


def main() -> None:
    layout, name, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    for manifest in index["manifests"]:
        manifest.setdefault("annotations", {})[CONTAINERD_NAME] = name
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(layout.rglob("*")):
            archive.add(path, str(path.relative_to(layout)), recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


if __name__ == "__main__":
    main()
