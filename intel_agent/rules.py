"""Rules for single devices: what the configuration says of some devices of a kind. The first rule that matches decides.

Pure. What is compared with what, and what the actions mean: docs/rules.md.
"""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from intel_agent import pci
from intel_agent.inventory import Found
from intel_agent.model import SETTLED, Device, Exclusion, Fault, Reason, RuleProblem, Treatment
from intel_agent.section import Section

HIDDEN_RULE = "hidden"
"""The rule of an exclusion that says: the configuration hides this device."""
MAX_SHARES = 10_000
RESOURCE_NAME = r"^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
"""What Kubernetes allows behind the slash of a resource's name."""
ADDRESS_PATTERN = r"^[0-9a-fA-F:.*?]+$"


def reasons_but(some: Collection[Reason]) -> str:
    """Return the pattern of all reasons but some."""
    return f"^({'|'.join(each for each in Reason if each not in some)})$"


# Annotated text, not an enum: what a document says is compared with the pattern, which names what is allowed.
ReasonName = Annotated[str, Meta(pattern=reasons_but(SETTLED))]
Reasons: TypeAlias = dict[ReasonName, Treatment]

_SHORT_ADDRESS = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_END = "\0"
"""Between two values: no value has it, as none has letters that cannot be printed."""
_STARS = re.compile(r"\*+")
"""As many as one: searching for several would take much longer."""
_NAMED = 3
"""So many devices are named in a sentence; of the others it is said how many there are."""

T = TypeVar("T", str, int)

_Text = Annotated[str, Meta(min_length=1)]
_Texts: TypeAlias = _Text | Annotated[tuple[_Text, ...], Meta(min_length=1)]
_Address = Annotated[str, Meta(pattern=ADDRESS_PATTERN)]
_Addresses: TypeAlias = _Address | Annotated[tuple[_Address, ...], Meta(min_length=1)]
_Node = Annotated[int, Meta(ge=0)]
_Nodes: TypeAlias = _Node | Annotated[tuple[_Node, ...], Meta(min_length=1)]

Condition: TypeAlias = tuple[str, tuple[str, ...]]
"""What is looked at, and patterns: one of them must match one of its values."""


