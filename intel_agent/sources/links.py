"""Puts together what netlink and /sys tell of the host's network interfaces.

In a worker thread, before a kind is looked at that wants to know. Kinds that do not never import this.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton
from types import MappingProxyType
from typing import Protocol, TypeVar

from intel_agent import errors, linkfiles
from intel_agent.errors import AgentError, SysfsError
from intel_agent.links import Interface, LinkFact, Links
from intel_agent.sources import devlink, netlink, rtnetlink
from intel_agent.sources.rtnetlink import Link, Network
from intel_agent.sources.uplinks import above, below
from intel_agent.sysfs import Host, Look

T = TypeVar("T")

_TRIES = 3
"""How often interfaces are read that come and go while they are."""
_REPRESENTOR = re.compile(r"(c[0-9]+)?pf[0-9]+(vf|sf)[0-9]+")
_VIRTUAL = "virtual"


class LinksError(AgentError):
    """It is not known which network interfaces the host has, and which of them it lives on."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The interfaces of the host, and which of them matter to those who follow changes."""

    interfaces: tuple[Interface, ...]
    uplinks: frozenset[int]
    concerned: frozenset[int]
    """Those that belong to a device, what the node lives on, and whatever is tied to them."""


def node_address(text: str) -> bytes | None:
    """Return the address that `NODE_IP` has, or `None` when it is not set.

    Raises:
        LinksError: it is no address.
    """
    for family in (AF_INET, AF_INET6):
        try:
            return inet_pton(family, text) if text else None
        except OSError:
            continue
    raise LinksError(f"NODE_IP: found {text!r}; allowed is the node's IP address (status.hostIP)")


def ground(host: Host, node_ip: str, seconds: float) -> Ground:
    """Return the interfaces of the host.

    Raises:
        LinksError: the kernel does not tell, or not of the namespace that the host's /sys shows.
    """
    own = node_address(node_ip)
    problem = ""
    for _ in range(_TRIES):
        try:
            told = rtnetlink.network(seconds)
        except netlink.NetlinkError as error:
            raise LinksError(f"rtnetlink: {error}") from error
        except OSError as error:
            raise LinksError(f"rtnetlink: {errors.words(error)}") from error
        devices = devices_of(host)
        if not (problem := difference(host, told.links, devices)):
            return grounded(told, named(host, told.links, devices), tops(told, own))
    raise LinksError(f"{problem}: the agent must run in the network namespace of the node (hostNetwork: true in a pod)")


def tops(told: Network, own: bytes | None) -> frozenset[int]:
    """Return what carries a default route or an address of the node.

    Its addresses are the one that is given and those that default routes send from. Where there is neither such an
    address nor a default route, any address of global scope may be the node's.
    """
    routed = frozenset[int]().union(*(each.interfaces for each in told.default_routes))
    addresses = {own, *(each.source for each in told.default_routes)}
    if own is None and not routed:
        addresses |= {each.address for each in told.addresses}
    return routed | {each.index for each in told.addresses if each.address in addresses}


def grounded(told: Network, devices: Mapping[str, str], carrying: frozenset[int]) -> Ground:
    ties = rtnetlink.ties(told.links)
    over = above(ties)
    interfaces = tuple(_interface(each, devices.get(each.name), over[each.index]) for each in told.links)
    uplinks = below(ties, carrying)
    ahead = [*uplinks, *(each.index for each in interfaces if each.device is not None)]
    concerned: set[int] = set()
    while ahead:
        if (index := ahead.pop()) not in concerned:
            concerned.add(index)
            ahead += over[index]
    return Ground(interfaces, uplinks, frozenset(concerned))


def _interface(link: Link, device: str | None, over: frozenset[int]) -> Interface:
    return Interface(
        index=link.index,
        name=link.name,
        type=link.type,
        up=link.up,
        operstate=link.operstate,
        carrier=link.carrier,
        above=over,
        device=device,
        switch_id=link.switch_id,
        port_name=link.port_name,
        virtual_functions=link.virtual_functions,
    )


def devices_of(host: Host) -> dict[str, str]:
    """Return where the device of each interface is that has one, relative to /sys/class/net, by interface."""
    directory = f"{host.sys.path}/class/net"
    found: dict[str, str] = {}
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return {}
    for name in names:
        try:
            device, net, _ = os.readlink(f"{directory}/{name}").rsplit("/", 2)
        except (OSError, ValueError):
            continue  # gone meanwhile, or a file (bonding_masters)
        if net == "net" and not device.endswith(f"/{_VIRTUAL}"):
            found[name] = device
    return found


def difference(host: Host, links: Iterable[Link], devices: Mapping[str, str]) -> str:
    """Return what is wrong when the interfaces with a device are not those that /sys shows; nothing if they are.

    Linux before 5.14 does not tell devices: there, what counts is the address of the hardware.
    """
    told = {each.name: each.parent for each in links if each.parent}
    seen = {name: os.path.basename(path) for name, path in devices.items()}
    if not told:
        told = {each.name: each.hardware for each in links if each.name in seen}
        net = host.sys / "class/net"
        seen = {name: net.optional_text(f"{name}/address") or "" for name in seen}
    others = sorted({name for name, _ in told.items() ^ seen.items()})
    return f"{host.sys.path}/class/net and rtnetlink do not agree about {', '.join(others[:3])}" if others else ""


