"""The values that are the chart's own: what stands around the agent, not in its file.

Every other value is a key of the agent's configuration file. A type here has the shape that a template reads.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from intel_agent.config.sections import AbsolutePath
from intel_agent.section import Section

Json = dict[str, Any]
Map = dict[str, str]
Name = Annotated[str, Meta(pattern="^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$")]
ConfigMapName = Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$")]
Digest = Annotated[str, Meta(pattern="^(sha256:[0-9a-f]{64})?$")]
SeLinuxType = Annotated[str, Meta(pattern="^([a-z][a-z0-9_]*)?$")]
Duration = Annotated[str, Meta(pattern="^[0-9]+(ms|s|m|h)$")]
Resource = Annotated[str, Meta(pattern="^([a-z0-9.-]+/[A-Za-z0-9._-]+)?$")]

WORDS = {
    Name: "a name",
    ConfigMapName: "the name of a ConfigMap",
    AbsolutePath: "an absolute path",
    Quantity: "a quantity",
    Digest: "a digest, sha256:...",
    SeLinuxType: "a type of SELinux",
    Duration: "a time like 30s",
    Resource: "a resource name",
}
"""What the patterns mean, for people."""


class Image(Section, frozen=True, kw_only=True):
    """Where the agent's image comes from. A change restarts the pods, one node after the other."""

    registry: Annotated[str, Meta(description="Host of the registry, and port if any; put before the repository.")] = ""
    repository: Annotated[str, Meta(description="Name of the image.", min_length=1)] = "intel-agent"
    tag: Annotated[str, Meta(description="Tag; nothing means the chart's appVersion.")] = ""
    digest: Annotated[Digest, Meta(description="Digest of the image; it wins over the tag.")] = ""
    pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Meta(description="When kubelet asks the registry.")
    ] = "IfNotPresent"
    pull_secrets: Annotated[
        tuple[Name, ...], Meta(description="Names of secrets of the namespace that open the registry.")
    ] = ()


class ServiceAccount(Section, frozen=True, kw_only=True):
    """The account that the pods run as. It has rights only with features that need them: docs/security.md."""

    create: Annotated[bool, Meta(description="Whether the chart makes it.")] = True
    name: Annotated[Name, Meta(description="Its name; nothing means the name of the DaemonSet.")] = ""
    annotations: Annotated[Map, Meta(description="Annotations of the account.")] = {}


# The two figures of memory are measured: docs/performance.md.
class Requests(Section, frozen=True, kw_only=True):
    """What the scheduler keeps free for the agent on its node."""

    cpu: Annotated[Quantity | UnsetType, Meta(description="Processors, for example 50m.")] = UNSET
    memory: Annotated[Quantity | UnsetType, Meta(description="Memory.")] = "85Mi"


class Limits(Section, frozen=True, kw_only=True):
    """What the agent may use at most."""

    cpu: Annotated[
        Quantity | UnsetType,
        Meta(description="Processors. Better none: kubelet's main loop waits for the agent's answers."),
    ] = UNSET
    memory: Annotated[Quantity | UnsetType, Meta(description="Memory; `kubectl exec` counts, too.")] = "200Mi"


class Resources(Section, frozen=True, kw_only=True):
    """What the agent's container asks for and may use."""

    requests: Requests = Requests()
    limits: Limits = Limits()


class Toleration(Section, frozen=True, kw_only=True):
    """A taint that does not keep the agent away."""

    key: Annotated[str, Meta(description="The taint's key.")] = ""
    operator: Annotated[Literal["Exists", "Equal", "Lt", "Gt"], Meta(description="How key and value are compared.")] = (
        "Equal"
    )
    value: Annotated[str, Meta(description="The taint's value.")] = ""
    effect: Annotated[Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"], Meta(description="Its effect.")] = ""
    toleration_seconds: Annotated[int | UnsetType, Meta(description="For how long NoExecute is tolerated.")] = UNSET


class NetworkPolicy(Section, frozen=True, kw_only=True):
    """A NetworkPolicy that lets nothing in but to metrics and probes, and nothing out but to the API server's ports
    where they are needed.
    """

    enabled: Annotated[bool, Meta(description="Whether there is one.")] = True
    api_server_ports: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65535)], ...],
        Meta(description="Ports of the API server, as a service and as a process; only used with rights to call it."),
    ] = (443, 6443)
    api_server_cidrs: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9a-fA-F.:]+/[0-9]{1,3}$")], ...],
        Meta(description='Addresses of the API server, for example ["10.0.0.1/32"]; nothing means: any host.'),
    ] = msgspec.field(default=(), name="apiServerCIDRs")
    metrics_from: Annotated[
        tuple[Json, ...],
        Meta(
            description="Who may read metrics, as peers of a NetworkPolicy, for example "
            "[{namespaceSelector: {matchLabels: {name: monitoring}}}]; nothing means: anybody."
        ),
    ] = ()


class PodMonitor(Section, frozen=True, kw_only=True):
    """A PodMonitor for the Prometheus operator."""

    enabled: Annotated[bool, Meta(description="Whether there is one; its CustomResourceDefinition must be there.")] = (
        False
    )
    interval: Annotated[Duration, Meta(description="How often Prometheus asks.")] = "30s"
    labels: Annotated[Map, Meta(description="Labels by which Prometheus selects it.")] = {}


