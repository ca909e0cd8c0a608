"""What the driver of a QAT device counts when something goes wrong with the device.

Sources: Documentation/ABI/testing/sysfs-driver-qat_ras (`errors_fatal`, `errors_nonfatal`),
drivers/crypto/intel/qat/qat_common/adf_sysfs_ras_counters.c (a driver that starts the device again counts from 0, and
the files are away while it is down), Documentation/ABI/testing/debugfs-driver-qat and
drivers/crypto/intel/qat/qat_common/adf_heartbeat.c (`heartbeat/queries_failed`).

`heartbeat/status` is not read: that is a test, which spoils the test of another who reads it at the same time, and
which resets a device that fails it if `auto_reset` is on. Of tests that others make, the failures are counted.
"""

from collections.abc import Mapping
from types import MappingProxyType

from intel_agent.errors import SysfsError
from intel_agent.model import Fault, Reason
from intel_agent.sysfs import Dir

_ERRORS = {
    "errors_fatal": Fault(Reason.FATAL_ERRORS, "qat_ras", "the QAT counted a fatal error: start it again (qat/state)"),
    "errors_nonfatal": Fault(Reason.NONFATAL_ERRORS, "qat_ras", "the QAT counted an uncorrectable error"),
}
_SILENT = Fault(Reason.HALTED, "heartbeat", "the QAT failed a test of its heartbeat: start it again (qat/state)")
_DIGITS = 24
"""Bytes that a count has at most."""


def counts(function: Dir, debugfs: Dir, *, down: bool) -> Mapping[Fault, int]:
    """Return the counts of a physical function, by what a rise means; a device that is `down` has none any more.

    Raises:
        SysfsError: one of them is there and cannot be read.
    """
    if down:
        return MappingProxyType(dict.fromkeys((*_ERRORS.values(), _SILENT), 0))
    found = {fault: function.optional_integer(f"qat_ras/{name}") for name, fault in _ERRORS.items()}
    found[_SILENT] = _failures(debugfs)
    return MappingProxyType({fault: count for fault, count in found.items() if count is not None})


def _failures(debugfs: Dir) -> int | None:
    """Return how many tests failed; `None` where debugfs does not say: it may be locked."""
    try:
        content = debugfs.optional_bytes("heartbeat/queries_failed", _DIGITS)
    except SysfsError:
        return None
    digits = (content or b"").rstrip(b"\0\n")  # the driver counts the end of the text in
    return int(digits) if digits.isdigit() else None
