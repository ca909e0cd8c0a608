"""What can be configured, and the defaults. Types and descriptions are the schema; `problems` says what they cannot."""

from typing import Annotated, Literal

import msgspec

from intel_agent import log
from intel_agent.backends import Backend
from intel_agent.backends.dlb import Dlb
from intel_agent.backends.dsa import Dsa
from intel_agent.backends.fpga import Fpga
from intel_agent.backends.gaudi import Gaudi
from intel_agent.backends.gpu import Gpu
from intel_agent.backends.iaa import Iaa
from intel_agent.backends.nic import Nic
from intel_agent.backends.npu import Npu
from intel_agent.backends.qat import Qat
from intel_agent.backends.sgx import Sgx
from intel_agent.config.selector import LabelKey, Selector
from intel_agent.model import Reason
from intel_agent.rules import Reasons, reasons_but
from intel_agent.section import Section

LONGEST_SOCKET_NAME = len(".dsa.intel.com-wq-user-dedicated.sock")
"""Bytes of the longest name of a socket that we make in kubelet's directory (it begins with a dot until it listens).

Those of FPGAs are longer and fit kubelet's own directory. In another one kubelet may refuse them, one by one.
"""

LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel allows a socket's path to have (man 7 unix)."""

HOST = "^[0-9A-Za-z.:-]*$"

AbsolutePath = Annotated[str, msgspec.Meta(pattern="^/")]


def _socket_problem(path: str) -> str:
    """Return what is wrong with the path of a socket, or nothing."""
    if (length := len(path.encode())) <= LONGEST_SOCKET_PATH:
        return ""
    return f"found a path of {length} bytes; allowed {LONGEST_SOCKET_PATH}, the longest path of a socket"


_KUBERNETES = ("kubernetes.io", "k8s.io")
"""Domains whose taints Kubernetes itself puts on nodes and takes away."""
_NO_FAULTS = frozenset({Reason.HELD, Reason.RESERVED, Reason.UNDEFINED})
"""Reasons that say nothing of the device itself."""


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
        directory = len(self.device_plugin_directory.encode())
        limit = LONGEST_SOCKET_PATH - LONGEST_SOCKET_NAME - 1
        if directory > limit:
            found["devicePluginDirectory"] = (
                f"found a path of {directory} bytes; allowed {limit}, so that the path of every socket in it "
                f"has at most {LONGEST_SOCKET_PATH}"
            )
        if problem := _socket_problem(self.pod_resources_socket):
            found["podResourcesSocket"] = problem
        return found


class Cdi(Section, frozen=True, kw_only=True):
    """Files of the Container Device Interface: for kinds whose key `cdi` is not `none`, and for hooks."""

    directory: Annotated[
        AbsolutePath,
        msgspec.Meta(description="Where the container runtime looks for CDI files that do not outlive a boot."),
    ] = "/var/run/cdi"


class DeviceInfo(Section, frozen=True, kw_only=True):
    """Device-info files of the Network Plumbing Working Group, for network functions."""

    directory: Annotated[
        str,
        msgspec.Meta(pattern="^(/.*)?$", description="Where network plugins look for them; nothing means: no files."),
    ] = "/var/run/k8s.cni.cncf.io/devinfo/dp"


class Xpumd(Section, frozen=True, kw_only=True):
    """xpumd's word about graphics cards."""

    socket: Annotated[
        str,
        msgspec.Meta(
            pattern="^(/.*)?$",
            description="The socket of its health service, usually /run/xpumd/intelxpuinfo.sock; nothing means: it is "
            "not asked.",
        ),
    ] = ""

    def problems(self) -> dict[str, str]:
        problem = _socket_problem(self.socket)
        return {"socket": problem} if problem else {}


class Health(Section, frozen=True, kw_only=True):
    """How closely devices are watched, and what is made of what is seen."""

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
    recovery_seconds: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=86400,
            description="How long a fault must be over before the device is healthy again. Each time the fault comes "
            "back within an hour this doubles, up to an hour.",
        ),
    ] = 30.0
    reasons: Annotated[
        Reasons,
        msgspec.Meta(
            description="How reasons of docs/faults.md are treated: fault (the device is Unhealthy), warning (it is "
            "only said), or ignore."
        ),
    ] = {}  # noqa: RUF012 - msgspec copies it
    xpumd: Xpumd = Xpumd()


class Http(Section, frozen=True, kw_only=True):
    """Metrics for Prometheus and probes for kubelet."""

    host: Annotated[
        str,
        msgspec.Meta(
            pattern=HOST,
            description="The address where /metrics, /livez and /readyz are served; nothing means: nowhere. "
            "`pod` is the pod's own address (POD_IP), and loopback outside a pod.",
        ),
    ] = ""
    port: Annotated[
        int, msgspec.Meta(ge=0, le=65535, description="The port; 0 means a free one, which the log names.")
    ] = 9808
    status_page: Annotated[
        bool, msgspec.Meta(description="Whether / is a page that shows people the node at a glance.")
    ] = False


