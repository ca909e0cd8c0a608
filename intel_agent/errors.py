"""Every error of our own. Each is raised where the cause is known and caught at a border (design, section 8)."""

from collections.abc import Iterator
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class AgentError(Exception):
    """Expected error: what went wrong and where, in words a person can act on."""


class ConfigError(AgentError):
    """The configuration cannot be used. One line for each problem, each with its file, key and remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SimulationError(AgentError):
    """A pretended machine cannot be made."""


class SysfsError(AgentError):
    """A file below /sys or /dev cannot be read or does not say what the kernel documents."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class EditsError(AgentError):
    """Two devices ask for things that cannot both be in one container."""


class AllocationError(AgentError):
    """A container cannot have what it asks for; the text ends up in the pod's status."""


class KubeletError(AgentError):
    """Kubelet cannot be reached, or refuses; with kubelet's own words."""


class JudgeError(AgentError):
    """An outside judge of devices cannot be heard; with the system's words, or its own."""


class ClusterError(AgentError):
    """The Kubernetes API cannot be reached, or refuses; with its own words."""


class BusyError(ClusterError):
    """The Kubernetes API can be reached, and says: not now."""


class RefusedError(ClusterError):
    """The Kubernetes API can be reached, and does not do this one thing now."""


class HopelessError(RefusedError):
    """The Kubernetes API can be reached, and will not do this one thing however often it is asked."""


class MissingError(HopelessError):
    """The Kubernetes API can be reached, and has no such object."""


class InternalError(ClusterError):
    """The Kubernetes API can be reached, and failed to do this one thing."""


class ConflictError(ClusterError):
    """An object of the Kubernetes API changed between being read and being written."""


class ExistsError(ClusterError):
    """There is an object of this name in the Kubernetes API already."""


class DirectoryGoneError(KubeletError):
    """The mounted device-plugins directory was removed on the host: only a new mount can help."""


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """Yield the errors of a group, however deep they are inside."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)  # pyright: ignore[reportUnknownArgumentType]  # isinstance forgets of what
        else:
            yield error


def words(error: OSError) -> str:
    """Return what the system says is wrong, as a part of a sentence, without the path."""
    return (error.strerror or str(error)).lower()
