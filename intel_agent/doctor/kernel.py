"""Checks of the kernel: the IOMMU, firmware, SGX, control groups, and namespaces.

Sources: Documentation/admin-guide/kernel-parameters.txt (`intel_iommu`, `nosgx`), Documentation/ABI/testing/dev-kmsg,
Documentation/ABI/testing/sysfs-kernel-iommu_groups, Documentation/ABI/stable/sysfs-driver-dma-idxd (`pasid_enabled`),
arch/x86/kernel/cpu/feat_ctl.c (the flags `sgx` and `sgx_lc` of /proc/cpuinfo), man 7 user_namespaces, man 5 proc,
Documentation/admin-guide/cgroup-v2.rst.
"""

import os
import re
from collections.abc import Iterable, Iterator

from intel_agent.doctor.drivers import command_line
from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Accelerator, Node
from intel_agent.userspace import VFIO_DRIVERS

_IOMMU = "switch it on: BIOS: VT-d; kernel command line: intel_iommu=on,sm_on"
_GROUPS = "/sys/kernel/iommu_groups"
_NO_FIRMWARE = re.compile(
    r"firmware.*(fail|missing|not found|error -)|(fail|missing|could not).*firmware", re.IGNORECASE
)
_FILE = re.compile(r"[\w./+-]+\.(?:bin|mbin|gz)\b")
_LONGEST_LOG = 8 << 20
_UNIT = re.compile(r"(dsa|iax)[0-9]+")
_ALL_IDS = "4294967295"


def iommu(node: Node) -> Iterator[Finding]:
    for_user_space = [each.address for each in node.accelerators if _is_for_user_space(each)]
    if not for_user_space or (node.host.sys / "kernel/iommu_groups").names():
        return
    words = [each for each in command_line(node) if each.startswith(("intel_iommu=", "iommu="))]
    evidence = f"{_GROUPS} is empty" + (f"; /proc/cmdline: {' '.join(words)}" if words else "")
    problem = f"the IOMMU is off, so {', '.join(for_user_space)} cannot be given to containers"
    yield Finding(Severity.ERROR, "IOMMU", problem, evidence, _IOMMU)


def _is_for_user_space(accelerator: Accelerator) -> bool:
    return accelerator.driver in VFIO_DRIVERS or accelerator.hardware.drivers.keys() <= VFIO_DRIVERS


def address_spaces(node: Node) -> Iterator[Finding]:
    for each in node.accelerators:
        for unit in each.function.children():
            if _UNIT.fullmatch(unit.name) and unit.optional_text("pasid_enabled") == "0":
                evidence = f"{node.called(unit.path)}/pasid_enabled: 0"
                problem = "it cannot work in a process's own addresses, so queues of mode shared cannot be enabled"
                yield Finding(Severity.WARNING, f"{unit.name} of {each.address}", problem, evidence, _IOMMU)


def firmware(node: Node) -> Iterator[Finding]:
    lines = kernel_log(node)
    for each in node.accelerators:
        told = [line for line in lines if each.address in line and _NO_FIRMWARE.search(line)]
        if told:
            file = _FILE.search(told[-1])
            remedy = (
                f"install the package with {file[0] if file else 'its firmware'} (linux-firmware; on Debian "
                "firmware-misc-nonfree), have it in the initial RAM disk if the driver is, and load the driver anew"
            )
            yield Finding(Severity.WARNING, each.address, "its firmware is missing", f"kernel log: {told[-1]}", remedy)


