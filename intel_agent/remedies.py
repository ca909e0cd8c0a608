"""What to do about each reason, in the words of docs/faults.md; a test compares the two."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from intel_agent.model import Reason

_JUDGED = "Read the detail: the part, and xpumd's own words."

REMEDIES: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.UNREADABLE: "Look at the kernel log for the device.",
        Reason.DISABLED: (
            "Nothing if that was intended, but for the pod that has it; otherwise enable it: the fault's detail "
            "says how."
        ),
        Reason.HALTED: (
            "The kernel log says whether a driver reset, a function reset or a reboot is needed. "
            "QAT: `down`, then `up` in `qat/state`."
        ),
        Reason.UNIDENTIFIED: (
            "Program the card. If it is programmed, look at the kernel log and at `lspci`: the card may have "
            "fallen off the bus."
        ),
        Reason.GONE: (
            "Nothing if that was intended; otherwise look at `device.removed` and `device.excluded` in the log."
        ),
        Reason.HELD: "Nothing: it ends with the pod.",
        Reason.UNDEFINED: (
            "Read the problem of `cdi.failed` in the log; make the directory writable, or set `cdi: none` where "
            "that is enough."
        ),
        Reason.RESERVED: "Nothing: it is meant so. Take the rule away to give the device to containers.",
        Reason.WEDGED: (
            "The fault's detail names what the driver asks for: bind it anew, reset the card, flash its firmware,"
            " or cut its power."
        ),
        Reason.HUNG: "If it repeats: look at the kernel log for the job that hangs it.",
        Reason.UNBOUND: "Bind it to a driver again.",
        Reason.OFF_BUS: "Look at the kernel log for the slot; reset or reseat the card.",
        Reason.RECOVERING: "Nothing yet.",
        Reason.NOT_RECOVERED: (
            "The kernel log says which function had no driver for it. Bind the driver anew, remove and rescan the"
            " device, or reboot."
        ),
        Reason.FATAL_ERRORS: (
            "The kernel log has the error and its origin. Start the device again: bind its driver anew; "
            "QAT: `down`, then `up` in `qat/state`. FPGA: write what the register says to it, which resets the port."
        ),
        Reason.NONFATAL_ERRORS: "The kernel log has the error and its origin.",
        Reason.POWER: "Bind its driver anew.",
        Reason.LINK_WIDTH: "Reseat the card; look for a damaged slot or riser.",
        Reason.LINK_DOWN: ("Look at the cable, the module and the switch; `ip link show` tells what the kernel sees."),
        Reason.DUMPED: "Read `devcoredump/data` before it goes away by itself.",
        Reason.RESETTING: "If it repeats: look at the kernel log for the job that hangs it.",
        Reason.SURVIVABILITY: "Flash its firmware, then bind its driver anew.",
        Reason.HOT: "Look after the cooling.",
        Reason.OVERHEATED: "Look after the cooling.",
        Reason.ERROR_REGISTER: (
            "Find the program; `errors` keeps the last one until the driver is bound anew. "
            "FPGA: write what the register says to it."
        ),
        Reason.JUDGED_WARNING: _JUDGED,
        Reason.JUDGED_CRITICAL: _JUDGED,
        Reason.JUDGED_FAILED: _JUDGED,
        Reason.MARKED: "Read the detail; `intel-agent mark DEVICE auto` ends it.",
    }
)
