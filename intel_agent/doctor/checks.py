"""All checks, in the order in which they are made. docs/doctor.md has the same table; a test compares them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from intel_agent.doctor import cluster, devices, kernel, kubelet, pod, settings
from intel_agent.doctor.finding import Diagnosis, Finding, Severity, Told
from intel_agent.doctor.node import Node
from intel_agent.errors import SysfsError

_ORDER = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Check:
    """A pure function of a node, and in one sentence what is the matter when it finds something."""

    name: str
    about: str
    run: Callable[[Node], Iterable[Finding]]


CHECKS = (
    Check("trees", "The node's /sys or /dev cannot be seen.", pod.trees),
    Check("failed", "A kind of device cannot be looked at as a whole.", devices.failed),
    Check("left-out", "A device was seen and is not offered: the rule that decided says why.", devices.left_out),
    Check(
        "unseen",
        "An accelerator is on the PCI bus, its kind is enabled, and nothing made of it is seen, offered or not.",
        devices.unseen,
    ),
    Check(
        "unknown-id", "An accelerator of Intel, by its PCI class, is of no kind that the agent knows.", devices.unknown
    ),
    Check("unhealthy", "A device is offered, and something is wrong with it.", devices.unhealthy),
    Check("disabled", "There is hardware of a kind whose section is switched off.", settings.disabled),
    Check(
        "nothing-offered",
        "A section is enabled, there is hardware of its kind, and none of it is offered, for reasons that were chosen.",
        settings.nothing_offered,
    ),
    Check(
        "offered-twice", "Two sections offer the same device, so that two containers could get it.", settings.doubles
    ),
    Check("overrides", "It is not known which overrides mean the node: its labels are not.", settings.overrides),
    Check("rule-ignored", "A rule for single devices does not do what it says.", settings.rules),
    Check(
        "configuration-file",
        "A file that continues the configuration cannot be used, or says what means nothing.",
        settings.files,
    ),
    Check(
        "kubelet-directory", "Kubelet's device-plugins directory is not there or cannot be written.", kubelet.directory
    ),
    Check(
        "kubelet-socket",
        "Kubelet's socket is not there, nobody answers on it, or not as a kubelet with device plugins.",
        kubelet.registration,
    ),
    Check(
        "pod-resources", "The socket that tells which pod holds which device does not answer.", kubelet.pod_resources
    ),
    Check(
        "kubelet-version",
        "Kubelet is older than what the agent is tried with, by what its pod-resources socket or the node object says.",
        kubelet.version,
    ),
    Check(
        "kubelet-features",
        "By the node object, kubelet does something for the agent only with a feature gate.",
        kubelet.features,
    ),
    Check("node-object", "The node object is not looked at, for want of rights or of an answer.", cluster.unseen),
    Check(
        "labels",
        "The node's labels do not fit what is offered, where Node Feature Discovery looks at the node.",
        cluster.labels,
    ),
    Check("rival", "Another device plugin serves a resource that the agent would offer.", kubelet.rivals),
    Check("agent", "No agent runs on this node.", kubelet.agent),
    Check("iommu", "Functions for drivers in user space cannot be isolated, as the IOMMU is off.", kernel.iommu),
    Check("address-spaces", "DSA or IAA cannot work in a process's addresses (PASID).", kernel.address_spaces),
    Check("firmware", "The kernel did not find a device's firmware.", kernel.firmware),
    Check("sgx", "The processor has SGX, and there are no devices of it.", kernel.sgx),
    Check("control-groups", "The node has control groups of version 1.", kernel.control_groups),
    Check(
        "user-namespace",
        "The agent is in a user namespace, where no message of the kernel arrives.",
        kernel.user_namespace,
    ),
    Check(
        "network-namespace",
        "The agent is not in the node's network namespace, and network functions are to be offered.",
        kernel.network_namespace,
    ),
    Check("selinux", "SELinux keeps the agent from kubelet's sockets.", pod.selinux),
    Check("cdi-directory", "CDI files cannot be written, or are not where container runtimes look.", pod.cdi),
    Check("closed-nodes", "Only root, or a group, may open device nodes that containers get.", pod.closed_nodes),
)


def diagnosed(node: Node, checks: Sequence[Check] = CHECKS) -> Diagnosis:
    """Return what the checks find, the worst first. One that cannot look harms no other."""
    told: list[Told] = []
    blind: list[tuple[str, str]] = []
    for check in checks:
        try:
            told += [Told(check.name, each) for each in check.run(node)]
        except SysfsError as error:
            blind.append((check.name, str(error)))
        except Exception as error:  # noqa: BLE001 - the border of one check
            blind.append((check.name, f"unexpected: {error!r}"))
    return Diagnosis(tuple(sorted(_joined(told), key=lambda each: _ORDER.index(each.finding.severity))), tuple(blind))


def _joined(told: Iterable[Told]) -> Iterator[Told]:
    """Yield findings that say the same of several subjects as one of all of them, in the place of the first."""
    subjects: dict[Told, list[str]] = {}
    for each in told:
        subjects.setdefault(Told(each.check, replace(each.finding, subject="")), []).append(each.finding.subject)
    for each, names in subjects.items():
        yield Told(each.check, replace(each.finding, subject=", ".join(names)))