class PrometheusRule(Section, frozen=True, kw_only=True):
    """Alerts for the Prometheus operator; each names what to do."""

    enabled: Annotated[bool, Meta(description="Whether there is one; its CustomResourceDefinition must be there.")] = (
        False
    )
    labels: Annotated[Map, Meta(description="Labels by which Prometheus selects it.")] = {}


class Dashboard(Section, frozen=True, kw_only=True):
    """A dashboard for Grafana, in a ConfigMap that its sidecar finds."""

    enabled: Annotated[bool, Meta(description="Whether there is one.")] = False
    labels: Annotated[Map, Meta(description="Labels by which the sidecar finds it.")] = msgspec.field(
        default_factory=lambda: {"grafana_dashboard": "1"}
    )


class Monitoring(Section, frozen=True, kw_only=True):
    """Objects for those who watch; they need `http.host`."""

    pod_monitor: PodMonitor = PodMonitor()
    prometheus_rule: PrometheusRule = PrometheusRule()
    dashboard: Dashboard = Dashboard()


class NodeFeatureRules(Section, frozen=True, kw_only=True):
    """A NodeFeatureRule for Node Feature Discovery: labels for nodes with accelerators, and sgx.intel.com/epc."""

    enabled: Annotated[bool, Meta(description="Whether there is one; its CustomResourceDefinition must be there.")] = (
        False
    )
    api_version: Annotated[
        Literal["nfd.k8s-sigs.io/v1alpha1", "nfd.openshift.io/v1alpha1"],
        Meta(description="The group that the cluster's Node Feature Discovery reads."),
    ] = "nfd.k8s-sigs.io/v1alpha1"
    namespace: Annotated[
        Name, Meta(description="Where the rule is with nfd.openshift.io; nothing means the chart's namespace.")
    ] = ""


class ConfigMap(Section, frozen=True, kw_only=True):
    """A ConfigMap that the agent can read: of a file that its configuration names."""

    name: Annotated[ConfigMapName, Meta(description="Its name, in the chart's namespace; it may come later.")]
    directory: Annotated[
        AbsolutePath, Meta(description="Where its keys are files, for example /etc/pcidp for devices.nic.configFile.")
    ]


class SeLinux(Section, frozen=True, kw_only=True):
    """SELinux, where nodes enforce it."""

    type: Annotated[
        SeLinuxType,
        Meta(
            description="The process type of the container, for example container_device_plugin_t; nothing means the "
            "container runtime's choice."
        ),
    ] = ""


class OpenShift(Section, frozen=True, kw_only=True):
    """What only OpenShift knows."""

    security_context_constraints: Annotated[
        bool, Meta(description="Whether there are SecurityContextConstraints that allow the pods what they need.")
    ] = False


class HostMounts(Section, frozen=True, kw_only=True):
    """How the node's /dev and /sys are seen. Both are always read-only themselves."""

    recursive_read_only: Annotated[
        bool,
        Meta(
            description="Whether what is mounted below them (cgroups, debugfs) is read-only, too. It needs Kubernetes "
            "1.30 and a container runtime that can; then mounts that the node makes later are not seen."
        ),
    ] = True


class Test(Section, frozen=True, kw_only=True):
    """What `helm test` does."""

    resource: Annotated[
        Resource,
        Meta(description="The resource that a pod is given one of, for example gpu.intel.com/xe; nothing: no test."),
    ] = ""


class Values(Section, frozen=True, kw_only=True):
    """The chart's own values."""

    name_override: Annotated[Name, Meta(description="In place of the chart's name, in names and labels.")] = ""
    fullname_override: Annotated[Name, Meta(description="The name of everything in the namespace.")] = ""
    enabled: Annotated[
        bool, Meta(description="Not read here: for the condition of a chart that has this one as a dependency.")
    ] = True
    image: Image = Image()
    resources: Resources = Resources()
    priority_class_name: Annotated[
        str, Meta(description="system-node-critical, so that no other pod displaces the agent.")
    ] = "system-node-critical"
    node_selector: Annotated[
        Map,
        Meta(
            description="Labels of the nodes that have an agent.",
            extra_json_schema={"default": {"kubernetes.io/os": "linux"}},
        ),
    ] = msgspec.field(default_factory=lambda: {"kubernetes.io/os": "linux"})
    affinity: Annotated[Json, Meta(description="The affinity of the pods, as Kubernetes knows it.")] = {}
    tolerations: Annotated[
        tuple[Toleration, ...],
        Meta(description="Taints that do not keep the agent away; not those of startupTaint and faultTaint."),
    ] = ()
    common_labels: Annotated[Map, Meta(description="Labels of every object; pods have podLabels.")] = {}
    common_annotations: Annotated[Map, Meta(description="Annotations of every object; pods have podAnnotations.")] = {}
    pod_labels: Annotated[Map, Meta(description="Labels of the pods. A change restarts them.")] = {}
    pod_annotations: Annotated[Map, Meta(description="Annotations of the pods. A change restarts them.")] = {}
    service_account: ServiceAccount = ServiceAccount()
    network_policy: NetworkPolicy = NetworkPolicy()
    host_mounts: HostMounts = HostMounts()
    config_maps: Annotated[
        tuple[ConfigMap, ...],
        Meta(description="ConfigMaps whose keys the agent reads as files. A change restarts pods."),
    ] = ()
    se_linux: SeLinux = SeLinux()
    open_shift: OpenShift = msgspec.field(default=OpenShift(), name="openshift")
    node_feature_rules: NodeFeatureRules = NodeFeatureRules()
    monitoring: Monitoring = Monitoring()
    test: Test = Test()