class Match(Section, frozen=True, kw_only=True, omit_defaults=True):
    """The devices that are meant: those for which every key says so; without any key, all of the kind."""

    pci_address: Annotated[
        _Addresses | UnsetType, Meta(description="PCI address as the kernel writes it, or a pattern of it.")
    ] = UNSET
    device_id: Annotated[
        pci.IdList | UnsetType, Meta(description='PCI device id in quotes, for example "0x56c0". No pattern.')
    ] = UNSET
    model: Annotated[_Texts | UnsetType, Meta(description="The attribute model, or a pattern of it.")] = UNSET
    driver: Annotated[_Texts | UnsetType, Meta(description="Kernel driver, or a pattern of it.")] = UNSET
    numa_node: Annotated[_Nodes | UnsetType, Meta(description="Number of a NUMA node.")] = UNSET
    name: Annotated[
        _Texts | UnsetType,
        Meta(
            description="Id at kubelet without the number of a share, or the last part of the device's path in /sys, "
            "or a pattern of either."
        ),
    ] = UNSET
    resource: Annotated[
        _Texts | UnsetType,
        Meta(description="Full name of the resource that the device has without rules, or a pattern of it."),
    ] = UNSET
    discrete: Annotated[
        bool | UnsetType, Meta(description="Whether the device is a card of its own (true) or integrated (false).")
    ] = UNSET
    attributes: Annotated[
        dict[str, _Texts] | UnsetType,
        Meta(description="Any attributes by name, each with its value or a pattern of it."),
    ] = UNSET

    def problems(self) -> dict[str, str]:
        found = {"pciAddress": "; ".join(filter(None, map(_address_problem, _listed(self.pci_address))))}
        if self.device_id is not UNSET:
            empty = "" if pci.ids(self.device_id) else "found no id; name one, or leave the key out"
            found["deviceId"] = pci.id_list_problem(self.device_id) or empty
        if wrong := [each for each in _listed(self.resource) if not {"/", "*"} & {*each}]:
            found["resource"] = f'found "{wrong[0]}"; allowed a full name with its domain, or a pattern of one'
        return {key: problem for key, problem in found.items() if problem}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of this must hold."""
        given = {
            "name": _listed(self.name),
            "resource": _listed(self.resource),
            "numaNode": tuple(map(str, _listed(self.numa_node))),
            "attributes.pciAddress": _listed(self.pci_address),
            "attributes.deviceId": () if self.device_id is UNSET else tuple(sorted(pci.ids(self.device_id))),
            "attributes.model": _listed(self.model),
            "attributes.driver": _listed(self.driver),
            "attributes.discrete": () if self.discrete is UNSET else (str(self.discrete).lower(),),
        }
        attributes = {} if self.attributes is UNSET else self.attributes
        others = ((f"attributes.{key}", _listed(value)) for key, value in attributes.items())
        return (*((key, patterns) for key, patterns in given.items() if patterns), *others)


class Rule(Section, frozen=True, kw_only=True, omit_defaults=True):
    """What is different for the devices that match and that no rule before this one matches."""

    match: Match
    shares: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_SHARES)] | UnsetType,
        Meta(description="How many containers may use each of them."),
    ] = UNSET
    resource: Annotated[
        Annotated[str, Meta(pattern=RESOURCE_NAME)] | UnsetType,
        Meta(description="Name of their resource, without the domain, which stays."),
    ] = UNSET
    hide: Annotated[
        bool | UnsetType,
        Meta(description="Whether they are left out of all that is offered; false alone: they stay as they are."),
    ] = UNSET
    reserve: Annotated[
        bool | UnsetType,
        Meta(description="Whether they are listed and given to no container: capacity counts them, allocatable not."),
    ] = UNSET
    prefer_last: Annotated[
        bool | UnsetType, Meta(description="Whether they are given only to whom no other device can be given.")
    ] = UNSET
    reasons: Annotated[
        Annotated[Reasons, Meta(min_length=1)] | UnsetType,
        Meta(
            description="How reasons of docs/faults.md are treated for them: fault, warning or ignore. "
            "What is not named here follows the section."
        ),
    ] = UNSET

    def problems(self) -> dict[str, str]:
        found: dict[str, str] = {}
        given = [key for key in msgspec.to_builtins(self) if key != "match"]
        if not given:
            found[""] = (
                "found no action; allowed shares, resource, hide, reserve, preferLast and reasons, "
                "or hide: false for devices that stay as they are"
            )
        if self.hide is True:
            others = [key for key in given if key != "hide" and getattr(self, _FIELDS[key]) is not False]
            found |= dict.fromkeys(others, "cannot be given together with hide: what is hidden has none of it")
        elif self.reserve is True and self.prefer_last is True:
            found["preferLast"] = "cannot be given together with reserve: no container gets what is reserved"
        return found


_FIELDS = {each.encode_name: each.name for each in msgspec.structs.fields(Rule)}


@dataclass(frozen=True, slots=True)
class Kind:
    """What rules must know of the kind that they are for."""

    section: str
    """Where its rules stand (`devices.gpu`)."""
    sharable: Callable[[Device], bool]
    """Whether several containers can use a device."""
    overall: frozenset[str] = frozenset()
    """Resources whose devices stand for all devices together: only rules that ask for a resource mean them."""

    def setting(self, place: int) -> str:
        """Return the key path of a rule."""
        return f"{self.section}.rules[{place}]"


def applied(rules: Sequence[Rule], found: Found, kind: Kind) -> Found:
    """Return what a backend found, as the rules of its section have it; what no rule matches stays the same object."""
    decided, problems = _decisions(rules, found.devices, kind)
    devices: list[Device] = []
    hidden: list[Exclusion] = []
    unsharable: dict[int, list[str]] = {}
    for index, device in enumerate(found.devices):
        if (place := decided.get(index)) is None:
            devices.append(device)
            continue
        rule, setting = rules[place], kind.setting(place)
        if rule.hide is True:
            hidden.append(_hidden(device, setting))
            continue
        sharable = rule.shares is UNSET or kind.sharable(device)
        if not sharable:
            unsharable.setdefault(place, []).append(device.id)
        devices.append(_changed(device, rule, setting, sharable=sharable))
    problems |= {place: f"shares: {_several(ids)} cannot be shared" for place, ids in unsharable.items()}
    said = tuple(RuleProblem(kind.setting(place), problem) for place, problem in sorted(problems.items()))
    ruled = replace(found, devices=tuple(devices), exclusions=(*found.exclusions, *hidden), rule_problems=said)
    return ruled.distinct()


def covering(rules: Sequence[Rule], place: int, overall: Iterable[str] = ()) -> int | None:
    """Return the place of an earlier rule that matches whatever the rule at `place` matches, if there surely is one."""
    wanted = rules[place].match
    for earlier, rule in enumerate(rules[:place]):
        if rule.match.resource is UNSET and _any(_listed(wanted.resource), overall):
            continue
        if all(_implied(each, wanted.conditions) for each in rule.match.conditions):
            return earlier
    return None


def _decisions(rules: Sequence[Rule], devices: Sequence[Device], kind: Kind) -> tuple[dict[int, int], dict[int, str]]:
    """Return which rule decides on which device, both by place, and what is wrong with rules that decide on none."""
    columns = _Columns(devices)
    everything = {*range(len(devices))}
    ordinary = {place for place in everything if devices[place].resource not in kind.overall}
    decided: dict[int, int] = {}
    problems: dict[int, str] = {}
    for place, rule in enumerate(rules):
        candidates = ordinary if rule.match.resource is UNSET else everything
        matching = columns.matching(rule.match.conditions, candidates)
        if new := matching.difference(decided):
            decided |= dict.fromkeys(new, place)
        elif matching:
            first = _several([kind.setting(each) for each in sorted({decided[each] for each in matching})])
            problems[place] = f"decides on no device: what it matches, {first} matches before"
        elif devices:
            problems[place] = "matches no device of this node"
    return decided, problems


class _Columns:
    """Places of devices by what they are, so that a rule need not look at each device."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._columns: dict[str, _Column] = {}

    def matching(self, conditions: Iterable[Condition], candidates: set[int]) -> set[int]:
        """Return those of the candidates for which all conditions hold."""
        for key, patterns in conditions:
            if (column := self._columns.get(key)) is None:
                column = self._columns[key] = _Column(_values(each, key) for each in self._devices)
            first, *others = (column.places(each) for each in patterns)
            candidates = candidates & (first.union(*others) if others else first)
        return candidates


