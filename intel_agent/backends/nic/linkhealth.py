"""Whether a function has a link: its own one, or that of the physical function that it sends through.

Sources: Documentation/networking/operstates.rst (an interface can be used when its operational state is `up`, or
`unknown`, which drivers have that never set it; it has a carrier or not), include/uapi/linux/if_link.h
(`IFLA_VF_LINK_STATE`: what an administrator wants of a virtual function's link, and not what it is).
"""

from collections.abc import Iterator
from typing import Literal

from intel_agent.backends.nic.candidates import Candidate
from intel_agent.links import Interface
from intel_agent.model import Fault, Reason

LinkHealth = Literal["none", "pf", "vf", "both"]
"""Whose link has to be there: nobody's, the physical function's, the function's own, or both."""

_USABLE = frozenset({"up", "unknown"})


def faults(candidate: Candidate, judged: LinkHealth) -> frozenset[Fault]:
    """Return what is wrong with the links that are judged. Of an interface that is out of sight nothing is known."""
    found: set[Fault] = set()
    if judged in {"pf", "both"} and candidate.link_state != "enable":  # such a function has a link without a cable
        found.update(_physical(candidate))
    if judged in {"vf", "both"}:
        found.update(_own(candidate))
    return frozenset(found)


def _physical(candidate: Candidate) -> Iterator[Fault]:
    interface = candidate.physical_interface
    if interface is not None and _down(interface):
        yield _fault(f"{interface.name}, which it sends through, has no link: look at the cable and the switch")


def _own(candidate: Candidate) -> Iterator[Fault]:
    for each in candidate.interfaces:
        if _down(each):
            yield _fault(f"{each.name} has no link: look at the link state of its physical function, and at the cable")
    if candidate.link_state == "disable":
        enable = f"ip link set {candidate.pf_name} vf {candidate.index} state auto"
        yield _fault(f"an administrator has switched its link off at its physical function: {enable}")


def _down(interface: Interface) -> bool:
    """Return whether the interface should be usable and is not.

    One that an administrator has down says nothing of a link: whoever gets the function takes it up, and functions of
    a physical one that is down work for many drivers.
    """
    return interface.up and (interface.carrier is False or interface.operstate not in _USABLE)


def _fault(detail: str) -> Fault:
    return Fault(Reason.LINK_DOWN, "rtnetlink", detail)
