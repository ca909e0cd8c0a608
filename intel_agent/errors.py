"""Every error of our own. Each is raised where the cause is known and caught at a border (design, section 8)."""


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


class ClusterError(AgentError):
    """The Kubernetes API cannot be reached, or refuses; with its own words."""


class ConflictError(ClusterError):
    """An object of the Kubernetes API changed between being read and being written."""


class DirectoryGoneError(KubeletError):
    """The mounted device-plugins directory was removed on the host: only a new mount can help."""