class _Column:
    """Places of devices by their values of one thing that is looked at."""

    def __init__(self, values: Iterable[Iterable[str]]) -> None:
        self._places: dict[str, set[int]] = {}
        for place, several in enumerate(values):
            for value in several:
                self._places.setdefault(value, set()).add(place)
        self._text = _END + "".join(f"{value}{_END}" for value in self._places)
        self._known: dict[str, set[int]] = {}

    def places(self, pattern: str) -> set[int]:
        """Return the places with a value that the pattern matches."""
        if _is_literal(pattern):
            return self._places.get(pattern, set())
        if (known := self._known.get(pattern)) is None:
            values = _searching(pattern).findall(self._text)
            known = self._known[pattern] = {place for each in values for place in self._places.get(each, ())}
        return known


def _values(device: Device, key: str) -> tuple[str, ...]:
    """Return what a device has for what is looked at: nothing if it is not known."""
    match key:
        case "name":
            return device.id, device.sysfs_path.rpartition("/")[2]
        case "resource":
            return (device.resource,)
        case "numaNode":
            return tuple(map(str, device.numa_nodes))
        case _:
            value = device.attributes.get(key.removeprefix("attributes."))
            return () if value is None else (value,)


def _any(patterns: Iterable[str], values: Iterable[str]) -> bool:
    column = _Column([values])
    return any(column.places(each) for each in patterns)


