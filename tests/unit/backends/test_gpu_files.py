"""What the files of a graphics card say of its health."""

from dataclasses import replace

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.inventory import Found
from intel_agent.model import NO_READINGS, Readings, Reason
from intel_agent.simulation.machines import Gpu as Card
from intel_agent.sysfs import Host

CARD = "/sys/devices/pci0000:3a/0000:3b:00.0"
SENSOR = f"{CARD}/hwmon/hwmon3"
MACHINE = "\n".join(Card(0, CARD).lines())


def machine(*lines: str) -> str:
    names = {line.split()[0] for line in lines}
    return "\n".join([*(each for each in MACHINE.splitlines() if each.split()[0] not in names), *lines])


def sensor(*lines: str, name: str = "xe") -> str:
    return machine(f"{SENSOR}/name = {name}", *(f"{SENSOR}/{line}" for line in lines))


def reasons(host: Host, limit: int = 0) -> set[Reason]:
    (card,) = Found.of(Gpu(temperature_limit=limit).discover(host)).devices
    return {each.reason for each in card.faults}


LIMITS = ("temp2_crit = 95000", "temp2_emergency = 105000", "temp2_label = pkg")
COOL = set[Reason]()


@pytest.mark.parametrize(
    ("tree", "limit", "found"),
    [
        pytest.param(MACHINE, 0, COOL, id="no sensor"),
        pytest.param(sensor("temp2_input = 94999", *LIMITS), 0, COOL, id="cool"),
        pytest.param(sensor("temp2_input = 95000", *LIMITS), 0, {Reason.HOT}, id="at the critical limit"),
        pytest.param(
            sensor("temp2_input = 105000", *LIMITS), 0, {Reason.HOT, Reason.OVERHEATED}, id="at the emergency limit"
        ),
        pytest.param(sensor("temp2_input = 80001", *LIMITS), 80, {Reason.OVERHEATED}, id="above the configured one"),
        pytest.param(sensor("temp2_input = 80000", *LIMITS), 80, COOL, id="the configured one may be reached"),
        pytest.param(
            sensor("temp2_input = 105000", *LIMITS), 110, {Reason.HOT}, id="the configured one comes before its own"
        ),
        pytest.param(sensor("temp2_input = 100000"), 0, COOL, id="without a limit: 100, as the existing plugin"),
        pytest.param(sensor("temp2_input = 100001"), 0, {Reason.OVERHEATED}, id="without a limit: above 100"),
        pytest.param(sensor("temp3_input = 120000"), 0, {Reason.OVERHEATED}, id="any channel"),
        pytest.param(sensor("temp1_input = 120000", name="i915"), 0, {Reason.OVERHEATED}, id="i915"),
        pytest.param(sensor("temp1_input = 120000", name="i915_gt0"), 0, COOL, id="a part of the card"),
        pytest.param(sensor("temp1_input = 120000", name="nvme"), 0, COOL, id="somebody else's sensor"),
        pytest.param(
            machine(
                f"{SENSOR}/name = xe", f"{SENSOR}/temp2_input = 120000", f"{CARD}/power/runtime_status = suspended"
            ),
            0,
            COOL,
            id="what sleeps is not read",
        ),
        pytest.param(
            machine(f"{CARD}/survivability_mode = Survivability mode type: Runtime"),
            0,
            {Reason.SURVIVABILITY},
            id="survivability at run time leaves all nodes there",
        ),
    ],
)
def test_a_card_says_how_it_is(host: Host, limit: int, found: set[Reason]) -> None:
    assert reasons(host, limit) == found


@pytest.mark.parametrize("tree", [sensor("temp2_input = hot")])
def test_a_sensor_that_says_something_else_makes_the_card_unreadable(host: Host) -> None:
    found = Found.of(Gpu().discover(host))
    assert (found.devices, [each.rule for each in found.exclusions]) == ((), ["unreadable"])


@pytest.mark.parametrize("tree", [sensor("temp2_input = 45500", "temp2_label = pkg", "temp3_input = 30000")])
def test_what_the_sensors_say_is_told(host: Host) -> None:
    (card,) = Found.of(Gpu().discover(host)).devices
    assert card.readings == Readings({"pkg": 45.5, "temp3": 30.0})
    (again,) = Found.of(Gpu().discover(host)).devices
    assert replace(again, readings=NO_READINGS) == card  # other readings make no other device
