"""One look at the node from the command line, without an agent and without kubelet."""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import anyio
from msgspec.structs import replace

from intel_agent import log as logs
from intel_agent.backends import Backend
from intel_agent.cluster.membership import NODE_NAME
from intel_agent.cluster.memory import Memory
from intel_agent.config import Config, Devices, Whole, load, whole
from intel_agent.errors import AgentError
from intel_agent.inventory import Found, Inventory
from intel_agent.machine import pretended
from intel_agent.sources.known import NOTHING, ByPath, KnownFiles
from intel_agent.sources.look import NODE_IP, Looker
from intel_agent.sysfs import Host

NOTHING_KNOWN: Mapping[str, ByPath] = MappingProxyType({})

NOT_APPLIED = "not applied, as the agent has not applied them on this node yet"
"""What is to be said of overrides of which nobody knows whether they mean this node."""

_STDERR = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where the node is, where a pretended one can be made, and where the agent remembers its sections."""

    root: str
    host_root: str
    runtime_directory: str
    state_directory: str


@dataclass(frozen=True, slots=True)
class Sight:
    """The node that is looked at, its configuration with the sections in force, and what is said of their files."""

    host: Host
    config: Config
    sections: Whole
    place: Place
    known: Mapping[str, ByPath]
    """What an agent on this node found last, by kind."""
    overridden: bool = True
    """Whether the sections are those of this node, and not what they would be without `nodeOverrides`."""

    @property
    def looker(self) -> Looker:
        """A new one for each event loop."""
        deadline = self.config.health.read_deadline_seconds
        return Looker(self.host, lambda: deadline, lambda: None, node_ip=os.environ.get(NODE_IP, ""))

    async def inventory(self, looker: Looker) -> Inventory:
        """Return what is there, as `look` does."""
        return await look(self.config.devices.backends, looker, self.known)


@contextmanager
def sight(config: Path | None, place: Place) -> Generator[Sight]:
    """Give the node at `place`, or the pretended one that the configuration wants, for as long as the block lasts.

    Raises:
        AgentError: the configuration cannot be used, there is no node at `root`, or none can be pretended.
    """
    if not os.path.isdir(place.root):
        raise AgentError(f"{place.root}: no such directory (--root)")
    wanted = load(config).config
    logs.configure("error", "console", _STDERR)
    with _host(wanted.simulation.node, place) as host:
        in_force, overridden = _in_force(wanted, place)
        sections = whole(in_force, os.environ)
        files = KnownFiles(place.runtime_directory)
        known = {each.name: files.recalled(each.name) for each in sections.devices.backends if each.remembers}
        yield Sight(host, replace(wanted, devices=sections.devices), sections, place, known, overridden)


def _in_force(config: Config, place: Place) -> tuple[Devices, bool]:
    """Return the sections as the agent of this node applied them last, and whether they are that."""
    if not config.node_overrides:
        return config.devices, True
    remembered = Memory(place.state_directory, os.environ.get(NODE_NAME, "")).recalled(config)
    return remembered or config.devices, remembered is not None


def _host(machine: str, place: Place) -> AbstractContextManager[Host]:
    return pretended(machine, place.runtime_directory) if machine else nullcontext(Host(place.root, place.host_root))


async def look(backends: Sequence[Backend], looker: Looker, known: Mapping[str, ByPath] = NOTHING_KNOWN) -> Inventory:
    """Return what is there. A kind that cannot be looked at says why; a device that does not answer is left out.

    `known` is, by kind, what an agent on this node found last.
    """
    found: dict[str, Found] = {}

    async def look_at(backend: Backend) -> None:
        try:
            seen = await looker.at(backend, Found(), known.get(backend.name, NOTHING))
            found[backend.name] = backend.ruled(seen)
        except (AgentError, TimeoutError) as error:
            found[backend.name] = Found(problem=str(error))
        except Exception as error:  # noqa: BLE001 - the border of one kind: it must not keep the others from being told
            found[backend.name] = Found(problem=f"unexpected: {error!r}")

    async with anyio.create_task_group() as group:
        for backend in backends:
            group.start_soon(look_at, backend)
    return Inventory.of({backend.name: found[backend.name] for backend in backends})