def kernel_log(node: Node) -> list[str]:
    """Return the messages of the kernel since it started, as far as they are kept; none where that is not allowed."""
    try:
        file = os.open(f"{node.host.root}/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        records = b"".join(_records(file)).decode("utf-8", "replace").splitlines()
    finally:
        os.close(file)
    return [line.partition(";")[2] for line in records if ";" in line and not line.startswith(" ")]


def _records(file: int) -> Iterator[bytes]:
    size = 0
    while size < _LONGEST_LOG:
        try:
            record = os.read(file, 8192)
        except BrokenPipeError:
            continue  # overwritten meanwhile; the next read goes on with what is there
        except OSError:
            return  # all has been read, or it is not allowed
        if not record:
            return
        size += len(record)
        yield record


def sgx(node: Node) -> Iterator[Finding]:
    found = node.inventory.found.get("sgx")
    if found is None or found.devices or found.exclusions or found.problem:
        return
    flags = _flags(node)
    if "nosgx" in command_line(node):
        evidence, remedy = "/proc/cmdline: nosgx", "take nosgx off the kernel's command line, if enclaves are wanted"
        yield Finding(Severity.NOTE, "SGX", "SGX is switched off", evidence, remedy)
    elif {"sgx", "sgx_lc"} <= flags:
        remedy = "give it enclave memory in the BIOS (PRMRR size, SGX: enabled, TME: enabled); the kernel log says more"
        evidence = "/proc/cpuinfo: flags sgx and sgx_lc; /dev/sgx_enclave is not there"
        yield Finding(Severity.ERROR, "SGX", "the kernel can use SGX and has made no devices", evidence, remedy)
    elif "sgx" in flags:
        evidence = "/proc/cpuinfo: flag sgx without sgx_lc"
        remedy = "BIOS: SGX launch control (FLC): unlocked"
        yield Finding(Severity.ERROR, "SGX", "launch control is locked, so there are no enclaves", evidence, remedy)


def _flags(node: Node) -> frozenset[str]:
    """Return the flags of the first processor; none where they cannot be read."""
    try:
        with open(f"{node.proc.path}/cpuinfo", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def control_groups(node: Node) -> Iterator[Finding]:
    groups = node.host.sys / "fs/cgroup"
    if not groups.exists("cgroup.controllers") and groups.exists("devices"):
        remedy = "kernel command line: systemd.unified_cgroup_hierarchy=1; or failCgroupV1: false for kubelet"
        problem = "this is version 1, on which kubelet does not start from Kubernetes 1.35 on unless told to"
        evidence = "/sys/fs/cgroup/devices is there, /sys/fs/cgroup/cgroup.controllers is not"
        yield Finding(Severity.NOTE, "control groups", problem, evidence, remedy)


def network_namespace(node: Node) -> Iterator[Finding]:
    kinds = [name for name, kind in node.kinds.items() if kind.enabled and kind.link_facts]
    before = _shown(node)
    if not kinds or not before or (own := _interfaces(node)) is None:
        return
    after = _shown(node)
    # Interfaces come and go: what tells the two apart was there, or was not, before and after.
    if (before & after) - own or own - (before | after):
        problem = f"the agent is in another network namespace, where {', '.join(kinds)} hears nothing of interfaces"
        evidence = f"/proc/self/net/dev: {_first(own)}; /sys/class/net: {_first(after)}"
        remedy = "in a pod hostNetwork: true (the chart has it while devices.nic is enabled)"
        yield Finding(Severity.ERROR, "network namespace", problem, evidence, remedy)


def _shown(node: Node) -> frozenset[str]:
    """Return the interfaces of the network namespace that the node's /sys shows."""
    return frozenset((node.host.sys / "class/net").names()) - {"bonding_masters"}


def _interfaces(node: Node) -> frozenset[str] | None:
    """Return the interfaces of the agent's own network namespace, or `None` where they cannot be read."""
    try:
        with open(f"{node.proc.path}/self/net/dev", encoding="utf-8", errors="replace") as file:
            return frozenset(line.partition(":")[0].strip() for line in file if ":" in line)
    except OSError:
        return None


def _first(names: Iterable[str], count: int = 5) -> str:
    """Return names for people, who need not see all."""
    ordered = sorted(names)
    return ", ".join([*ordered[:count], *(["..."] if len(ordered) > count else [])])


def user_namespace(node: Node) -> Iterator[Finding]:
    ids = (node.proc.optional_text("self/uid_map") or "").split()
    if ids and ids[:3] != ["0", "0", _ALL_IDS]:
        problem = "the agent is in a user namespace, where messages of the kernel do not arrive: changes are seen late"
        remedy = "run it outside (in a pod: hostUsers: true, or leave it out)"
        yield Finding(Severity.WARNING, "user namespace", problem, f"/proc/self/uid_map: {' '.join(ids)}", remedy)
