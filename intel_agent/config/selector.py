"""Which nodes are meant: label selectors as in Kubernetes (`metav1.LabelSelector`), with the same meaning."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, assert_never

import msgspec

from intel_agent.errors import ConfigError
from intel_agent.section import Section

_NAME = r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL_KEY = rf"^({_DOMAIN}(\.{_DOMAIN})*/)?{_NAME}$"
"""A name of up to 63 letters, with or without a domain before it."""
LABEL_VALUE = rf"^({_NAME})?$"

LabelKey = Annotated[str, msgspec.Meta(pattern=LABEL_KEY)]
LabelValue = Annotated[str, msgspec.Meta(pattern=LABEL_VALUE)]
Labels = Mapping[str, str]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Expression(Section, frozen=True, kw_only=True):
    """One condition of a selector."""

    key: Annotated[LabelKey, msgspec.Meta(description="Which label is looked at.")]
    operator: Annotated[
        Operator,
        msgspec.Meta(
            description="Whether its value is one of values (In), the label is absent or has another value (NotIn), "
            "is there (Exists), or is absent (DoesNotExist)."
        ),
    ]
    values: Annotated[
        tuple[LabelValue, ...], msgspec.Meta(description="What the value is compared with, for In and NotIn only.")
    ] = ()

    def problems(self) -> dict[str, str]:
        if self.operator in {"In", "NotIn"} and not self.values:
            return {"values": f"found nothing to compare with; {self.operator} needs at least one value"}
        if self.operator in {"Exists", "DoesNotExist"} and self.values:
            return {"values": f"cannot be given together with {self.operator}: leave it out, or use In"}
        return {}

    def matches(self, labels: Labels) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                assert_never(self.operator)


class Selector(Section, frozen=True, kw_only=True):
    """The nodes that are meant: those whose labels fulfil every condition; an empty selector means all nodes."""

    match_labels: Annotated[
        dict[LabelKey, LabelValue], msgspec.Meta(description="Labels that the node has, with exactly these values.")
    ] = {}  # noqa: RUF012 - msgspec copies it
    match_expressions: Annotated[
        tuple[Expression, ...], msgspec.Meta(description="Further conditions, as in a Kubernetes label selector.")
    ] = ()

    @property
    def conditions(self) -> Iterator[Expression]:
        for key, value in self.match_labels.items():
            yield Expression(key=key, operator="In", values=(value,))
        yield from self.match_expressions

    def matches(self, labels: Labels) -> bool:
        return all(each.matches(labels) for each in self.conditions)


def labels(text: str) -> Labels:
    """Return the labels that a text like `type=flex,intel.com/gpu=` names.

    Raises:
        ConfigError: a part of it is no label; all such parts are named.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if equals and re.fullmatch(LABEL_KEY, key) and re.fullmatch(LABEL_VALUE, value):
            found[key] = value
        else:
            wrong.append(f"found {part!r}; allowed labels, each as KEY=VALUE")
    if wrong:
        raise ConfigError(wrong)
    return found


def satisfiable(selectors: Iterable[Selector]) -> bool:
    """Return whether there can be a node that all the selectors mean."""
    conditions: dict[str, list[Expression]] = {}
    for selector in selectors:
        for each in selector.conditions:
            conditions.setdefault(each.key, []).append(each)
    return all(_possible(key, each) for key, each in conditions.items())


def _possible(key: str, conditions: list[Expression]) -> bool:
    """Return whether some value of one label, or its absence, fulfils all conditions on it."""
    listed = {value for each in conditions for value in each.values}
    # No selector lists it, so it stands for every value that is not listed.
    unlisted = next(str(number) for number in range(len(listed) + 1) if str(number) not in listed)
    candidates: list[Labels] = [{}, *({key: value} for value in (*listed, unlisted))]
    return any(all(each.matches(labels) for each in conditions) for labels in candidates)
