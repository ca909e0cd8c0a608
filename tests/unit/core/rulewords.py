"""Rules and cards for tests."""

import msgspec

from intel_agent.model import (
    NO_EDITS,
    Device,
)
from intel_agent.rules import Kind, Rule

OVERALL = "gpu.intel.com/monitoring"
KIND = Kind("devices.gpu", lambda device: device.shares is not None, frozenset({OVERALL}))


def rule(**keys: object) -> Rule:
    """Return a rule as the configuration has it; keys that are none of its own belong to `match`."""
    own = {"shares", "resource", "hide", "reserve", "preferLast", "reasons"}
    match = {key.removeprefix("of_"): value for key, value in keys.items() if key not in own}
    return msgspec.convert({"match": match, **{key: value for key, value in keys.items() if key in own}}, Rule)


def card(number: int, *, numa: int | None = None, shares: int | None = 1, **attributes: str) -> Device:
    return Device(
        id=f"card{number}",
        resource=f"gpu.intel.com/{attributes.get('driver', 'i915')}",
        sysfs_path=f"/sys/devices/pci0000:00/0000:00:{number:02x}.0",
        edits=NO_EDITS,
        cdi_name=f"card{number}",
        shares=shares,
        numa_nodes=() if numa is None else (numa,),
        attributes=attributes,
    )
