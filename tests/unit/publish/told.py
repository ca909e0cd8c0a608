"""What kubelet is told of graphics cards, in the words of tests."""

from collections.abc import Mapping

from intel_agent._proto.v1beta1 import ListAndWatchResponse
from intel_agent.inventory import Found, Inventory
from intel_agent.model import NO_EDITS, Device, Fault, Reason
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.roster import NO_FAULTS, Roster, projected

LINGER = 30.0
NO_HINT: list[int] = []
NOBODY = Holdings(known=True)
I915 = "gpu.intel.com/i915"
XE = "gpu.intel.com/xe"


def card(
    number: int = 0, *, resource: str = I915, shares: int | None = 2, numa: tuple[int, ...] = (), bad: bool = False
) -> Device:
    faults = frozenset({Fault(Reason.UNREADABLE, "sysfs", "does not answer")}) if bad else frozenset[Fault]()
    return Device(
        id=f"card{number}",
        resource=resource,
        sysfs_path=f"/sys/devices/{number}",
        edits=NO_EDITS,
        cdi_name=f"card{number}",
        shares=shares,
        numa_nodes=numa,
        faults=faults,
    )


def inventory(*devices: Device) -> Inventory:
    return Inventory.of({"gpu": Found(devices)})


def held(*keys: Key) -> Holdings:
    return Holdings({key: f"default/pod-of-{key[1]}/main" for key in keys}, known=True)


def told(
    before: Roster,
    *devices: Device,
    holdings: Holdings = NOBODY,
    now: float = 0.0,
    faults: Mapping[Key, Fault] = NO_FAULTS,
) -> Roster:
    return projected(before, inventory(*devices), holdings, now=now, linger=LINGER, faults=faults)


def health(roster: Roster, resource: str = I915) -> dict[str, str]:
    message = ListAndWatchResponse.parse(roster.listings[resource].message)
    return {each.id: each.health for each in message.devices}


def numa(roster: Roster, resource: str = I915) -> dict[str, list[int]]:
    message = ListAndWatchResponse.parse(roster.listings[resource].message)
    return {each.id: [node.id for node in each.topology.nodes] if each.topology else [] for each in message.devices}


def reasons(roster: Roster, resource: str = I915) -> dict[str, set[Reason]]:
    return {
        each: {fault.reason for fault in line.faults} for line in roster.listings[resource].lines for each in line.ids
    }
