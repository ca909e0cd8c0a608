"""The contract's defaults: what a kind need not say."""

import msgspec
import pytest

from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.sgx import Sgx
from intel_agent.errors import EditsError
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device, DeviceNode, Event
from intel_agent.rules import Rule
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


def test_a_kind_makes_nothing_of_messages() -> None:
    assert list(Backend().diagnose(Event("change", "drm", "/devices/x", {"WEDGED": "rebind"}))) == []


def test_a_kind_must_say_how_it_is_found(host: Host) -> None:
    with pytest.raises(NotImplementedError):
        Backend().discover(host)


def test_a_kind_without_rules_leaves_what_was_found() -> None:
    found = Found((device("a", DeviceNode("/dev/a", "/dev/a")),))

    assert Backend().ruled(found) is found


@pytest.mark.parametrize(
    ("kind", "rule", "problems"),
    [
        (Gpu, {"shares": 2, "resource": "flex"}, {}),
        (
            Gpu,
            {"resource": "monitoring"},
            {"resource": 'found "monitoring", which means something else here; allowed any other name'},
        ),
        (Sgx, {"shares": 2}, {"shares": "found 2; devices of this kind are not shared: leave it out"}),
        (Sgx, {"resource": "rare"}, {}),
        *(
            (
                Sgx,
                {"resource": name},
                {"resource": f'found "{name}", which means something else here; allowed any other name'},
            )
            for name in ("enclave", "provision", "qe", "registration")
        ),
    ],
)
def test_kinds_refuse_what_they_cannot_do(kind: type[Backend], rule: dict[str, object], problems: object) -> None:
    assert kind.objections(msgspec.convert({"match": {}, **rule}, Rule)) == problems
