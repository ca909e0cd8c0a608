"""What an OCI archive says and has, read without the tools that made it."""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive with one image, unpacked."""

    path: Path
    annotations: Mapping[str, str]
    """Of the image in the archive's index."""
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    """Digests."""
    size: int
    """What a registry has to send: bytes of the compressed layers."""
    root: Path
    """The image's file system."""

    @property
    def site(self) -> Path:
        (site,) = self.root.glob("opt/intel-agent/lib/python3.*/site-packages")
        return site

    def distributions(self) -> dict[str, str]:
        """Return the versions of what Python's metadata says is installed, by lower-case name."""
        return {each.name.lower(): each.version for each in metadata.distributions(path=[str(self.site)])}

    def files(self) -> dict[str, Path]:
        """Return regular files and links by their path in the image."""
        return {
            f"/{path.relative_to(self.root)}": path
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


def opened(path: Path, place: Path) -> Archive:
    """Unpack an archive below the empty directory `place`."""
    with tarfile.open(path) as archive:
        archive.extractall(place / "layout", filter="data")
    index = json.loads((place / "layout" / "index.json").read_bytes())
    (entry,) = index["manifests"]
    manifest = json.loads(_blob(place, entry).read_bytes())
    for layer in manifest["layers"]:
        assert layer["mediaType"] == LAYER
        with tarfile.open(_blob(place, layer)) as content:
            content.extractall(place / "root", filter="fully_trusted")
    return Archive(
        path=path,
        annotations=entry["annotations"],
        config=json.loads(_blob(place, manifest["config"]).read_bytes()),
        layers=tuple(layer["digest"] for layer in manifest["layers"]),
        size=sum(layer["size"] for layer in manifest["layers"]),
        root=place / "root",
    )


def _blob(place: Path, descriptor: Mapping[str, Any]) -> Path:
    blob: Path = place / "layout" / "blobs" / str(descriptor["digest"]).replace(":", "/")
    assert blob.stat().st_size == descriptor["size"]
    return blob
