"""The agent at one moment, as it is told to whoever asks from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

from intel_agent import log
from intel_agent.config import Config
from intel_agent.inventory import Found, Inventory
from intel_agent.latest import Latest
from intel_agent.publish.holdings import Holdings, Key
from intel_agent.publish.kubelet import Incarnation, Kubelet
from intel_agent.publish.publisher import Published, Publisher
from intel_agent.publish.roster import Listing
from intel_agent.sources.scan import Looks, Scanner

VERSION = metadata.version("intel-agent")
_NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource at kubelet: what it should hear, whether it took us, and whether it heard."""

    name: str
    listing: Listing
    registered: bool
    listed: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`revisions` changes whenever anything about devices, lists or holders does."""

    version: str
    inventory: Inventory
    resources: tuple[Resource, ...]
    holders: Mapping[Key, str | None]
    """Who holds which id (`namespace/pod/container`), as far as kubelet told."""
    holders_known: bool
    missing: tuple[str, ...]
    """What keeps pods from getting what the node has."""
    kubelet_since: float
    """When kubelet's socket was made, in seconds since 1970; 0 without one."""
    looks: Mapping[str, Looks]
    measured: Mapping[str, Found]
    """What the last look at each kind found: its readings are new with every look, and make no revision."""
    kernel_events: Mapping[str, int]
    judges: Mapping[str, bool]
    """Outside judges of devices that are asked, and whether each was heard when it was asked last."""
    cluster_problems: int
    """How many things keep the agent from what it should do by the Kubernetes API."""
    log_events: Mapping[tuple[str, str], int]
    log_lines_lost: int
    events: tuple[Mapping[str, object], ...]
    """The last lines of the log, oldest first."""
    generation: int
    revisions: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Observer:
    """What is looked at, where it lives."""

    config: Latest[Config]
    inventory: Latest[Inventory]
    scanner: Scanner
    publisher: Publisher
    kubelet: Kubelet
    kernel_events: Mapping[str, int]
    judges: Callable[[], Mapping[str, bool]]
    cluster_problems: Callable[[], int]
    missing: Callable[[], tuple[str, ...]]

    def snapshot(self, holdings: Holdings) -> Snapshot:
        """Return the agent at this moment; `holdings` is what kubelet told of who holds what."""
        incarnation = self.kubelet.incarnation.value
        published = self.publisher.published
        return Snapshot(
            version=VERSION,
            inventory=self.inventory.value,
            resources=tuple(_resource(name, each, incarnation) for name, each in published.items()),
            holders=holdings.held,
            holders_known=holdings.known,
            missing=self.missing(),
            kubelet_since=0 if incarnation is None else incarnation.changed / _NANOSECONDS,
            looks=self.scanner.looks,
            measured=self.scanner.found,
            kernel_events=dict(self.kernel_events),
            judges=self.judges(),
            cluster_problems=self.cluster_problems(),
            log_events=log.counted(),
            log_lines_lost=log.lost(),
            events=log.last(),
            generation=self.config.revision,
            revisions=(self.inventory.revision, holdings, *(each.plugin.revision for each in published.values())),
        )


def _resource(name: str, published: Published, kubelet: Incarnation | None) -> Resource:
    registration = published.registration
    listener = registration.listener
    return Resource(
        name,
        published.listing.value,
        registered=registration.registered is not None and registration.registered == kubelet,
        listed=listener is not None and listener.sent == published.plugin.revision,
    )
