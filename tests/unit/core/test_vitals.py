"""Signs of life of PCI functions, and what they share their fate with."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from intel_agent import vitals
from intel_agent.inventory import Found
from intel_agent.model import NO_EDITS, NO_READINGS, Device, Fault, Readings, Reason, Signs
from intel_agent.sysfs import Host, Look

ROOT_PORT = "/sys/devices/pci0000:3a/0000:3a:00.0"
ENDPOINT = f"{ROOT_PORT}/0000:3b:00.0"
UPSTREAM = ENDPOINT
DOWNSTREAM = f"{UPSTREAM}/0000:3c:01.0"
CARD = f"{DOWNSTREAM}/0000:3d:00.0"

HEADER = r"\x86\x80" + r"\x00" * 62
VIRTUAL_HEADER = r"\xff" * 4 + r"\x00" * 60
ONLY_ONES = r"\xff" * 64


def device(path: str = ENDPOINT) -> Device:
    return Device("card0", "gpu.intel.com/xe", path, NO_EDITS, "card0")


def examined(host: Host, *paths: str) -> Found:
    return vitals.examined(host, Found(tuple(device(path) for path in paths or (ENDPOINT,))))


def reasons(found: Found) -> dict[str, set[Reason]]:
    return {each.path: {fault.reason for fault in each.faults} for each in found.signs if each.faults}


def counts(found: Found) -> dict[str, dict[Reason, int]]:
    return {
        each.path: {fault.reason: count for fault, count in each.counts.items()} for each in found.signs if each.counts
    }


SOUND = f"""
{ENDPOINT}/config = {HEADER}\\c
{ENDPOINT}/power/runtime_status = active
{ENDPOINT}/current_link_width = 16
{ENDPOINT}/max_link_width = 16
{ENDPOINT}/aer_dev_fatal = Undefined 0\\nDLP 0\\nTOTAL_ERR_FATAL 0
{ENDPOINT}/aer_dev_nonfatal = Undefined 0\\nDLP 0\\nTOTAL_ERR_NONFATAL 0
{ROOT_PORT}/max_link_width = 16
{ROOT_PORT}/aer_dev_fatal = Undefined 0\\nTOTAL_ERR_FATAL 0
{ROOT_PORT}/aer_dev_nonfatal = Undefined 0\\nTOTAL_ERR_NONFATAL 0
"""
ONES = f"{ENDPOINT}/config = {ONLY_ONES}\\c"
NO_ERRORS = {Reason.FATAL_ERRORS: 0, Reason.NONFATAL_ERRORS: 0}


def with_(*lines: str) -> str:
    """Return the sound function with other lines instead."""
    names = {line.split()[0] for line in lines}
    return "\n".join([*(line for line in SOUND.splitlines() if line and line.split()[0] not in names), *lines])


@pytest.mark.parametrize("tree", [SOUND])
def test_a_sound_function_has_counts_only(host: Host) -> None:
    found = examined(host)
    assert (found.devices, reasons(found)) == ((device(),), {})
    assert counts(found) == {ENDPOINT: NO_ERRORS, ROOT_PORT: NO_ERRORS}


@pytest.mark.parametrize("tree", [f"{ENDPOINT}/vendor = 0x8086"])
def test_a_function_without_any_of_these_files_is_sound(host: Host) -> None:
    """Many virtual and integrated functions have none of them, which is not a good sign nor a bad one."""
    assert examined(host) == Found((device(),))


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        pytest.param(with_(ONES), {Reason.OFF_BUS}, id="config reads as ones"),
        pytest.param(
            with_(f"{ENDPOINT}/config = {VIRTUAL_HEADER}\\c"),
            set[Reason](),
            id="a virtual function of a guest has ones for vendor and device",
        ),
        pytest.param(
            with_(ONES, f"{ENDPOINT}/power/runtime_status = suspended"), set[Reason](), id="what sleeps is not read"
        ),
        pytest.param(
            with_(ONES, f"{ENDPOINT}/power/runtime_status = suspending"),
            set[Reason](),
            id="what goes to sleep, neither",
        ),
        pytest.param(with_(f"{ENDPOINT}/power/runtime_status = error"), {Reason.POWER}, id="power"),
        pytest.param(with_(f"{ENDPOINT}/power/runtime_status = unsupported"), set[Reason](), id="no power management"),
        pytest.param(with_(f"{ENDPOINT}/devcoredump/data = dump"), {Reason.DUMPED}, id="a dump"),
        pytest.param(with_(f"{ENDPOINT}/current_link_width = 8"), {Reason.LINK_WIDTH}, id="fewer lanes"),
        pytest.param(
            with_(f"{ENDPOINT}/current_link_width = 8", f"{ROOT_PORT}/max_link_width = 8"),
            set[Reason](),
            id="the slot has no more lanes",
        ),
        pytest.param(with_(f"{ENDPOINT}/current_link_width = 0"), set[Reason](), id="0 lanes tell nothing"),
        pytest.param(with_(f"{ENDPOINT}/current_link_width = 63"), set[Reason](), id="63 lanes tell nothing"),
        pytest.param(with_(f"{ENDPOINT}/max_link_width = 255"), set[Reason](), id="255 lanes tell nothing"),
        pytest.param(with_(f"{ROOT_PORT}/max_link_width = 63"), set[Reason](), id="a partner that tells nothing"),
        pytest.param(
            with_(f"{ENDPOINT}/current_link_width = 4", f"{ENDPOINT}/power/runtime_status = suspended"),
            set[Reason](),
            id="the link of what sleeps is not read: that wakes it since Linux 6.18",
        ),
    ],
)
def test_a_sign_is_a_fault_of_the_function(host: Host, found: set[Reason]) -> None:
    assert reasons(examined(host)) == ({ENDPOINT: found} if found else {})


@pytest.mark.parametrize(
    ("tree", "readings"),
    [
        pytest.param(SOUND, Readings(lanes=16, possible_lanes=16), id="all lanes"),
        pytest.param(
            with_(f"{ENDPOINT}/current_link_width = 8", f"{ROOT_PORT}/max_link_width = 8"),
            Readings(lanes=8, possible_lanes=8),
            id="all that the slot has",
        ),
        pytest.param(
            with_(f"{ENDPOINT}/current_link_width = 8"), Readings(lanes=8, possible_lanes=16), id="fewer lanes"
        ),
        pytest.param(with_(f"{ENDPOINT}/power/runtime_status = suspended"), NO_READINGS, id="what sleeps is not read"),
    ],
)
def test_the_lanes_of_the_link_are_told(host: Host, readings: Readings) -> None:
    assert [each.readings for each in examined(host).devices] == [readings]


def _switch(vendor: str) -> str:
    return f"""
{ROOT_PORT}/max_link_width = 16
{UPSTREAM}/vendor = {vendor}
{UPSTREAM}/max_link_width = 16
{UPSTREAM}/current_link_width = 8
{DOWNSTREAM}/vendor = {vendor}
{DOWNSTREAM}/max_link_width = 1
{CARD}/power/runtime_status = active
{CARD}/max_link_width = 1
{CARD}/current_link_width = 1
"""


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        pytest.param(_switch("0x8086"), {CARD: {Reason.LINK_WIDTH}}, id="a switch on the card"),
        pytest.param(_switch("0x1000"), dict[str, set[Reason]](), id="a switch of the machine is no part of the card"),
    ],
)
def test_the_link_of_a_card_is_that_of_its_upstream_port(host: Host, found: dict[str, set[Reason]]) -> None:
    assert reasons(examined(host, CARD)) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("Undefined 1\\nTOTAL_ERR_FATAL 7", 7, id="the total need not be the sum"),
        pytest.param("Data Link Protocol 3\\nSurprise Down Error 2\\nTOTAL_ERR_FATAL 5", 5, id="names with spaces"),
        pytest.param("DLP 3\\nSDES 2", 5, id="no total"),
        pytest.param("DLP 0\\naer_uncorrectable_bit[3] 4\\nTOTAL_ERR_FATAL 4", 4, id="a bit without a name"),
    ],
)
@pytest.mark.parametrize("tree", [SOUND])
def test_errors_are_counted(host: Host, text: str, count: int) -> None:
    Path(host.root + ENDPOINT, "aer_dev_fatal").write_text(text.replace("\\n", "\n"))
    assert counts(examined(host))[ENDPOINT][Reason.FATAL_ERRORS] == count


@pytest.mark.parametrize("text", ["DLP", "DLP x", "DLP 0x3", "DLP \u0663", "7", " 7", "DLP -1", "\xff\xff", "x" * 5000])
@pytest.mark.parametrize("tree", [SOUND])
def test_a_count_that_says_something_else_is_unreadable(host: Host, text: str) -> None:
    Path(host.root + ENDPOINT, "aer_dev_fatal").write_text(text)
    assert reasons(examined(host)) == {ENDPOINT: {Reason.UNREADABLE}}


@pytest.mark.parametrize("tree", [with_(f"{ROOT_PORT}/aer_dev_fatal = what")])
def test_what_a_port_cannot_tell_is_no_fault_of_the_device(host: Host) -> None:
    found = examined(host)
    assert reasons(found) == {}
    assert counts(found) == {ENDPOINT: NO_ERRORS}


@pytest.mark.parametrize("name", ["config", "power/runtime_status", "current_link_width", "aer_dev_nonfatal"])
@pytest.mark.parametrize("tree", [SOUND])
def test_a_file_of_its_own_that_cannot_be_read_makes_a_function_unreadable(host: Host, name: str) -> None:
    file = Path(host.root + ENDPOINT, name)
    file.unlink()
    file.mkdir()
    assert reasons(examined(host)) == {ENDPOINT: {Reason.UNREADABLE}}


@pytest.mark.parametrize("tree", [SOUND])
def test_what_is_in_quarantine_is_not_touched(host: Host) -> None:
    look = Look(quarantined={ENDPOINT: "a read has not come back"})
    found = examined(host.looking(look))
    detail = f"{ENDPOINT}: a read has not come back"
    assert found.signs == (Signs(ENDPOINT, frozenset({Fault(Reason.UNREADABLE, "sysfs", detail)})),)


PHYSICAL = f"{ROOT_PORT}/0000:3b:00.0"
VIRTUAL = f"{ROOT_PORT}/0000:3b:00.1"
WITH_VIRTUAL = f"""
{SOUND}
{VIRTUAL}/physfn -> ../0000:3b:00.0
{VIRTUAL}/config = {ONLY_ONES}\\c
{VIRTUAL}/current_link_width = 1
{VIRTUAL}/max_link_width = 16
"""


@pytest.mark.parametrize("tree", [WITH_VIRTUAL])
def test_a_virtual_function_depends_on_its_physical_one_and_has_no_signs_of_its_own(host: Host) -> None:
    found = examined(host, VIRTUAL)
    assert found.devices == (replace(device(VIRTUAL), depends_on=(PHYSICAL,)),)
    assert reasons(found) == {}
    assert counts(found) == {PHYSICAL: NO_ERRORS, ROOT_PORT: NO_ERRORS}


@pytest.mark.parametrize("tree", [WITH_VIRTUAL.replace("runtime_status = active", "runtime_status = error")])
def test_the_physical_function_is_looked_at_even_if_it_is_not_offered(host: Host) -> None:
    assert reasons(examined(host, VIRTUAL)) == {PHYSICAL: {Reason.POWER}}


@pytest.mark.parametrize("tree", [f"{VIRTUAL}/physfn -> ../0000:3b:0f.0"])
def test_a_physical_function_that_is_not_there_is_unreadable(host: Host) -> None:
    assert reasons(examined(host, VIRTUAL)) == {VIRTUAL: {Reason.UNREADABLE}}


def _group(driver: str) -> str:
    members = "\n".join(
        f"/sys/kernel/iommu_groups/7/devices/{path[-12:]} -> ../../../../devices/pci0000:3a/0000:3a:00.0/{path[-12:]}"
        for path in (PHYSICAL, VIRTUAL)
    )
    return f"""
{PHYSICAL}/driver -> ../../../../bus/pci/drivers/{driver}
{PHYSICAL}/iommu_group -> ../../../../kernel/iommu_groups/7
{VIRTUAL}/vendor = 0x8086
{members}
"""


@pytest.mark.parametrize(
    ("tree", "depends_on"),
    [
        pytest.param(_group("vfio-pci"), (VIRTUAL,), id="user space has all of a group"),
        pytest.param(_group("xe"), (), id="a driver of the kernel has its function only"),
    ],
)
def test_who_has_a_group_depends_on_all_of_it(host: Host, depends_on: Iterable[str]) -> None:
    assert examined(host, PHYSICAL).devices == (replace(device(PHYSICAL), depends_on=(*depends_on,)),)


@pytest.mark.parametrize("tree", [SOUND])
def test_what_several_devices_have_in_common_is_read_once(host: Host) -> None:
    found = examined(host, f"{ENDPOINT}/dsa0/wq0.0", f"{ENDPOINT}/dsa0/wq0.1", "/sys/devices/virtual/misc/sgx_enclave")
    assert [each.path for each in found.signs] == [ENDPOINT, ROOT_PORT]
