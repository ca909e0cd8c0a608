"""How hot a device is, by its own sensors.

Sources: Documentation/hwmon/sysfs-interface.rst (`temp*_input`, `_crit`, `_emergency`, `_label`; thousandths of a
degree), Documentation/ABI/testing/sysfs-driver-intel-xe-hwmon. Reading a sensor wakes the device: none is read while
it sleeps.
"""

import errno
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from intel_agent.errors import SysfsError
from intel_agent.model import Fault, Reason
from intel_agent.pci import asleep
from intel_agent.sysfs import Dir

_NO_READING = frozenset({errno.EAGAIN, errno.ENODATA})
"""What drivers say when a sensor has nothing to tell at the moment."""


class Temperature(NamedTuple):
    """How hot a sensor is, and the limits that it tells itself, in degrees Celsius."""

    sensor: str
    degrees: float
    critical: float | None
    emergency: float | None


def temperatures(function: Dir, sensors: Collection[str]) -> Iterator[Temperature]:
    """Yield how hot it is, by the sensors of devices with these names; nothing while the function sleeps.

    Raises:
        SysfsError: a sensor cannot be read.
    """
    if asleep(function):
        return
    for each in (function / "hwmon").children("hwmon*"):
        if each.optional_text("name") in sensors:
            for file in each.children("temp*_input"):
                yield from _channel(each, file.name.removesuffix("_input"))


def _channel(sensor: Dir, name: str) -> Iterator[Temperature]:
    if (degrees := _degrees(sensor, f"{name}_input")) is not None:
        label = sensor.optional_text(f"{name}_label") or name
        yield Temperature(label, degrees, _degrees(sensor, f"{name}_crit"), _degrees(sensor, f"{name}_emergency"))


def heat(measured: Iterable[Temperature], *, most: float, otherwise: float) -> Iterator[Fault]:
    """Yield what is too hot.

    What is hotter than `most` degrees Celsius has a fault. With 0 that is so at the emergency limit that the sensor
    tells, and above `otherwise` degrees where it tells none.
    """
    for each in measured:
        yield from _judged(each, most, otherwise)


def _judged(measured: Temperature, most: float, otherwise: float) -> Iterator[Fault]:
    label, degrees, critical, emergency = measured
    highest = most or (otherwise if emergency is None else 0.0)
    if not most and emergency is not None and degrees >= emergency:
        yield Fault(Reason.OVERHEATED, "hwmon", f"{label} is at its emergency limit of {emergency:g} degrees")
    elif highest and degrees > highest:
        yield Fault(Reason.OVERHEATED, "hwmon", f"{label} is hotter than {highest:g} degrees")
    if critical is not None and degrees >= critical:
        yield Fault(Reason.HOT, "hwmon", f"{label} is at its critical limit of {critical:g} degrees and slows down")


def _degrees(sensor: Dir, name: str) -> float | None:
    """Return a temperature in degrees Celsius; `None` when there is none, or none at the moment.

    Raises:
        SysfsError: it cannot be read.
    """
    try:
        thousandths = sensor.optional_integer(name)
    except SysfsError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_READING:
            return None
        raise
    return None if thousandths is None else thousandths / 1000
