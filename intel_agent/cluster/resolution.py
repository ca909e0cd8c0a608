"""Which device sections are in force on this node: a decision over what the file says and what is known of the node.

As long as overrides are configured and the node's labels are unknown, nobody can tell which sections are meant. Then
those count that were in force last, with the same configuration or in this process; without any, nothing is offered for
a while, so that no device is handed out under terms that are about to change; and then the sections without overrides.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from intel_agent.config import Config, Devices, Labels, matching, of_node
from intel_agent.errors import ConfigError

PATIENCE = 30.0
"""How long nothing is offered while the labels are unknown and nothing is remembered, in seconds."""


class Basis(StrEnum):
    """Why these sections are in force."""

    FILE = "file"
    """There are no overrides."""
    LABELS = "labels"
    """The node's labels are known."""
    REMEMBERED = "remembered"
    """The labels are unknown; these sections were in force last."""
    WAITING = "waiting"
    """The labels are unknown and nothing is remembered: nothing is offered, or what was before."""
    BASE = "base"
    """The labels were unknown for too long: overrides do not count."""
    REFUSED = "refused"
    """The overrides that mean this node cannot be used together: what was in force stays, or they do not count."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Device sections, why they are in force, and which overrides they come from, by place in the file."""

    devices: Devices
    basis: Basis
    overrides: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the node. `waited` is for how many seconds labels have been missed."""

    labels: Labels | None = None
    remembered: Devices | None = None
    """The sections that were in force last with the same configuration."""
    offered: Devices | None = None
    """The sections that this process had in force last and that were meant so, whatever was configured then."""
    waited: float = 0.0


def resolved(config: Config, known: Known) -> Resolution:
    """Return the sections that are in force on this node."""
    if not config.node_overrides:
        return Resolution(config.devices, Basis.FILE)
    if known.labels is not None:
        return _of_labels(config, known, known.labels)
    if known.remembered is not None:
        return Resolution(known.remembered, Basis.REMEMBERED)
    if known.offered is not None:
        return Resolution(known.offered, Basis.WAITING)
    if known.waited < PATIENCE:
        return Resolution(nothing(), Basis.WAITING)
    return Resolution(config.devices, Basis.BASE)


def _of_labels(config: Config, known: Known, labels: Labels) -> Resolution:
    try:
        devices = of_node(config.devices, config.node_overrides, labels)
    except ConfigError as error:
        stays = known.remembered or known.offered or config.devices
        return Resolution(stays, Basis.REFUSED, problems=tuple(error.problems))
    return Resolution(devices, Basis.LABELS, matching(config.node_overrides, labels))


def nothing() -> Devices:
    """Return sections that offer nothing: all of them disabled."""
    disabled = {each.encode_name: {"enabled": False} for each in msgspec.structs.fields(Devices)}
    return msgspec.convert(disabled, Devices)
