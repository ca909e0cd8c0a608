"""Many plugins, each with its own nodes, become one agent: which section holds where."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from intel_agent.migrate.kinds import KINDS, defaults, sections
from intel_agent.migrate.model import Branch, Leaf, Note, Plugin, Tree
from intel_agent.migrate.text import scalar
from intel_agent.migrate.written import commented

HARDWARE_LABEL = "intel.feature.node.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Placed:
    """A plugin, and the labels that decide on which of the agent's nodes it is wanted."""

    plugin: Plugin
    condition: Mapping[str, str]


def values(plugins: Sequence[Plugin], *, keep_hardware_labels: bool) -> tuple[dict[str, Tree], tuple[Note, ...]]:
    """Return the values that are equal to the plugins together, and what cannot be."""
    offered = [each for each in plugins if each.offered]
    if not keep_hardware_labels:
        offered = [_without_hardware_label(each) for each in offered]
    common = _common([each.selector for each in offered])
    placed = [Placed(each, _without(each.selector, common)) for each in offered]
    devices, overrides, notes = _devices(placed, [each for each in plugins if not each.offered])
    tree: dict[str, Tree] = {}
    if (debug := next((each.debug for each in offered if each.debug), None)) is not None:
        tree["log"] = Branch({"level": debug})
    tree["devices"] = devices
    if overrides:
        tree["nodeOverrides"] = overrides
    if common:
        origin = "nodeSelector of every resource"
        tree["nodeSelector"] = Branch({key: Leaf(common[key], origin) for key in sorted(common)})
    if (rules := next((each.rules for each in offered if each.rules and each.rules.value), None)) is not None:
        tree["nodeFeatureRules"] = Branch({"enabled": rules})
    tolerations, differing = _tolerations(offered)
    return tree | tolerations, (*notes, *differing)


