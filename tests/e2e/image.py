"""A container image that needs no registry: busybox in an OCI archive."""

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

IMAGE = "localhost/busybox:e2e"
"""The one image of all containers, also of the pods' sandboxes."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"


def write_image(archive: Path) -> None:
    """Write the OCI archive for `ctr images import`."""
    layer = _layer()
    blobs: dict[str, bytes] = {}
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["sleep", "2147483647"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _blob(blobs, json.dumps(config).encode(), f"{_OCI}.config.v1+json"),
        "layers": [_blob(blobs, layer, f"{_OCI}.layer.v1.tar")],
    }
    entry = _blob(blobs, json.dumps(manifest).encode(), f"{_OCI}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": IMAGE}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        for digest, content in blobs.items():
            _add(tar, f"blobs/sha256/{digest.removeprefix('sha256:')}", content)


def _layer() -> bytes:
    busybox = shutil.which("busybox")
    assert busybox, "install busybox-static"
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), mode=0o755)
        for name in applets:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return content.getvalue()


def _blob(blobs: dict[str, bytes], content: bytes, media_type: str) -> dict[str, object]:
    blobs[_digest(content)] = content
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
