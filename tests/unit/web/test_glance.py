"""The page for people: well-formed, whatever devices and events are called, and it fetches nothing."""

from dataclasses import replace
from html.parser import HTMLParser
from types import MappingProxyType

import pytest

from intel_agent.inventory import Found, Inventory
from intel_agent.model import ContainerEdits, Device, Exclusion, Fault, Reason
from intel_agent.publish.roster import Line, Listing
from intel_agent.web import glance
from intel_agent.web.snapshot import Resource, Snapshot

XE = "gpu.intel.com/xe"
EVIL = "<script>alert('&')</script>\""
VOID = {"meta", "br"}
FAULT = Fault(Reason.HALTED, "sysfs", f"it is halted {EVIL}")
CARD = Device(
    "card0", XE, "/sys/a", ContainerEdits(), "card0", shares=2, attributes={"model": EVIL}, faults=frozenset({FAULT})
)


class Page(HTMLParser):
    """What a browser makes of the page: texts, tags, and whether every tag is closed in order."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(html.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def snapshot(*devices: Device, missing: tuple[str, ...] = (), heard: bool = True) -> Snapshot:
    found = Found(devices, (Exclusion("/sys/b", "driver", EVIL, "bind it"),), problem=EVIL)
    lines = tuple(Line(each, each.ids, each.faults, hints=False, message=b"") for each in devices)
    return Snapshot(
        version="1.2.3",
        inventory=Inventory(MappingProxyType({"gpu": found, "sgx": Found()})),
        resources=(Resource(XE, Listing(XE, "gpu", lines), registered=True, listed=True),) if devices else (),
        holders={(XE, "card0-1"): f"ns/pod/{EVIL}"},
        holders_known=True,
        missing=missing,
        kubelet_since=0,
        looks={},
        judges={"xpumd": heard},
        cluster_problems=0,
        measured={},
        kernel_events={},
        log_events={},
        log_lines_lost=0,
        events=({"time": "now", "level": "warning", "event": "device.changed", "device": EVIL, "ids": ["a", "b"]},),
        generation=0,
        revisions=(),
    )


def test_whatever_is_in_it_the_page_is_well_formed_and_says_it() -> None:
    page = Page(glance.page(snapshot(CARD, missing=(EVIL,)), EVIL))

    assert "script" not in page.tags
    for text in (
        "card0",
        XE,
        "devices.gpu",
        "driver",
        f"halted: {FAULT.detail}",
        f"ns/pod/{EVIL}",
        "bind it",
        "not ready",
        f"device: {EVIL}, ids: a, b",
    ):
        assert text in page.texts
    assert page.texts.count(EVIL) >= 4


def test_a_warning_is_shown_beside_the_health() -> None:
    warned = replace(CARD, faults=frozenset(), warnings=frozenset({FAULT}))
    assert {"Healthy", f"halted: {FAULT.detail}"} <= set(Page(glance.page(snapshot(warned), "node")).texts)


@pytest.mark.parametrize("heard", [True, False])
def test_a_judge_that_is_not_heard_is_named(*, heard: bool) -> None:
    texts = Page(glance.page(snapshot(CARD, heard=heard), "node")).texts
    assert ("Not heard, so that what was said last counts: xpumd" in texts) is not heard


def test_nothing_is_fetched_and_nothing_can_be_sent() -> None:
    page = Page(glance.page(snapshot(CARD), "node"))

    assert not page.tags & {"a", "form", "iframe", "img", "link", "object", "script"}
    assert not page.attributes & {"action", "href", "src", "onclick", "onload"}
    assert "ready" in page.texts


def test_a_node_without_devices_says_so() -> None:
    assert "Nothing is offered on this node." in Page(glance.page(snapshot(), "node")).texts


@pytest.mark.parametrize(("count", "more"), [(glance.MOST, None), (glance.MOST + 7, "and 7 more")])
def test_of_very_many_devices_the_rest_is_counted(count: int, more: str | None) -> None:
    devices = (Device(f"card{each}", XE, f"/sys/{each}", ContainerEdits(), f"card{each}") for each in range(count))
    texts = Page(glance.page(snapshot(*devices), "node")).texts

    assert [each for each in texts if each.startswith("and ")] == ([more] if more else [])
