"""Metrics in Prometheus' text format. What is told of devices is made anew only when something about them changed.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4),
https://prometheus.io/docs/practices/naming/. Names and labels are one closed vocabulary: docs/metrics.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from intel_agent import heap
from intel_agent.inventory import Found
from intel_agent.web.snapshot import Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "intel_agent_"
MOST_ALLOCATED = 2000
"""Series of ids that containers hold; of more there is only the number."""

Labels = tuple[str, ...]


class Meaning(NamedTuple):
    """What a metric is: its type, what it says, its labels."""

    type: Literal["gauge", "counter"]
    text: str
    labels: Labels = ()


class Name(Enum):
    """Every metric, without the prefix `intel_agent_`."""

    BUILD_INFO = Meaning("gauge", "Always 1; the label says which version runs.", ("version",))
    READY = Meaning("gauge", "Whether pods can get what the node has: what /readyz says.")
    DEVICES = Meaning("gauge", "Devices that are offered, by health.", ("kind", "resource", "health"))
    EXCLUDED_DEVICES = Meaning("gauge", "What was seen and is not offered, by the rule that decided.", ("kind", "rule"))
    DEVICE_INFO = Meaning(
        "gauge",
        "Always 1; the labels say what the device is.",
        ("kind", "resource", "device", "pci_address", "driver", "model", "numa_node"),
    )
    DEVICE_HEALTHY = Meaning("gauge", "Whether the device can be handed out.", ("kind", "resource", "device"))
    DEVICE_FAULT = Meaning(
        "gauge",
        "1 for each reason why a device cannot be handed out (docs/faults.md).",
        ("kind", "resource", "device", "reason", "source"),
    )
    DEVICE_WARNING = Meaning(
        "gauge",
        "1 for each reason to look after a device that containers still get (docs/faults.md).",
        ("kind", "resource", "device", "reason", "source"),
    )
    DEVICE_TEMPERATURE_CELSIUS = Meaning(
        "gauge",
        "What a sensor of the device said in the last look; nothing while the device sleeps.",
        ("kind", "resource", "device", "sensor"),
    )
    DEVICE_LINK_LANES = Meaning(
        "gauge", "Lanes of the device's PCIe link in the last look.", ("kind", "resource", "device")
    )
    DEVICE_LINK_LANES_POSSIBLE = Meaning(
        "gauge", "Lanes that both ends of the link can have.", ("kind", "resource", "device")
    )
    ADVERTISED_IDS = Meaning(
        "gauge", "Ids in the list for kubelet; a shared device has several.", ("resource", "health")
    )
    ALLOCATED = Meaning(
        "gauge",
        "1 for each id that a container holds, by kubelet's pod-resources API; nothing when kubelet does not answer.",
        ("resource", "device", "id", "namespace", "pod", "container"),
    )
    ALLOCATED_IDS = Meaning(
        "gauge", "Ids that containers hold; also of those that the metric above leaves out.", ("resource",)
    )
    HOLDERS_KNOWN = Meaning("gauge", "Whether kubelet's pod-resources API answered.")
    REGISTERED = Meaning("gauge", "Whether the resource is registered with the present kubelet.", ("resource",))
    LISTED = Meaning("gauge", "Whether kubelet has the present list of the resource.", ("resource",))
    KUBELET_START_TIME_SECONDS = Meaning("gauge", "When kubelet made its socket, in seconds since 1970; 0 without one.")
    SCANS_TOTAL = Meaning("counter", "Looks at the devices of a kind.", ("kind",))
    SCAN_FAILURES_TOTAL = Meaning("counter", "Looks that could not be done at all.", ("kind",))
    SCAN_SECONDS_TOTAL = Meaning("counter", "Time that looks took.", ("kind",))
    LAST_SCAN_TIMESTAMP_SECONDS = Meaning("gauge", "When the last look that succeeded ended.", ("kind",))
    KERNEL_EVENTS_TOTAL = Meaning("counter", "Events of the kernel that concern a kind.", ("subsystem",))
    JUDGE_HEARD = Meaning(
        "gauge",
        "Whether an outside judge of devices was heard when it was asked last; while not, its last words count.",
        ("judge",),
    )
    CLUSTER_PROBLEMS = Meaning(
        "gauge",
        "How many things keep the agent from what it should do by the Kubernetes API; 0 also where it need not ask it.",
    )
    LOG_EVENTS_TOTAL = Meaning("counter", "Lines of the log, by event (docs/log-events.md).", ("event", "level"))
    LOG_LINES_LOST_TOTAL = Meaning("counter", "Lines of the log that could not be written.")
    CONFIGURATION_GENERATION = Meaning("gauge", "How often the configuration in force changed since the start.")

    @property
    def full(self) -> str:
        return _PREFIX + self.name.lower()


_Sample = tuple[Name, Labels, float]


@dataclass(frozen=True, slots=True)
class _Families(Collector):
    """Samples in the form that the library writes."""

    samples: Mapping[Name, list[tuple[Labels, float]]]

    def collect(self) -> Iterator[Metric]:
        for name, samples in self.samples.items():
            meaning = name.value
            kind = GaugeMetricFamily if meaning.type == "gauge" else CounterMetricFamily
            family = kind(name.full.removesuffix("_total"), meaning.text, labels=meaning.labels)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


class Exposition:
    """The metrics as text. All methods belong into a worker thread, one at a time."""

    def __init__(self) -> None:
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        self._of: tuple[object, ...] = ()
        self._devices = b""

    def text(self, snapshot: Snapshot) -> bytes:
        """Return all metrics."""
        if snapshot.revisions != self._of:
            self._devices = generate_latest(_Families(_grouped(device_samples(snapshot))))
            heap.give_back()
            self._of = snapshot.revisions
        agent = generate_latest(_Families(_grouped(agent_samples(snapshot))))
        return b"".join((self._devices, agent, self._of_process()))

    def _of_process(self) -> bytes:
        return generate_latest(self._process)


def _grouped(samples: Iterable[_Sample]) -> dict[Name, list[tuple[Labels, float]]]:
    grouped: dict[Name, list[tuple[Labels, float]]] = {}
    for name, labels, value in samples:
        grouped.setdefault(name, []).append((labels, value))
    return grouped


def device_samples(snapshot: Snapshot) -> Iterator[_Sample]:
    """Yield what is told of devices: as much as there are devices."""
    for kind, found in snapshot.inventory.found.items():
        yield from _found_samples(kind, found)
    for resource in snapshot.resources:
        ids = Counter({line.health.value: 0 for line in resource.listing.lines})
        for line in resource.listing.lines:
            ids[line.health.value] += len(line.ids)
        for health, count in ids.items():
            yield Name.ADVERTISED_IDS, (resource.name, health), count
    devices = {
        (resource.name, each): line.device.id
        for resource in snapshot.resources
        for line in resource.listing.lines
        for each in line.ids
    }
    held = Counter(dict.fromkeys((resource.name for resource in snapshot.resources), 0))
    for (resource_name, each), holder in sorted(snapshot.holders.items()):  # kubelet's order is another one each time
        if holder is None or (device := devices.get((resource_name, each))) is None:
            continue
        held[resource_name] += 1
        if held.total() <= MOST_ALLOCATED:
            yield Name.ALLOCATED, (resource_name, device, each, *holder.split("/")), 1
    if snapshot.holders_known:
        for resource_name, count in held.items():
            yield Name.ALLOCATED_IDS, (resource_name,), count


def _found_samples(kind: str, found: Found) -> Iterator[_Sample]:
    counted = Counter((device.resource, device.health.value) for device in found.devices)
    for (resource, health), count in counted.items():
        yield Name.DEVICES, (kind, resource, health), count
    for rule, count in Counter(each.rule for each in found.exclusions).items():
        yield Name.EXCLUDED_DEVICES, (kind, rule), count
    for device in found.devices:
        key = (kind, device.resource, device.id)
        known = (device.attributes.get(name, "") for name in ("pciAddress", "driver", "model"))
        yield Name.DEVICE_INFO, (*key, *known, ",".join(map(str, device.numa_nodes))), 1
        yield Name.DEVICE_HEALTHY, key, not device.faults
        for name, faults in ((Name.DEVICE_FAULT, device.faults), (Name.DEVICE_WARNING, device.warnings)):
            for reason, source in sorted({(fault.reason.value, fault.source) for fault in faults}):
                yield name, (*key, reason, source), 1


def readings(measured: Mapping[str, Found]) -> Iterator[_Sample]:
    """Yield what was measured in the last looks; nothing of a kind that could not be looked at."""
    for kind, found in measured.items():
        for device in found.devices if found.problem is None else ():
            key, known = (kind, device.resource, device.id), device.readings
            for sensor, degrees in known.temperatures.items():
                yield Name.DEVICE_TEMPERATURE_CELSIUS, (*key, sensor), degrees
            if known.lanes is not None and known.possible_lanes is not None:
                yield Name.DEVICE_LINK_LANES, key, known.lanes
                yield Name.DEVICE_LINK_LANES_POSSIBLE, key, known.possible_lanes


def agent_samples(snapshot: Snapshot) -> Iterator[_Sample]:
    """Yield what is told of the agent itself: a few lines, made for every scrape."""
    yield Name.BUILD_INFO, (snapshot.version,), 1
    yield Name.READY, (), not snapshot.missing
    yield Name.HOLDERS_KNOWN, (), snapshot.holders_known
    for resource in snapshot.resources:
        yield Name.REGISTERED, (resource.name,), resource.registered
        yield Name.LISTED, (resource.name,), resource.listed
    yield Name.KUBELET_START_TIME_SECONDS, (), snapshot.kubelet_since
    for kind, looks in snapshot.looks.items():
        yield Name.SCANS_TOTAL, (kind,), looks.count
        yield Name.SCAN_FAILURES_TOTAL, (kind,), looks.failures
        yield Name.SCAN_SECONDS_TOTAL, (kind,), looks.seconds
        if looks.succeeded:
            yield Name.LAST_SCAN_TIMESTAMP_SECONDS, (kind,), looks.succeeded
    yield from readings(snapshot.measured)
    for subsystem, count in snapshot.kernel_events.items():
        yield Name.KERNEL_EVENTS_TOTAL, (subsystem,), count
    for judge, heard in snapshot.judges.items():
        yield Name.JUDGE_HEARD, (judge,), heard
    yield Name.CLUSTER_PROBLEMS, (), snapshot.cluster_problems
    for (event, level), count in sorted(snapshot.log_events.items()):
        yield Name.LOG_EVENTS_TOTAL, (event, level), count
    yield Name.LOG_LINES_LOST_TOTAL, (), snapshot.log_lines_lost
    yield Name.CONFIGURATION_GENERATION, (), snapshot.generation


def reference() -> str:
    """Return the table of docs/metrics.md."""
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for name in Name:
        meaning = name.value
        labels = ", ".join(f"`{each}`" for each in meaning.labels) or "-"
        lines.append(f"| `{name.full}` | {meaning.type} | {labels} | {meaning.text} |")
    return "\n".join(lines)
