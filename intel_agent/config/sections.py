"""What can be configured, and the defaults. Types and descriptions are the schema; `problems` says what they cannot."""

from typing import Annotated, Literal

import msgspec

from intel_agent import log
from intel_agent.backends import Backend
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.idxd import Dsa, Iaa
from intel_agent.backends.sgx import Sgx
from intel_agent.config.section import Section
from intel_agent.config.selector import LabelKey, Selector

LONGEST_SOCKET_NAME = len(".dsa.intel.com-wq-user-dedicated.sock")
"""Bytes of the longest name of a socket that we make in kubelet's directory (it begins with a dot until it listens)."""

LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel allows a socket's path to have (man 7 unix)."""

AbsolutePath = Annotated[str, msgspec.Meta(pattern="^/")]


class Log(Section, frozen=True, kw_only=True):
    """What is written to standard output."""

    level: Annotated[log.Level, msgspec.Meta(description="The least important events that are written.")] = "info"
    format: Annotated[
        log.Format,
        msgspec.Meta(description="One JSON object a line, text for people, or what fits: text on a terminal only."),
    ] = "auto"


class Kubelet(Section, frozen=True, kw_only=True):
    """Where kubelet is found on this node."""

    device_plugin_directory: Annotated[
        AbsolutePath,
        msgspec.Meta(description="The directory of kubelet.sock and of the device plugins' sockets. Kubelet fixes it."),
    ] = "/var/lib/kubelet/device-plugins"
    pod_resources_socket: Annotated[
        AbsolutePath,
        msgspec.Meta(
            description="The socket that tells which pod holds which device. It follows kubelet's --root-dir."
        ),
    ] = "/var/lib/kubelet/pod-resources/kubelet.sock"

    def problems(self) -> dict[str, str]:
        found: dict[str, str] = {}
        directory, socket = (
            len(os_path.encode()) for os_path in (self.device_plugin_directory, self.pod_resources_socket)
        )
        limit = LONGEST_SOCKET_PATH - LONGEST_SOCKET_NAME - 1
        if directory > limit:
            found["devicePluginDirectory"] = (
                f"found a path of {directory} bytes; allowed {limit}, so that the path of every socket in it "
                f"has at most {LONGEST_SOCKET_PATH}"
            )
        if socket > LONGEST_SOCKET_PATH:
            found["podResourcesSocket"] = (
                f"found a path of {socket} bytes; allowed {LONGEST_SOCKET_PATH}, the longest path of a socket"
            )
        return found


class Cdi(Section, frozen=True, kw_only=True):
    """Files of the Container Device Interface, for the kinds whose key `cdi` is not `none`."""

    directory: Annotated[
        AbsolutePath,
        msgspec.Meta(description="Where the container runtime looks for CDI files that do not outlive a boot."),
    ] = "/var/run/cdi"


class Health(Section, frozen=True, kw_only=True):
    """How closely devices are watched."""

    rescan_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=1, le=3600, description="How often everything is looked at even if the kernel tells of no change."
        ),
    ] = 60.0
    read_deadline_seconds: Annotated[
        float,
        msgspec.Meta(ge=0.1, le=60, description="How long reading one device may take before it is set apart."),
    ] = 2.0
    grace_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=3600, description="How long a kind that cannot be looked at keeps its last devices healthy."
        ),
    ] = 30.0
    linger_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=3600, description="How long a device that is gone stays in kubelet's list, as Unhealthy."
        ),
    ] = 30.0


class Devices(Section, frozen=True, kw_only=True):
    """The kinds of devices. Each has its own section."""

    gpu: Gpu = Gpu()
    sgx: Sgx = Sgx()
    dsa: Dsa = Dsa()
    iaa: Iaa = Iaa()

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The kinds that are enabled, in the order of this file."""
        sections = (getattr(self, name) for name in self.__struct_fields__)
        return tuple(each for each in sections if isinstance(each, Backend) and each.enabled)


Value = bool | int | float | str | tuple[int | str, ...]
"""What a key of a device section can have as its value."""


class NodeOverride(Section, frozen=True, kw_only=True):
    """What is different on some nodes."""

    selector: Selector
    devices: Annotated[
        dict[str, dict[str, Value]],
        msgspec.Meta(description="Those keys of `devices` that are different there; a list is replaced as a whole."),
    ]


class StartupTaint(Section, frozen=True, kw_only=True):
    """A taint that keeps pods away from a new node until its devices are there. Something else puts it on the node."""

    enabled: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the agent removes the taint from its own node once everything is found and listed."
        ),
    ] = False
    key: Annotated[LabelKey, msgspec.Meta(description="The taint's key. Its value and effect do not matter.")] = (
        "intel.com/agent-not-ready"
    )


Machine = Literal["", "bench", "empty", "everything", "gpu-server", "laptop", "xeon"]
"""The packaged machines (`intel_agent.simulation.tree.names`), and none."""


class Simulation(Section, frozen=True, kw_only=True):
    """Pretended devices, to try the agent on a node without hardware."""

    node: Annotated[
        Machine,
        msgspec.Meta(
            description="The packaged machine that is served instead of this node's own devices. "
            "Containers get /dev/null in place of each device node."
        ),
    ] = ""


class Config(Section, frozen=True, kw_only=True):
    """The configuration of intel-agent."""

    log: Log = Log()
    kubelet: Kubelet = Kubelet()
    cdi: Cdi = Cdi()
    health: Health = Health()
    devices: Devices = Devices()
    node_overrides: Annotated[
        tuple[NodeOverride, ...],
        msgspec.Meta(
            description="What is different on some nodes: every entry that means this node is laid over `devices`, "
            "in order, key by key."
        ),
    ] = ()
    startup_taint: StartupTaint = StartupTaint()
    simulation: Simulation = Simulation()
