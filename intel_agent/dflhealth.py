"""What FPGA cards with a Device Feature List note of their own errors.

Sources: Documentation/ABI/testing/sysfs-platform-dfl-fme (`errors/fme_errors`, `pcie0_errors`, `pcie1_errors`,
`nonfatal_errors`, `catfatal_errors`), Documentation/ABI/testing/sysfs-platform-dfl-port (`errors/errors`),
drivers/fpga/dfl-afu-error.c (the driver resets a port to clear its errors). Each is a register in hexadecimal, 0 when
there is nothing; a driver without a file for it has none.
"""

import re
from collections.abc import Iterator

from intel_agent.dfl import Unit
from intel_agent.errors import SysfsError
from intel_agent.model import Fault, Reason, Signs
from intel_agent.sysfs import Dir, Host

_REGISTER = re.compile(r"0x[0-9a-f]{1,16}")
_CLEAR = "write what it says to it when the cause is gone"
_ENGINE = (
    Fault(Reason.FATAL_ERRORS, "catfatal_errors", "the card noted a catastrophic or fatal error: look at its log"),
    Fault(Reason.NONFATAL_ERRORS, "nonfatal_errors", "the card noted an error that is not fatal"),
    Fault(Reason.ERROR_REGISTER, "fme_errors", f"the card's engine noted an error in errors/fme_errors: {_CLEAR}"),
    Fault(Reason.ERROR_REGISTER, "pcie0_errors", f"the card noted an error of its link in pcie0_errors: {_CLEAR}"),
    Fault(Reason.ERROR_REGISTER, "pcie1_errors", f"the card noted an error of its link in pcie1_errors: {_CLEAR}"),
)
_PORT = (
    Fault(Reason.FATAL_ERRORS, "errors", f"the port noted an error of what is programmed, in errors/errors: {_CLEAR}"),
)
"""What it means that a register is not 0; the source is the file."""


def signs(host: Host, unit: Unit) -> Signs:
    """Return what a port or an engine has noted; that its registers cannot be read, if so."""
    try:
        with host.reading(unit.directory):
            faults = frozenset(_noted(unit.directory, _PORT if unit.is_port else _ENGINE))
    except SysfsError as error:
        faults = frozenset({Fault(Reason.UNREADABLE, "sysfs", str(error))})
    return Signs(host.kernel_path(unit.directory), faults)


def _noted(directory: Dir, registers: tuple[Fault, ...]) -> Iterator[Fault]:
    for fault in registers:
        text = directory.optional_text(f"errors/{fault.source}")
        if text is None:
            continue
        if not _REGISTER.fullmatch(text):
            raise SysfsError(f"{directory.path}/errors/{fault.source}", f"{text[:40]!r} is no hexadecimal number")
        if int(text, 16):
            yield fault