def named(host: Host, links: Iterable[Link], devices: Mapping[str, str]) -> dict[str, str]:
    """Return the device of each interface that has one, as devlink writes it."""
    buses = {each.name: each.bus for each in links}
    net = host.sys / "class/net"
    found: dict[str, str] = {}
    for name, path in devices.items():
        if bus := buses[name] or net.link_name(f"{path}/subsystem"):
            found[name] = f"{bus}/{os.path.basename(path)}"
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """What drivers said, by device."""

    eswitch_modes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ddp_profiles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rdma_enabled: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    vdpa: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def words(
    host: Host, around: Ground, facts: frozenset[LinkFact], look: Look, *, before: Words, seconds: float
) -> Words:
    """Ask the drivers; of a device that should answer and does not, the answer `before` stays.

    A kernel without devlink or vDPA has nothing to say, and neither has a driver that does not know them.

    Raises:
        NetlinkError: the kernel does not tell whether it has them.
    """
    physical = sorted({each.device for each in around.interfaces if each.device is not None})
    virtual = frozenset(_virtual_functions(host, physical))
    every = sorted({*physical, *virtual, *_scalable_functions(host)})
    try:
        conversation = netlink.Conversation(netlink.GENERIC, seconds)
    except OSError:
        return Words()
    with conversation as kernel:
        family = kernel.family("devlink")
        driver = devlink.Devlink(kernel, family or 0)
        asked = {
            LinkFact.ESWITCH: [each for each in physical if each not in virtual],
            LinkFact.DDP: every,
            LinkFact.RDMA: every,
        }
        wanted = {fact: devices if fact in facts and family else () for fact, devices in asked.items()}
        return Words(
            eswitch_modes=said(wanted[LinkFact.ESWITCH], driver.eswitch_mode, before.eswitch_modes, look),
            ddp_profiles=said(wanted[LinkFact.DDP], driver.ddp_profile, before.ddp_profiles, look),
            rdma_enabled=said(wanted[LinkFact.RDMA], driver.rdma_enabled, before.rdma_enabled, look),
            vdpa=_vdpa(kernel, before.vdpa) if LinkFact.VDPA in facts else {},
        )


def said(devices: Iterable[str], ask: Callable[[str], T | None], before: Mapping[str, T], look: Look) -> dict[str, T]:
    """Return the answers of the devices that have one; `look` says which one is being asked."""
    found: dict[str, T] = {}
    for device in devices:
        try:
            with look.reading(device):
                answer = ask(device)
        except (netlink.NetlinkError, TimeoutError, SysfsError):
            answer = before.get(device)
        if answer is not None:
            found[device] = answer
    return found


def _vdpa(kernel: netlink.Conversation, before: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return devlink.vdpa(kernel)
    except (netlink.NetlinkError, TimeoutError):
        return before


def _virtual_functions(host: Host, physical: Iterable[str]) -> Iterator[str]:
    for device in physical:
        bus, _, name = device.partition("/")
        directory = host.sys / f"bus/{bus}/devices/{name}"
        for each in directory.children("virtfn*"):
            if (function := directory.link_name(each.name)) is not None:
                yield f"{bus}/{function}"


def _scalable_functions(host: Host) -> Iterator[str]:
    for each in (host.sys / "bus/auxiliary/devices").children("*.sf.*"):
        yield f"auxiliary/{each.name}"


def assembled(around: Ground, said: Words) -> Links:
    """Return what is known of the host's links.

    Whose eswitch the agent may not ask for its mode (that takes CAP_NET_ADMIN) is recognised by what only the mode
    `switchdev` has: interfaces that represent functions.
    """
    representing = {each.device for each in around.interfaces if _REPRESENTOR.fullmatch(each.port_name or "")}
    switched = {device: "switchdev" for device in representing if device is not None}
    return Links(
        interfaces=around.interfaces,
        uplinks=around.uplinks,
        eswitch_modes=MappingProxyType(switched | dict(said.eswitch_modes)),
        ddp_profiles=MappingProxyType(dict(said.ddp_profiles)),
        rdma_enabled=MappingProxyType(dict(said.rdma_enabled)),
        vdpa=MappingProxyType(dict(said.vdpa)),
    )


class Reader(Protocol):
    """Reads in a worker thread, with a deadline for every device (`sources.look`)."""

    async def read(self, kind: str, step: str, reading: Callable[[Look], T]) -> T: ...


class Source:
    """What netlink tells of one host's links, and what it told last."""

    def __init__(self, host: Host, node_ip: str, reader: Reader, deadline: Callable[[], float]) -> None:
        self._host = host
        self._node_ip = node_ip
        self._reader = reader
        self._deadline = deadline
        self._said = Words()
        self.concerned: frozenset[int] | None = None
        """The interfaces whose changes matter; `None` while that is not known."""

    async def links(self, kind: str, facts: frozenset[LinkFact]) -> Links:
        """Return what the kind wants to know.

        Raises:
            LinksError: it is not known.
        """
        if self._host.simulated:
            return await self._reader.read(kind, "links", lambda _: linkfiles.read(self._host.root))
        seconds = self._deadline()
        try:
            around = await self._reader.read(kind, "rtnetlink", lambda _: ground(self._host, self._node_ip, seconds))
        except TimeoutError as error:
            raise LinksError(f"rtnetlink: has not answered for {seconds:g} s") from error
        self.concerned = around.concerned
        if facts <= {LinkFact.INTERFACES}:
            return assembled(around, Words())
        before = self._said
        with suppress(TimeoutError, netlink.NetlinkError):  # what drivers said last stays
            self._said = await self._reader.read(
                kind, "devlink", lambda look: words(self._host, around, facts, look, before=before, seconds=seconds)
            )
        return assembled(around, self._said)
