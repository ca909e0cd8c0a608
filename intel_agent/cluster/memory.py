"""The device sections that were in force last, in a file that outlives the agent and the boot."""

import contextlib
import hashlib
import os

import msgspec

from intel_agent import ownfile
from intel_agent.config import Config, Devices

FILE = "devices.json"
LIMIT = 1 << 20
"""The largest file that is read, in bytes."""


class _Remembered(msgspec.Struct, frozen=True):
    """What is in the file. `key` says of which node and configuration the sections are."""

    key: str
    devices: Devices


class Memory:
    """One file, read once and written when it changes. Every method that may touch it belongs in a worker thread."""

    def __init__(self, directory: str, node: str) -> None:
        self.path = os.path.join(directory, FILE)
        self._node = node
        self._known: _Remembered | None = None
        self._loaded = False

    def recalled(self, config: Config) -> Devices | None:
        """Return the sections that were in force last with this configuration, if any are remembered.

        A file that is not there, not ours or not as we write it is no memory.
        """
        if not self._loaded:
            self._loaded = True
            with contextlib.suppress(OSError, msgspec.MsgspecError), open(self.path, "rb") as file:
                self._known = msgspec.json.decode(file.read(LIMIT), type=_Remembered)
        if self._known is None or self._known.key != self._key(config):
            return None
        return self._known.devices

    def keep(self, config: Config, devices: Devices) -> None:
        """Remember that with this configuration these sections are in force; the file changes at once or not at all.

        Raises:
            OSError: it cannot be written.
        """
        wanted = _Remembered(self._key(config), devices)
        if wanted == self._known:
            return
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        ownfile.replace(self.path, msgspec.json.encode(wanted) + b"\n", 0o644)
        self._known = wanted

    def _key(self, config: Config) -> str:
        meant = msgspec.json.encode([self._node, config.devices, config.node_overrides])
        return hashlib.sha256(meant).hexdigest()
