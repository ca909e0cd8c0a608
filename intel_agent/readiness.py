"""Whether pods can get what this node has: one answer for the startup taint and for whoever asks from outside."""

from collections.abc import Iterable, Iterator, Mapping

from intel_agent.cluster.resolution import Basis, Resolution
from intel_agent.inventory import Inventory
from intel_agent.publish.kubelet import Incarnation
from intel_agent.publish.publisher import Published

_OVERRIDES = {
    Basis.WAITING: "the node's labels are not known yet",
    Basis.BASE: "the node's labels are not known, and the sections without overrides are in force",
    Basis.REFUSED: "those that mean this node cannot be used together",
}


def missing(
    kinds: Iterable[str],
    inventory: Inventory,
    published: Mapping[str, Published],
    kubelet: Incarnation | None,
    resolution: Resolution | None,
    *,
    refused: Iterable[str] = (),
) -> Iterator[str]:
    """Yield what is missing until pods can get what this node has: nothing, when it is ready.

    Every kind in `kinds` was looked at, and each resource is registered with the present kubelet, which has its
    present list. `refused` is what is wrong with files that continue device sections.
    """
    yield from refused
    if resolution is None:
        yield "the device sections of this node are not in force yet"
    elif (trouble := _OVERRIDES.get(resolution.basis)) is not None:
        yield f"nodeOverrides: {trouble}"
    for kind in kinds:
        found = inventory.found.get(kind)
        if found is None:
            yield f"{kind}: not looked at yet"
        elif found.problem is not None:
            yield f"{kind}: {found.problem}"
    for resource in dict.fromkeys((*inventory.resources, *published)):
        if (trouble := _trouble(published.get(resource), kubelet)) is not None:
            yield f"{resource}: {trouble}"


def _trouble(published: Published | None, kubelet: Incarnation | None) -> str | None:
    if published is None:
        return "not published yet"
    if published.registration.registered is None or published.registration.registered != kubelet:
        return "not registered with kubelet"
    listener = published.registration.listener
    if listener is None or listener.sent != published.plugin.revision:
        return "kubelet does not have the present list yet"
    return None
