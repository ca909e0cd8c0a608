"""Laws of looks and inventories."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from intel_agent.inventory import Change, Found, Inventory
from intel_agent.model import NO_EDITS, UNREADABLE_RULE, Device, Exclusion, Fault, Health, Reason, Signs

HALTED = Fault(Reason.HALTED, "sysfs", "it stopped")
DEVICES = st.builds(
    Device,
    id=st.sampled_from(["a", "a-0", "b", "c"]),
    resource=st.sampled_from(["x/1", "x/2"]),
    sysfs_path=st.sampled_from(["/sys/1", "/sys/2", "/sys/3"]),
    edits=st.just(NO_EDITS),
    cdi_name=st.just("a"),
    shares=st.sampled_from([None, 1, 2]),
    faults=st.sampled_from([frozenset[Fault](), frozenset({HALTED})]),
)
EXCLUSIONS = st.builds(
    Exclusion,
    path=st.sampled_from(["/sys/1", "/sys/2", "/sys/3"]),
    rule=st.sampled_from([UNREADABLE_RULE, "denied"]),
    evidence=st.just("seen"),
    remedy=st.just("do"),
)
LOOKS = st.lists(DEVICES | EXCLUSIONS, max_size=8).map(Found.of)
INVENTORIES = st.dictionaries(st.sampled_from(["gpu", "dsa"]), LOOKS).map(Inventory.of)


def device(name: str, path: str = "/sys/1", *, shares: int | None = None) -> Device:
    return Device(name, "x/1", path, NO_EDITS, name, shares)


def unreadable(path: str) -> Exclusion:
    return Exclusion(path, UNREADABLE_RULE, "input/output error", "wait")


def claimed(inventory: Inventory) -> list[tuple[str, str]]:
    return [(each.resource, name) for each in inventory.devices for name in each.ids]


@given(st.lists(DEVICES | EXCLUSIONS, max_size=8))
def test_a_look_loses_nothing(items: list[Device | Exclusion]) -> None:
    seen = Found.of(items)
    paths = [each.sysfs_path for each in seen.devices] + [each.path for each in seen.exclusions]

    assert sorted(paths) == sorted(each.sysfs_path if isinstance(each, Device) else each.path for each in items)


@given(INVENTORIES)
def test_an_id_belongs_to_one_device(inventory: Inventory) -> None:
    assert len(claimed(inventory)) == len(set(claimed(inventory)))


def test_signs_are_no_devices() -> None:
    signs = Signs("/sys/1", frozenset({HALTED}), {HALTED: 3})

    assert Found.of([signs, device("a")]) == Found((device("a"),), signs=(signs,))


@given(INVENTORIES, INVENTORIES)
def test_what_did_not_change_stays_the_same_object(before: Inventory, after: Inventory) -> None:
    kept = after.keeping(before)

    assert kept == after
    for name, found in kept.found.items():
        old = {(each.resource, each.id): each for each in before.found.get(name, Found()).devices}
        for each in found.devices:
            known = old.get((each.resource, each.id))
            assert known is each or known != each


def test_an_id_that_two_claim_belongs_to_the_first() -> None:
    first, second = device("a", "/sys/1"), device("a", "/sys/2")

    assert Found.of([first, second]) == Found(
        (first,),
        (
            Exclusion(
                path="/sys/2",
                rule="duplicate-id",
                evidence="x/1 already has a, at /sys/1",
                remedy="report this: two devices of the kernel must not have one name",
            ),
        ),
    )


def test_an_id_that_two_backends_claim_belongs_to_the_first() -> None:
    inventory = Inventory.of({"gpu": Found((device("a"),)), "dsa": Found((device("a", "/sys/2"),))})

    assert [each.sysfs_path for each in inventory.devices] == ["/sys/1"]
    assert [(each.path, each.rule) for each in inventory.exclusions] == [("/sys/2", "duplicate-id")]


def rebuilt(before: Inventory, change: Change) -> Mapping[tuple[str, str], Device]:
    devices = {(each.resource, each.id): each for each in before.devices}
    for each in change.removed:
        assert devices.pop((each.resource, each.id)) == each
    for old, new in change.changed:
        assert devices[old.resource, old.id] == old != new
        devices[new.resource, new.id] = new
    for each in change.added:
        assert devices.setdefault((each.resource, each.id), each) is each
    return devices


@given(INVENTORIES, INVENTORIES)
def test_a_change_turns_one_inventory_into_the_other(before: Inventory, after: Inventory) -> None:
    assert rebuilt(before, after.since(before)) == {(each.resource, each.id): each for each in after.devices}
    assert after.since(after) == Change()


@given(INVENTORIES)
def test_resources_are_the_devices_by_name(inventory: Inventory) -> None:
    grouped = inventory.resources

    assert sorted(each.sysfs_path for group in grouped.values() for each in group) == sorted(
        each.sysfs_path for each in inventory.devices
    )
    for name, group in grouped.items():
        assert {each.resource for each in group} == {name}


def test_a_device_that_cannot_be_read_any_more_stays_with_a_fault() -> None:
    before = Found((replace(device("a"), faults=frozenset({HALTED})), device("b", "/sys/2")))
    after = Found((device("b", "/sys/2"),), (unreadable("/sys/1"),)).after(before)

    assert after.devices == (
        device("b", "/sys/2"),
        replace(device("a"), faults=frozenset({HALTED, Fault(Reason.UNREADABLE, "sysfs", "input/output error")})),
    )
    assert after.after(after).devices == after.devices


def test_a_device_that_is_gone_does_not_stay() -> None:
    now = Found((), (unreadable("/sys/3"),))

    assert now.after(Found((device("a"),))) is now


def test_a_device_that_can_be_read_has_the_name() -> None:
    """A card may get the number of one that hangs."""
    after = Found((device("a", "/sys/2"),), (unreadable("/sys/1"),)).after(Found((device("a", "/sys/1"),)))

    assert [each.sysfs_path for each in after.devices] == ["/sys/2"]
    assert [(each.path, each.rule) for each in after.exclusions] == [
        ("/sys/1", UNREADABLE_RULE),
        ("/sys/1", "duplicate-id"),
    ]


@given(LOOKS, LOOKS)
def test_nothing_that_was_seen_and_is_unreadable_gets_lost(before: Found, now: Found) -> None:
    after = now.after(before)
    lost = {each.sysfs_path for each in before.devices} & {
        each.path for each in now.exclusions if each.rule == UNREADABLE_RULE
    }

    assert lost <= {each.sysfs_path for each in after.devices} | {each.path for each in after.exclusions}
    assert all(each.health is Health.UNHEALTHY for each in after.devices if each not in now.devices)


def test_a_backend_that_cannot_look_keeps_its_list_and_loses_its_health_when_that_lasts() -> None:
    look = Found((device("a"),))

    assert look.failed("no answer", lasting=False) == Found((device("a"),), (), "no answer")
    assert look.failed("no answer", lasting=True) == Found(
        (replace(device("a"), faults=frozenset({Fault(Reason.UNREADABLE, "sysfs", "no answer")})),), (), "no answer"
    )