def _common(selectors: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the labels that all selectors ask for."""
    if not selectors:
        return {}
    return {key: value for key, value in selectors[0].items() if all(each.get(key) == value for each in selectors)}


def _without_hardware_label(plugin: Plugin) -> Plugin:
    """Return the plugin without the label that says what the agent finds out itself."""
    name = next((HARDWARE_LABEL + kind.label for kind in KINDS if kind.section == plugin.section), "")
    if plugin.selector.get(name) != "true":
        return plugin
    selector = {key: value for key, value in plugin.selector.items() if key != name}
    remark = f'{plugin.place}: {plugin.subject}: nodeSelector {name}: "true": the agent looks for the hardware itself'
    return replace(plugin, selector=selector, comments=(*plugin.comments, remark))


def _without(selector: Mapping[str, str], common: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in sorted(selector.items()) if key not in common}


def _devices(placed: Sequence[Placed], kept: Sequence[Plugin]) -> tuple[Branch, tuple[Branch, ...], tuple[Note, ...]]:
    """Return the section `devices`, what is laid over it on some nodes, and what cannot be."""
    branches: dict[str, Tree] = {}
    overrides: list[Branch] = []
    notes: list[Note] = []
    comments = [line for each in kept for line in each.comments]
    for section in sections():
        mine, doubles = _distinct([each for each in placed if each.plugin.section == section])
        everywhere = next((each for each in mine if not each.condition), None)
        branches[section] = _base(section, mine, everywhere, stays=any(each.section == section for each in kept))
        overrides += _overrides(section, mine, everywhere)
        notes += (*(_double(each, mine) for each in doubles), *_overlaps(mine))
        comments += [line for each in doubles for line in _dropped(each.plugin)]
    return Branch(branches, tuple(comments)), tuple(overrides), tuple(notes)


def _distinct(mine: Sequence[Placed]) -> tuple[list[Placed], list[Placed]]:
    """Return the last plugin of each condition, the general ones first, and those that it replaces."""
    last = {tuple(each.condition.items()): each for each in mine}
    doubles = [each for each in mine if last[tuple(each.condition.items())] is not each]
    return sorted(last.values(), key=lambda each: len(each.condition)), doubles


def _base(section: str, mine: Sequence[Placed], everywhere: Placed | None, *, stays: bool) -> Branch:
    """Return the section for all nodes of the agent; `stays` says that an old plugin of the kind does."""
    if everywhere is None:
        why = "the old plugin stays, see above" if stays else "no resource asks for it"
        return Branch({"enabled": Leaf(False, "only on the nodes of nodeOverrides" if mine else why)})
    plugin, usual = everywhere.plugin, defaults(section)
    changed = {key: leaf for key, leaf in plugin.settings.items() if leaf.value != usual[key]}
    return Branch(changed, _remarks(plugin, changed))


def _overrides(section: str, mine: Sequence[Placed], everywhere: Placed | None) -> Iterator[Branch]:
    """Yield what is laid over the section. Each undoes what the section, or an earlier one, changes."""
    usual = defaults(section)
    enabled = {} if everywhere else {"enabled": Leaf(True)}
    changed = [
        key
        for key, default in usual.items()
        if any(each.plugin.settings[key].value != default for each in mine if key in each.plugin.settings)
    ]
    for each in mine:
        if each.condition:
            plugin = each.plugin
            keys = {key: plugin.settings.get(key, Leaf(usual[key], "absent: the default")) for key in changed}
            labels = Branch({key: Leaf(value) for key, value in each.condition.items()})
            selector = Branch({"matchLabels": labels}, (f"{plugin.place}: {plugin.subject}: nodeSelector",))
            devices = Branch({section: Branch({**enabled, **keys}, _remarks(plugin, keys))})
            yield Branch({"selector": selector, "devices": devices})


def _remarks(plugin: Plugin, printed: Collection[str]) -> tuple[str, ...]:
    """Return what stands above the keys of a plugin: what it is, and what of it needs no key."""
    left_out = tuple(
        f"{leaf.origin}: {scalar(leaf.value)}: the default"
        for key, leaf in plugin.settings.items()
        if leaf.given and key not in printed
    )
    return (f"{plugin.place}: {plugin.subject}", *plugin.comments, *left_out)


def _double(double: Placed, mine: Sequence[Placed]) -> Note:
    other = next(each.plugin for each in mine if each.condition == double.condition)
    what = f"for the same nodes as {other.subject} ({other.place}): both ran there; the other one is carried over"
    return Note(double.plugin.place, double.plugin.subject, "", what)


def _dropped(plugin: Plugin) -> Iterator[str]:
    yield f"{plugin.place}: {plugin.subject}: not carried over. It says:"
    yield from (f"  {each}" for each in plugin.comments)
    yield from commented(Branch({plugin.section: Branch(plugin.settings)}))


def _overlaps(mine: Sequence[Placed]) -> Iterator[Note]:
    for index, general in enumerate(mine):
        for special in mine[index + 1 :]:
            if not any(special.condition.get(key, value) != value for key, value in general.condition.items()):
                other = f"{general.plugin.subject} ({general.plugin.place})"
                text = f"where {other} is wanted, too, both ran; this one holds there"
                yield Note(special.plugin.place, special.plugin.subject, "", text)


def _tolerations(plugins: Sequence[Plugin]) -> tuple[dict[str, Tree], tuple[Note, ...]]:
    every = [item for each in plugins for item in each.tolerations]
    union = [item for index, item in enumerate(every) if item not in every[:index]]
    if not union:
        return {}, ()
    branches = tuple(
        Branch({key: Leaf(value) for key, value in item.items()}) for item in union if isinstance(item, dict)
    )
    text = "other resources tolerate more: there is one agent, and it runs on nodes with their taints, too"
    fewer = [each for each in plugins if any(item not in each.tolerations for item in union)]
    return {"tolerations": branches}, tuple(Note(each.place, each.subject, "tolerations", text) for each in fewer)
