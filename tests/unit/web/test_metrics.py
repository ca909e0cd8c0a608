"""The text of metrics: documented, well-formed, and made again only when something changed."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from intel_agent.inventory import Found, Inventory
from intel_agent.model import ContainerEdits, Device, Exclusion, Fault, Readings, Reason
from intel_agent.publish.roster import Line, Listing
from intel_agent.sources.scan import Looks
from intel_agent.web import metrics
from intel_agent.web.metrics import Exposition, Name, reference
from intel_agent.web.snapshot import Resource, Snapshot

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
XE = "gpu.intel.com/xe"
ODD = 'a "quoted" \\ name\nof two lines'


def device(number: int, *faults: Fault, **attributes: str) -> Device:
    path = f"/sys/devices/{number}"
    name = f"card{number}"
    return Device(
        name,
        XE,
        path,
        ContainerEdits(),
        name,
        numa_nodes=(1,),
        attributes=attributes,
        faults=frozenset(faults),
        readings=Readings({"pkg": 45.5}, lanes=8, possible_lanes=16),
    )


def snapshot(devices: Iterable[Device], *, revision: int = 0, missing: tuple[str, ...] = ()) -> Snapshot:
    found = Found(tuple(devices), (Exclusion("/sys/a", "driver", "no driver", "bind it"),))
    lines = (Line(device(0), ("card0-0", "card0-1"), frozenset(), hints=False, message=b""),)
    return Snapshot(
        version="1.2.3",
        inventory=Inventory(MappingProxyType({"gpu": found})),
        resources=(Resource(XE, Listing(XE, "gpu", lines), registered=True, listed=False),),
        holders={(XE, "card0-1"): "ns/pod/c", (XE, "card0-0"): None, ("other/x", "1"): "a/b/c"},
        holders_known=True,
        missing=missing,
        kubelet_since=1.5,
        measured={"gpu": found},
        looks={"gpu": Looks().plus(0.5, 1700000000.0).plus(0.25, None)},
        judges={"xpumd": True},
        cluster_problems=2,
        kernel_events={"drm": 3},
        log_events={("device.added", "info"): 2},
        log_lines_lost=7,
        events=(),
        generation=4,
        revisions=(revision,),
    )


def lines(exposition: Exposition, of: Snapshot) -> list[str]:
    text = exposition.text(of).decode()
    assert list(text_string_to_metric_families(text))
    return [line for line in text.splitlines() if line.startswith("intel_agent_")]


def test_every_metric_is_documented() -> None:
    assert reference() in DOCS.read_text(encoding="utf-8"), (
        "put the output of `python -c 'from intel_agent.web import metrics; print(metrics.reference())'` there"
    )


def test_every_metric_is_told_once_with_its_labels() -> None:
    fault = Fault(Reason.HALTED, "sysfs", "it is halted")
    text = Exposition().text(snapshot([replace(device(0), warnings=frozenset({fault})), device(1, fault)])).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    ours = {name: family for name, family in families.items() if name.startswith("intel_agent_")}
    assert set(ours) == {name.full.removesuffix("_total") for name in Name}
    for name in Name:
        for sample in ours[name.full.removesuffix("_total")].samples:
            assert set(sample.labels) == set(name.value.labels)


def test_values_are_those_of_the_snapshot() -> None:
    fault = Fault(Reason.HALTED, "sysfs", "it is halted")
    narrow = Fault(Reason.LINK_WIDTH, "sysfs", "8 of 16 lanes")
    devices = [replace(device(0, model="Flex"), warnings=frozenset({narrow})), device(1, fault)]
    told = [line.replace(XE, "XE") for line in lines(Exposition(), snapshot(devices, missing=("gpu",)))]

    for line in (
        'intel_agent_devices{health="Unhealthy",kind="gpu",resource="XE"} 1.0',
        'intel_agent_device_fault{device="card1",kind="gpu",reason="halted",resource="XE",source="sysfs"} 1.0',
        'intel_agent_device_warning{device="card0",kind="gpu",reason="link-width",resource="XE",source="sysfs"} 1.0',
        'intel_agent_device_healthy{device="card0",kind="gpu",resource="XE"} 1.0',
        'intel_agent_device_healthy{device="card1",kind="gpu",resource="XE"} 0.0',
        'intel_agent_excluded_devices{kind="gpu",rule="driver"} 1.0',
        'intel_agent_allocated{container="c",device="card0",id="card0-1",namespace="ns",pod="pod",resource="XE"} 1.0',
        'intel_agent_device_temperature_celsius{device="card0",kind="gpu",resource="XE",sensor="pkg"} 45.5',
        'intel_agent_device_link_lanes{device="card1",kind="gpu",resource="XE"} 8.0',
        'intel_agent_device_link_lanes_possible{device="card1",kind="gpu",resource="XE"} 16.0',
        'intel_agent_allocated_ids{resource="XE"} 1.0',
        "intel_agent_ready 0.0",
        'intel_agent_scans_total{kind="gpu"} 2.0',
        'intel_agent_scan_failures_total{kind="gpu"} 1.0',
        'intel_agent_scan_seconds_total{kind="gpu"} 0.75',
        'intel_agent_last_scan_timestamp_seconds{kind="gpu"} 1.7e+09',
        'intel_agent_log_events_total{event="device.added",level="info"} 2.0',
        'intel_agent_judge_heard{judge="xpumd"} 1.0',
        "intel_agent_cluster_problems 2.0",
        "intel_agent_log_lines_lost_total 7.0",
    ):
        assert line in told
    assert sum(line.startswith("intel_agent_allocated{") for line in told) == 1


def test_however_many_ids_are_held_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_ALLOCATED", 1)
    both = replace(snapshot([device(0)]), holders={(XE, f"card0-{each}"): f"ns/pod{each}/c" for each in (0, 1)})
    told = lines(Exposition(), both)

    assert sum(line.startswith("intel_agent_allocated{") for line in told) == 1
    assert f'intel_agent_allocated_ids{{resource="{XE}"}} 2.0' in told
    other_order = replace(both, holders=dict(reversed([*both.holders.items()])), revisions=("another",))
    assert [line for line in lines(Exposition(), other_order) if "_allocated" in line] == [
        line for line in told if "_allocated" in line
    ]


def test_of_what_kubelet_does_not_tell_there_is_no_number() -> None:
    told = lines(Exposition(), replace(snapshot([device(0)]), holders={}, holders_known=False))
    assert not [line for line in told if line.startswith("intel_agent_allocated")]


def test_what_was_measured_is_told_anew_without_a_change() -> None:
    exposition = Exposition()
    first = snapshot([device(0)])
    cooler = replace(device(0), readings=Readings({"pkg": 30.0}))
    lines(exposition, first)
    told = lines(exposition, replace(first, measured={"gpu": Found((cooler,))}))
    temperatures = [line.rpartition(" ")[2] for line in told if "_temperature_" in line]
    assert temperatures == ["30.0"]
    failed = Found((cooler,)).failed("it does not answer", lasting=False)
    told = lines(exposition, replace(first, measured={"gpu": failed}))
    assert not [line for line in told if "_temperature_" in line or "_lanes" in line]


def test_odd_texts_are_escaped() -> None:
    text = Exposition().text(snapshot([device(0, model=ODD)])).decode()

    models = [
        sample.labels["model"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "intel_agent_device_info"
    ]
    assert models == [ODD]


def test_devices_are_told_anew_only_when_something_changed() -> None:
    exposition = Exposition()
    known = snapshot([device(0)])
    first = lines(exposition, known)

    # The same revisions: whoever says so answers for it.
    assert lines(exposition, replace(snapshot([device(0), device(1)]), measured=known.measured)) == first
    assert lines(exposition, snapshot([device(0), device(1)], revision=1)) != first


@pytest.mark.parametrize("name", list(Name))
def test_names_follow_the_conventions(name: Name) -> None:
    assert (name.value.type == "counter") == name.full.endswith("_total")
    assert name.value.text.endswith(".")
