"""How graphics drivers tell that a card is ill: in messages, of which no file shows anything later, and in files.

Sources: Documentation/gpu/drm-uapi.rst, "Device Wedging" (`WEDGED`, on the primary node, since Linux 6.15),
drivers/gpu/drm/drm_drv.c, drivers/gpu/drm/i915/gt/intel_reset.c (`ERROR=1`, `RESET=1`, then `ERROR=0` or a wedge; no
message for the reset of a single engine), drivers/gpu/drm/xe/xe_survivability_mode.c (`survivability_mode`).
"""

import re
from collections.abc import Iterable, Iterator

from intel_agent import hwmon
from intel_agent.model import Event, Fault, Reason, Verdict
from intel_agent.sysfs import Dir

_CARD = re.compile(r"(?P<function>/devices/.+)/drm/card[0-9]+")
_METHOD = re.compile(r"[a-z-]{1,32}")

POWER_CYCLE = "cold-reset"
"""The method of which the driver says that nothing less helps."""

RESET = 70.0
"""Seconds after which a reset has failed: i915 gives it 60, and before Linux 6.15 says nothing if it fails."""

_SENSORS = frozenset({"i915", "xe"})
"""How drivers call the sensors of a whole card; i915 has others for parts of it."""
_HOTTEST = 100.0
"""Degrees Celsius that a card may have if it tells no limit of its own: the default of Intel's device plugin."""

_REMEDIES = {
    "rebind": "bind its driver anew",
    "bus-reset": "unbind its driver, reset the card (write 1 to its file reset) and bind the driver again",
    "vendor-specific": "flash its firmware (xe: survivability mode)",
    POWER_CYCLE: "cut its power: shut the machine down and start it again",
}


def diagnosed(event: Event) -> Iterator[Verdict]:
    """Yield what a message of the subsystem `drm` says of the card's PCI function."""
    card = _CARD.fullmatch(event.path)
    if card is None or event.subsystem != "drm" or event.action != "change":
        return
    path = f"/sys{card['function']}"
    if (methods := event.properties.get("WEDGED")) is not None:
        yield _wedged(path, methods)
    match event.properties.get("ERROR"):
        case "1":
            begun = Fault(Reason.RESETTING, "drm", "it hung, and its driver resets it")
            failed = Fault(Reason.WEDGED, "drm", "its driver did not come back from a reset: bind it anew")
            yield Verdict(path, begun, seconds=RESET, then=failed)
        case "0":
            yield Verdict(path, over=_RESETTING)
        case _:
            pass


def _wedged(path: str, methods: str) -> Verdict:
    """Return what recovery methods, mild ones first, say; `none` asks nothing of anybody."""
    known = [each for each in methods.split(",") if _METHOD.fullmatch(each)]
    if known == ["none"]:
        return Verdict(path, Fault(Reason.HUNG, "drm", "it hung, and its driver reset it"), passed=True)
    remedies = [_REMEDIES[each] for each in known if each in _REMEDIES]
    detail = f"the driver gave it up (WEDGED={','.join(known)}): {', or '.join(remedies) or 'bind its driver anew'}"
    fault = Fault(Reason.WEDGED, "drm", detail)
    return Verdict(path, fault, over=_RESETTING, outlasts_driver=known == [POWER_CYCLE])


_RESETTING = frozenset({Reason.RESETTING})


def temperatures(function: Dir) -> tuple[hwmon.Temperature, ...]:
    """Return how hot a card is.

    Raises:
        SysfsError: a sensor cannot be read.
    """
    return tuple(hwmon.temperatures(function, _SENSORS))


def signs(function: Dir, measured: Iterable[hwmon.Temperature], limit: float) -> Iterator[Fault]:
    """Yield what the files of a card say. It may be as hot as `limit` degrees; 0: as it says itself.

    Raises:
        SysfsError: they cannot be read.
    """
    if function.exists("survivability_mode"):
        yield Fault(Reason.SURVIVABILITY, "sysfs", "it is in survivability mode: flash its firmware")
    yield from hwmon.heat(measured, most=limit, otherwise=_HOTTEST)
