"""Pools: which devices belong to which resource, and under what name kubelet knows it."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from intel_agent.backends.nic.linkhealth import LinkHealth
from intel_agent.backends.nic.selectors import DeviceType, Selector, problems

LONGEST = 68
"""Bytes of prefix and name together, so that the path of their socket in kubelet's directory has 107 at most."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
PREFIX = rf"^{_LABEL}(\.{_LABEL})*$"
_KUBERNETES = re.compile(r"(.*\.)?kubernetes\.io|requests\..*")
"""Domains whose resources kubelet does not take from plugins."""


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """One resource, and the devices that belong to it. A device belongs to the first pool that selects it."""

    resource: Annotated[str, Meta(description="The full name: intel.com/e810. This, or resourceName.")] = ""
    resource_name: Annotated[str, Meta(description="The name without its prefix.")] = ""
    resource_prefix: Annotated[
        str, Meta(description="The prefix of resourceName; nothing: devices.nic.resourcePrefix.")
    ] = ""
    device_type: Annotated[
        DeviceType,
        Meta(description="Network functions, accelerators (PCI class 12), or scalable functions."),
    ] = "netDevice"
    exclude_topology: Annotated[bool, Meta(description="Whether kubelet is not told of the NUMA node.")] = False
    link_health: Annotated[
        LinkHealth,
        Meta(
            description="Whose link has to be there for a device to be handed out: that of the physical function (pf), "
            "the device's own (vf), both, or none. An interface that an administrator has down is not judged."
        ),
    ] = "none"
    selectors: Annotated[
        Selector | tuple[Selector, ...],
        Meta(description="Which devices; of several selectors the first that fits a device takes it."),
    ]
    additional_info: Annotated[
        dict[str, dict[str, str]],
        Meta(description='Values for the variable PCIDEVICE_..._INFO, by PCI address; those of "*" for all devices.'),
    ] = {}

    @property
    def all_selectors(self) -> tuple[Selector, ...]:
        return (self.selectors,) if isinstance(self.selectors, Selector) else self.selectors

    def name(self, prefix: str) -> str:
        """Return the full name of the resource; `prefix` is that of pools without one of their own."""
        return self.resource or f"{self.resource_prefix or prefix}/{self.resource_name}"


def variable(resource: str) -> str:
    """Return the name of the variable that tells containers which devices of a resource they have."""
    return "PCIDEVICE_" + re.sub(r"[./]", "_", resource).upper()


def pool_problems(pools: Sequence[Pool], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with pools beyond their types: key path to problem."""
    for place, pool in enumerate(pools):
        yield from ((f"pools[{place}].{key}", text) for key, text in _own_problems(pool, prefix))
    first: dict[str, int] = {}
    for place, pool in enumerate(pools):
        name = pool.name(prefix)
        if (before := first.setdefault(name, place)) != place:
            yield _name_of(pools, place), f"found {name} again, first in pools[{before}]; allowed once"


def clashes(pools: Sequence[Pool], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield which pools cannot be told apart in one container: key path to problem."""
    first: dict[str, str] = {}
    for place, pool in enumerate(pools):
        name = pool.name(prefix)
        if (before := first.setdefault(variable(name), name)) != name:
            both = f"both would be {variable(name)} in containers"
            yield _name_of(pools, place), f"found {name} beside {before}: {both}"


def _name_of(pools: Sequence[Pool], place: int) -> str:
    return f"pools[{place}].{'resource' if pools[place].resource else 'resourceName'}"


def _own_problems(pool: Pool, prefix: str) -> Iterator[tuple[str, str]]:
    yield from _name_problems(pool, prefix)
    for place, selector in enumerate(pool.all_selectors):
        where = "selectors" if isinstance(pool.selectors, Selector) else f"selectors[{place}]"
        yield from ((f"{where}.{key}", text) for key, text in problems(selector, pool.device_type))
    if pool.device_type == "accelerator" and pool.link_health != "none":
        yield "linkHealth", f"found {pool.link_health}; accelerators have no network link: leave it out"
    if not pool.all_selectors:
        yield "selectors", "found none; allowed one or more ({} selects every device of the type)"


def _name_problems(pool: Pool, prefix: str) -> Iterator[tuple[str, str]]:
    match pool:
        case Pool(resource="", resource_name=""):
            yield "resource", 'found no name; allowed a resource like "intel.com/e810", or resourceName'
        case Pool(resource=""):
            yield from name_problems(f"{pool.resource_prefix or prefix}/{pool.resource_name}", "resourceName")
        case Pool(resource_name="", resource_prefix=""):
            yield from name_problems(pool.resource, "resource")
        case _:
            yield "resource", "cannot be given together with resourceName or resourcePrefix: it has both in it"


def name_problems(resource: str, key: str) -> Iterator[tuple[str, str]]:
    """Yield why kubelet would not take a resource of this name."""
    prefix, slash, name = resource.partition("/")
    if not slash:
        yield key, f'found "{resource}"; allowed a prefix and a name, as in "intel.com/{resource}"'
    elif not re.fullmatch(PREFIX, prefix) or _KUBERNETES.fullmatch(prefix):
        where = "resourcePrefix" if key == "resourceName" else key
        yield where, f'found the prefix "{prefix}"; allowed a domain in lower case that is not Kubernetes\' own'
    elif not _NAME.fullmatch(name):
        yield (
            key,
            f'found the name "{name}"; allowed letters, digits, - and _, at most 63, a letter or digit at the ends',
        )
    elif len(resource) - 1 > LONGEST:
        yield key, f"found {len(resource) - 1} bytes of prefix and name; allowed {LONGEST}, as they name a socket"
