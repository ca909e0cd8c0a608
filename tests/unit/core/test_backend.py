"""The contract's defaults: what a kind need not say."""

import pytest

from intel_agent.backends import Backend
from intel_agent.errors import EditsError
from intel_agent.model import ContainerEdits, Device, DeviceNode
from intel_agent.sysfs import Host


def device(name: str, node: DeviceNode) -> Device:
    return Device(name, "x/y", f"/sys/{name}", ContainerEdits((node,)), name)


def test_a_container_gets_the_sum_of_its_devices() -> None:
    first, second = DeviceNode("/dev/a", "/dev/a"), DeviceNode("/dev/b", "/dev/b")

    assert Backend().allocate([device("a", first), device("b", second), device("a", first)]) == ContainerEdits(
        (first, second)
    )


def test_devices_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(EditsError):
        Backend().allocate([device("a", DeviceNode("/dev/a", "/dev/1")), device("b", DeviceNode("/dev/a", "/dev/2"))])


def test_a_kind_has_no_preferences_and_no_problems_of_its_own() -> None:
    assert Backend().policy("x/y") is None
    assert Backend().problems() == {}


def test_a_kind_must_say_how_it_is_found(host: Host) -> None:
    with pytest.raises(NotImplementedError):
        Backend().discover(host)