def _implied(condition: Condition, others: Iterable[Condition]) -> bool:
    """Whether the condition surely holds wherever the others do."""
    key, patterns = condition
    return any(key == each and all(_within(inner, patterns) for inner in within) for each, within in others)


def _within(inner: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns surely matches whatever the pattern `inner` matches."""
    return any(inner == each if _is_literal(each) else _including(each).fullmatch(inner) for each in patterns)


def _is_literal(pattern: str) -> bool:
    return "*" not in pattern and "?" not in pattern


@functools.lru_cache(1024)
def _searching(pattern: str) -> re.Pattern[str]:
    """Return what finds all values that the pattern matches in a text of values: one search is faster than many."""
    letter = f"[^{_END}]"
    return re.compile(f"{_END}({_expression(pattern, letter, letter)})(?={_END})")


@functools.lru_cache(1024)
def _including(pattern: str) -> re.Pattern[str]:
    """Return what matches patterns, as texts: a `*` in them is no single letter, which is what a `?` stands for."""
    return re.compile(_expression(pattern, ".", "[^*]"), re.DOTALL)


def _expression(pattern: str, several: str, one: str) -> str:
    """Return a pattern as a regular expression, with what its `*` consists of and its `?` is."""
    parts = {"*": f"{several}*", "?": one}
    return "".join(parts.get(letter, re.escape(letter)) for letter in _STARS.sub("*", pattern))


def _changed(device: Device, rule: Rule, setting: str, *, sharable: bool) -> Device:
    resource, shares, faults = device.resource, device.shares, device.faults
    if rule.resource is not UNSET:
        resource = f"{resource.partition('/')[0]}/{rule.resource}"
    if rule.shares is not UNSET and sharable:
        shares = rule.shares
    if rule.reserve is True:
        faults |= {Fault(Reason.RESERVED, "configuration", f"{setting} keeps it from containers")}
    # All of it by name, as dataclasses.replace takes twice as long, and there may be thousands.
    return Device(
        id=device.id,
        resource=resource,
        sysfs_path=device.sysfs_path,
        edits=device.edits,
        cdi_name=device.cdi_name,
        shares=shares,
        numa_nodes=device.numa_nodes,
        attributes=device.attributes,
        faults=faults,
        parts=device.parts,
        warnings=device.warnings,
        depends_on=device.depends_on,
        readings=device.readings,
        prefer_last=rule.prefer_last is True,
        treatments=_treatments(rule.reasons),
        decided_by=setting,
    )


def _treatments(reasons: Reasons | UnsetType) -> dict[Reason, Treatment]:
    return {} if reasons is UNSET else {Reason(each): treatment for each, treatment in reasons.items()}


def _hidden(device: Device, setting: str) -> Exclusion:
    return Exclusion(
        path=device.sysfs_path,
        rule=HIDDEN_RULE,
        evidence=f"{setting} hides {device.id} of {device.resource}",
        remedy=f"change {setting} if containers should get it",
    )


def _listed(given: T | tuple[T, ...] | UnsetType) -> tuple[T, ...]:
    if isinstance(given, UnsetType):
        return ()
    return given if isinstance(given, tuple) else (given,)


def _address_problem(given: str) -> str:
    """Return what is wrong with an address or a pattern of addresses, or nothing."""
    plain = given.lower()
    if plain == given and (not _is_literal(given) or pci.ADDRESS.fullmatch(given)):
        return ""
    meant = f"0000:{plain}" if _SHORT_ADDRESS.fullmatch(plain) else plain
    hint = f"; did you mean {meant}?" if not _is_literal(meant) or pci.ADDRESS.fullmatch(meant) else ""
    return f'found "{given}"; allowed an address as the kernel writes it, like 0000:3b:00.0, or a pattern of one{hint}'


def _several(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