class Devices(Section, frozen=True, kw_only=True):
    """The kinds of devices. Each has its own section."""

    gpu: Gpu = Gpu()
    npu: Npu = Npu()
    gaudi: Gaudi = Gaudi()
    sgx: Sgx = Sgx()
    dsa: Dsa = Dsa()
    iaa: Iaa = Iaa()
    dlb: Dlb = Dlb()
    fpga: Fpga = Fpga()
    qat: Qat = Qat()
    nic: Nic = Nic()

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The kinds that are enabled and have something to look for, in the order of this file."""
        sections = (getattr(self, name) for name in self.__struct_fields__)
        return tuple(each for each in sections if isinstance(each, Backend) and each.enabled and each.configured)


Value = bool | int | float | str | tuple[int | str | dict[str, object], ...] | dict[str, str]
"""What a key of a device section can have as its value: the schema says it more exactly."""


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


class KubernetesEvents(Section, frozen=True, kw_only=True):
    """Events of Kubernetes about devices in use."""

    enabled: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the pod that has a device, and the node, get an Event when it breaks or heals."
        ),
    ] = False


class NodeCondition(Section, frozen=True, kw_only=True):
    """The condition `IntelDeviceUnhealthy` of the node."""

    enabled: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the node has a condition that says whether a device is unhealthy, and which ones."
        ),
    ] = False


Kind = Literal["gpu", "npu", "gaudi", "sgx", "dsa", "iaa", "dlb", "fpga", "qat", "nic"]
"""A key of `devices`."""
FaultReason = Annotated[str, msgspec.Meta(pattern=reasons_but(_NO_FAULTS))]
"""A reason that can be a fault of a device and that nobody decided on."""


class FaultTaint(Section, frozen=True, kw_only=True):
    """A taint that the node has while a device is unhealthy."""

    enabled: Annotated[bool, msgspec.Meta(description="Whether the agent keeps the taint on its own node.")] = False
    key: Annotated[LabelKey, msgspec.Meta(description="The taint's key. It has no value.")] = (
        "intel.com/device-unhealthy"
    )
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"],
        msgspec.Meta(
            description="What it does to pods that do not tolerate it. NoExecute also ends those that run, whether "
            "they have a device or not."
        ),
    ] = "NoSchedule"
    kinds: Annotated[
        tuple[Kind, ...], msgspec.Meta(description="Kinds whose devices count; nothing means all of them.")
    ] = ()
    reasons: Annotated[
        tuple[FaultReason, ...],
        msgspec.Meta(
            description="Reasons of docs/faults.md that count; nothing means all that make a device unhealthy, but for "
            "unreadable: then it is unknown how the device is, and the taint stays as it is."
        ),
    ] = ()

    def problems(self) -> dict[str, str]:
        domain = self.key.rpartition("/")[0]
        if domain.endswith(_KUBERNETES):
            return {"key": f'found "{self.key}"; allowed a key of a domain that is not one of Kubernetes'}
        return {}

    def clash(self, startup: StartupTaint) -> str:
        """Return what is wrong with the key beside that of another taint, or nothing."""
        if self.enabled and startup.enabled and self.key == startup.key:
            return f'found "{self.key}", which startupTaint takes away; allowed another key'
        return ""


EvictionReason = Annotated[str, msgspec.Meta(pattern=reasons_but(_NO_FAULTS | {Reason.UNREADABLE}))]
"""A reason for which a pod can be evicted: never that something is unknown."""
NAMESPACE = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
Namespace = Annotated[str, msgspec.Meta(pattern=NAMESPACE)]


class Eviction(Section, frozen=True, kw_only=True):
    """Eviction of pods that hold a device which has been unhealthy for long."""

    enabled: Annotated[bool, msgspec.Meta(description="Whether such pods are evicted, by the Eviction API.")] = False
    dry_run: Annotated[
        bool, msgspec.Meta(description="Whether the API server and the log only say what would be evicted.")
    ] = False
    after_seconds: Annotated[
        float, msgspec.Meta(ge=1, le=86400, description="How long the device must have been unhealthy.")
    ] = 300.0
    per_minute: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="How many pods of the node are evicted in a minute at most.")
    ] = 1
    reasons: Annotated[
        tuple[EvictionReason, ...],
        msgspec.Meta(description="Reasons of docs/faults.md that count; at least one."),
    ] = ("wedged", "off-bus", "not-recovered", "fatal-errors", "halted", "power", "gone")
    kinds: Annotated[
        tuple[Kind, ...], msgspec.Meta(description="Kinds whose devices count; nothing means all of them.")
    ] = ()
    namespaces: Annotated[
        tuple[Namespace, ...],
        msgspec.Meta(description="Namespaces whose pods may be evicted; nothing means all but kube-system."),
    ] = ()
    daemon_sets: Annotated[
        bool, msgspec.Meta(description="Whether pods of DaemonSets are evicted, too: they come back to the node.")
    ] = False

    def problems(self) -> dict[str, str]:
        if not self.reasons:
            return {"reasons": "found no reason; allowed one or more: without any, nothing would ever be evicted"}
        return {}


Machine = Literal[
    "", "bench", "empty", "everything", "fpga", "gaudi", "gpu-server", "laptop", "nic-host", "qat", "xeon"
]
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
    device_info: DeviceInfo = DeviceInfo()
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
    kubernetes_events: KubernetesEvents = KubernetesEvents()
    node_condition: NodeCondition = NodeCondition()
    fault_taint: FaultTaint = FaultTaint()
    eviction: Eviction = Eviction()
    http: Http = Http()
    simulation: Simulation = Simulation()
