"""IAA: work queues of the driver idxd."""

from typing import ClassVar

from intel_agent.backends.idxd import Idxd


class Iaa(Idxd, frozen=True, kw_only=True):
    """In-Memory Analytics Accelerator: compresses, decompresses and filters memory."""

    name: ClassVar[str] = "iaa"
    prefix: ClassVar[str] = "iax"
    device_ids: ClassVar[frozenset[str]] = frozenset({"0x0cfe", "0x1216"})
