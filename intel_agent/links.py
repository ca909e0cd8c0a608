"""What the kernel says of network functions over netlink and nowhere in sysfs, as data.

A source gathers it before a look (`intel_agent.sources`), so that backends stay pure functions of a `Host`.
Sources: rtnetlink(7) and include/uapi/linux/if_link.h, Documentation/networking/devlink, include/uapi/linux/vdpa.h.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})


_NO_FLAGS: Mapping[str, bool] = MappingProxyType({})


def _no_flags() -> Mapping[str, bool]:
    return _NO_FLAGS


def _nothing() -> Mapping[str, str]:
    return _NOTHING


class LinkFact(StrEnum):
    """What a kind may want to know. Where it wants something, `interfaces` and `uplinks` are always told."""

    INTERFACES = "interfaces"
    ESWITCH = "eswitch"
    DDP = "ddp"
    """Asking for it takes firmware's time: only for those who select by it."""
    RDMA = "rdma"
    VDPA = "vdpa"


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """What a physical function's driver says of one of its virtual functions (IFLA_VFINFO_LIST).

    `link_state` is what the administrator asked for: `auto`, `enable` or `disable`.
    """

    index: int
    link_state: str


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of the host's network namespace (RTM_NEWLINK).

    `type` is the kernel's name of its hardware type (`ether`, `infiniband`, `loopback`), `operstate` one of RFC 2863's
    words (`up`, `down`, `dormant`, `unknown`, ...), `carrier` is `None` where the kernel does not tell.
    `above` are the indices of interfaces that it is part of or carries: a bond, a bridge, VLANs.
    `device` is what it belongs to, as bus/name (`pci/0000:3b:00.0`, `auxiliary/mlx5_core.sf.4`), if to anything.
    """

    index: int
    name: str
    type: str
    up: bool
    operstate: str
    carrier: bool | None = None
    above: frozenset[int] = frozenset()
    device: str | None = None
    switch_id: str | None = None
    port_name: str | None = None
    virtual_functions: tuple[VirtualFunction, ...] = ()


@dataclass(frozen=True, slots=True)
class Links:
    """All of it at one moment. `Host.links` is `None` while it is not known.

    `uplinks` are the indices of interfaces that carry a default route (IPv4 or IPv6) or an address of the node, and
    of all below them: what the node itself lives on.
    The mappings are by device, written as devlink writes it (`pci/0000:3b:00.0`).
    """

    interfaces: tuple[Interface, ...] = ()
    uplinks: frozenset[int] = frozenset()
    eswitch_modes: Mapping[str, str] = field(default_factory=_nothing)
    """`legacy` or `switchdev`; without devices that have no eswitch or do not tell."""
    ddp_profiles: Mapping[str, str] = field(default_factory=_nothing)
    """Name of the loaded package (devlink info `fw.app.name`)."""
    rdma_enabled: Mapping[str, bool] = field(default_factory=_no_flags)
    """devlink parameter `enable_rdma`."""
    vdpa: Mapping[str, str] = field(default_factory=_nothing)
    """Name of the (first) vDPA device that a function manages, by function (vdpa netlink family)."""
