"""What the kernel's messages say of any device, whatever its kind.

Sources: drivers/base/core.c (`add`, `remove`), drivers/base/dd.c (`bind` comes after a probe that succeeded, `unbind`
when the driver is off), drivers/pci/pci-driver.c, `pci_uevent_ers` (`ERROR_EVENT`), and drivers/pci/pcie/err.c (its
order), lib/kobject_uevent.c (`SYNTH_UUID`: somebody wrote to a file `uevent`).
"""

from intel_agent.health.bodies import Bodies
from intel_agent.health.condition import EVERY_KIND
from intel_agent.health.record import Record
from intel_agent.model import Event, Fault, Reason, Verdict

RECOVERY = 60.0
"""Seconds after which a recovery from a PCIe error has failed if nothing was heard of its end."""
LEAVING = 2.5
"""Seconds until a device that is still there did not leave; the kernel tells of it before it takes the files away."""


def place(event: Event) -> str:
    """Return the path below /sys that an event is about."""
    return f"/sys{event.path}"


def synthetic(event: Event) -> bool:
    """Whether somebody asked for the message, for example `udevadm trigger`: nothing happened, then."""
    return "SYNTH_UUID" in event.properties


def understood(record: Record, event: Event, now: float, recovery: float, bodies: Bodies) -> Record:
    """Return the record after a message."""
    path = place(event)
    match event.action:
        case "remove" if path in bodies.carriers:
            left = Fault(Reason.GONE, "kernel", "it left the node")
            return record.reborn(path).told(EVERY_KIND, Verdict(path, left, seconds=LEAVING), now, recovery, bodies)
        case "add" | "remove":
            return record.reborn(path)
        case "bind":
            return record.bound(path, now)
        case "unbind" if event.subsystem == "pci" and path in bodies.carriers:
            free = Fault(Reason.UNBOUND, "kernel", "its driver let go of it: bind it to a driver again")
            return record.told(EVERY_KIND, Verdict(path, free), now, recovery, bodies)
        case "change" if event.subsystem == "pci" and (verdict := _recovery(path, event)) is not None:
            return record.told(EVERY_KIND, verdict, now, recovery, bodies)
        case _:
            return record


def _recovery(path: str, event: Event) -> Verdict | None:
    """Return what the message of a recovery from a PCIe error says.

    Kernels before 6.18 tell of a failure for the bridge only, and of a beginning not for every driver.
    """
    failed = Fault(Reason.NOT_RECOVERED, "kernel", "the kernel could not recover it from a PCIe error: see its log")
    match event.properties.get("ERROR_EVENT"):
        case "BEGIN_RECOVERY":
            begun = Fault(Reason.RECOVERING, "kernel", "the kernel recovers it from a PCIe error")
            return Verdict(path, begun, seconds=RECOVERY, then=failed)
        case "SUCCESSFUL_RECOVERY":
            return Verdict(path, over=_ERRORS)
        case "FAILED_RECOVERY":
            return Verdict(path, failed, over=frozenset({Reason.RECOVERING}))
        case _:
            return None


_ERRORS = frozenset({Reason.RECOVERING, Reason.NOT_RECOVERED, Reason.FATAL_ERRORS})
"""What a recovery that succeeds ends."""
