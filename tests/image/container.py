"""A container of the image, restricted as the pods of a DaemonSet are."""

import json
import subprocess
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .archive import Archive

SECONDS = 60.0


class Container:
    """Runs commands by runc as the image's user: no capability, no privilege to gain, a read-only root."""

    def __init__(self, archive: Archive, bundle: Path) -> None:
        self._archive = archive
        self._bundle = bundle
        self._id = f"intel-agent-image-{uuid.uuid4()}"
        bundle.mkdir()

    def run(self, *arguments: str, entry_point: tuple[str, ...] = (), root: Path | None = None, status: int = 0) -> str:
        """Run the image's entry point, or another one, to its end and return what it printed.

        Raises:
            AssertionError: its exit code was not `status`, or it wrote to standard error.
        """
        self._configure([*entry_point, *arguments] if entry_point else [*self._entry_point, *arguments], {}, root)
        done = subprocess.run(self._command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert (done.returncode, done.stderr) == (status, "")
        return done.stdout

    @contextmanager
    def running(
        self, *arguments: str, mounts: Mapping[str, tuple[Path, str]], output: Path
    ) -> Generator["subprocess.Popen[bytes]"]:
        """Start the image's entry point with directories of ours, each as "ro" or "rw"."""
        self._configure([*self._entry_point, *arguments], mounts, None)
        with output.open("wb") as file:
            process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            yield process
        finally:
            self.remove()
            process.wait(SECONDS)

    def remove(self) -> None:
        """End what still runs."""
        subprocess.run(["runc", "delete", "--force", self._id], capture_output=True, timeout=SECONDS, check=False)

    @property
    def _entry_point(self) -> list[str]:
        entry_point: list[str] = self._archive.config["config"]["Entrypoint"]
        return entry_point

    @property
    def _command(self) -> list[str]:
        return ["runc", "run", "--bundle", str(self._bundle), self._id]

    def _configure(self, command: list[str], mounts: Mapping[str, tuple[Path, str]], root: Path | None) -> None:
        config = self._archive.config["config"]
        user, group = map(int, config["User"].split(":"))
        binds = [
            {"destination": place, "source": str(source), "type": "bind", "options": ["rbind", mode]}
            for place, (source, mode) in mounts.items()
        ]
        specification = {
            "ociVersion": "1.0.2",
            "process": {
                "args": command,
                "cwd": "/",
                "env": config["Env"],
                "user": {"uid": user, "gid": group},
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(root or self._archive.root), "readonly": True},
            "mounts": [*_FILE_SYSTEMS, *binds],
            "linux": {"namespaces": [{"type": each} for each in ("pid", "mount", "ipc", "uts", "network")]},
        }
        (self._bundle / "config.json").write_text(json.dumps(specification), encoding="utf-8")


_FILE_SYSTEMS = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
)
