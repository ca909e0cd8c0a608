"""The node at a glance, as one HTML page: no script, nothing fetched from anywhere, refreshed by the browser.

It shows what the log and the metrics say, for eyes; it can change nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import cast

from intel_agent.inventory import Found
from intel_agent.model import Device, Exclusion, Fault
from intel_agent.publish.holdings import Key
from intel_agent.web.snapshot import Resource, Snapshot

CONTENT_TYPE = "text/html; charset=utf-8"
REFRESH = 5
"""Seconds after which the browser asks again."""
MOST = 500
"""Devices of one kind that are shown; the others are counted."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5d6673; --paper: #f6f7f9; --card: #fff; --line: #e2e5ea;
  --good: #177245; --bad: #b3261e; --warning: #8a5a00; --busy: #0a5fb4 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --dim: #98a2b0; --paper: #14171b; --card: #1d2126;
  --line: #30363e; --good: #5cc98e; --bad: #ff8a80; --warning: #f0b860; --busy: #7db8f5 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem }
.dim { color: var(--dim) } .good { color: var(--good) } .bad { color: var(--bad) }
.warning { color: var(--warning) } .busy { color: var(--busy) }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; margin-top: 1.2rem }
.tile, .scroll, .note { background: var(--card); border: 1px solid var(--line); border-radius: .6rem }
.tile { padding: .8rem 1rem } .tile b { display: block; overflow-wrap: anywhere }
.tile .number { font-size: 1.7rem; font-variant-numeric: tabular-nums }
.bar { display: flex; height: .4rem; border-radius: .2rem; overflow: hidden; margin-top: .5rem }
.bar { background: var(--line) }
.bar i { background: var(--good) } .bar i.busy { background: var(--busy) } .bar i.bad { background: var(--bad) }
.note { padding: .7rem 1rem; margin-top: 1rem } .note ul { margin: .3rem 0 0; padding-left: 1.2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .4rem .8rem; vertical-align: top }
th { font-weight: 600; color: var(--dim); white-space: nowrap } tr + tr td { border-top: 1px solid var(--line) }
td { overflow-wrap: anywhere } td.name { white-space: nowrap; font-family: ui-monospace, monospace; font-size: .9em }
"""


def page(snapshot: Snapshot, node: str) -> bytes:
    """Return the page."""
    state = '<span class="good">ready</span>' if not snapshot.missing else '<span class="bad">not ready</span>'
    body = [
        f"<header><h1>{escape(node)}</h1>{state}",
        f'<span class="dim">intel-agent {escape(snapshot.version)}</span></header>',
        *_missing(snapshot.missing),
        *_unheard(snapshot.judges),
        *_tiles(snapshot),
        *_kinds(snapshot),
        *_events(snapshot.events),
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(node)} - Intel accelerators</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    ).encode()


def _missing(missing: Sequence[str]) -> Iterator[str]:
    if missing:
        items = "".join(f"<li>{escape(each)}</li>" for each in missing)
        yield f'<div class="note">Pods may not get what this node has:<ul>{items}</ul></div>'


def _unheard(judges: Mapping[str, bool]) -> Iterator[str]:
    if away := ", ".join(name for name, heard in judges.items() if not heard):
        yield f'<div class="note warning">Not heard, so that what was said last counts: {escape(away)}</div>'


def _tiles(snapshot: Snapshot) -> Iterator[str]:
    held = Counter(resource for resource, _ in snapshot.holders)
    if not snapshot.resources:
        yield '<div class="note">Nothing is offered on this node.</div>'
        return
    yield '<div class="tiles">'
    for resource in snapshot.resources:
        yield _tile(resource, held[resource.name])
    yield "</div>"


def _tile(resource: Resource, held: int) -> str:
    ids = Counter({line.health.value: 0 for line in resource.listing.lines})
    for line in resource.listing.lines:
        ids[line.health.value] += len(line.ids)
    total, healthy = ids.total(), ids["Healthy"]
    words = [f"{held} in use"] if held else []
    if total - healthy:
        words.append(f'<span class="bad">{total - healthy} unhealthy</span>')
    if not (resource.registered and resource.listed):
        words.append('<span class="bad">kubelet does not have the list</span>')
    parts = (("busy", min(held, healthy)), ("", max(healthy - held, 0)), ("bad", total - healthy))
    bar = "".join(f'<i class="{name}" style="flex:{count}"></i>' for name, count in parts if count)
    return (
        f'<div class="tile"><b>{escape(resource.name)}</b><span class="number">{healthy}</span>'
        f' <span class="dim">of {total} healthy</span><div class="dim">{", ".join(words) or "all free"}</div>'
        f'<div class="bar">{bar}</div></div>'
    )


def _kinds(snapshot: Snapshot) -> Iterator[str]:
    ids = {
        (line.device.resource, line.device.id): line.ids
        for resource in snapshot.resources
        for line in resource.listing.lines
    }
    for kind, found in snapshot.inventory.found.items():
        if not (found.devices or found.exclusions or found.problem):
            continue
        yield f"<h2>{escape(kind)}</h2>"
        if found.problem:
            yield f'<div class="note bad">{escape(found.problem)}</div>'
        yield from _devices(kind, found, ids, snapshot.holders)
        yield from _exclusions(found)


def _devices(
    kind: str, found: Found, ids: Mapping[Key, tuple[str, ...]], holders: Mapping[Key, str | None]
) -> Iterator[str]:
    if not found.devices:
        return
    rows = (
        _device(kind, device, ids.get((device.resource, device.id), ()), holders) for device in found.devices[:MOST]
    )
    yield from _table(("device", "resource", "health", "what", "NUMA node", "held by", "decided by"), rows)
    if (more := len(found.devices) - MOST) > 0:
        yield f'<p class="dim">and {more} more</p>'


def _device(kind: str, device: Device, ids: Iterable[str], holders: Mapping[Key, str | None]) -> str:
    pods = sorted({holder for each in ids if (holder := holders.get((device.resource, each))) is not None})
    bad, doubtful = _wrong(device.faults), _wrong(device.warnings)
    health = [f'<span class="bad">{bad}</span>' if bad else '<span class="good">Healthy</span>']
    health += [f'<span class="warning">{doubtful}</span>'] if doubtful else []
    known = (device.attributes.get(name) for name in ("model", "driver", "pciAddress"))
    cells = (
        ("name", escape(device.id)),
        ("", escape(device.resource)),
        ("", "<br>".join(health)),
        ("", escape(", ".join(each for each in known if each))),
        ("", ", ".join(map(str, device.numa_nodes))),
        ("busy", "<br>".join(map(escape, pods))),
        ("dim", escape(device.decided_by or f"devices.{kind}")),
    )
    return _row(cells)


def _wrong(faults: Iterable[Fault]) -> str:
    return "<br>".join(f"{escape(fault.reason)}: {escape(fault.detail)}" for fault in sorted(faults))


def _exclusions(found: Found) -> Iterator[str]:
    if found.exclusions:
        yield '<p class="dim">Seen and not offered:</p>'
        rows = (_row(_cells(each)) for each in found.exclusions[:MOST])
        yield from _table(("where", "rule", "why", "what to do"), rows)


def _cells(each: Exclusion) -> tuple[tuple[str, str], ...]:
    return (
        ("name", escape(each.path)),
        ("dim", escape(each.rule)),
        ("", escape(each.evidence)),
        ("dim", escape(each.remedy)),
    )


def _events(events: Sequence[Mapping[str, object]]) -> Iterator[str]:
    if not events:
        return
    yield "<h2>Last events</h2>"
    rows = (
        _row(
            (
                ("name dim", escape(str(each.get("time", "")))),
                (
                    "name bad" if each.get("level") in {"warning", "error"} else "name",
                    escape(str(each.get("event", ""))),
                ),
                ("", escape(", ".join(f"{key}: {_words(value)}" for key, value in each.items() if key not in _SHOWN))),
            )
        )
        for each in reversed(events)
    )
    yield from _table(("time", "event", ""), rows)


_EVENTS = {"warning": "name bad", "error": "name bad"}
_SHOWN = frozenset({"time", "level", "event", "exception"})


def _words(value: object) -> str:
    return ", ".join(map(str, cast("Iterable[object]", value))) if isinstance(value, list | tuple) else str(value)


def _table(heads: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    yield '<div class="scroll"><table><tr>'
    yield from (f"<th>{escape(head)}</th>" for head in heads)
    yield "</tr>"
    yield from rows
    yield "</table></div>"


def _row(cells: Iterable[tuple[str, str]]) -> str:
    """Return a row of cells: the class of each, and what is in it, in HTML."""
    return "<tr>" + "".join(f'<td class="{name}">{content}</td>' for name, content in cells) + "</tr>"
