"""Checks of what surrounds the agent: what its pod sees and may do, and whether containers may open what they get.

Sources: man 7 inode, the CDI specification (directories), and the type of SELinux that container-selinux has for device
plugins.
"""

import os
import stat
from collections.abc import Iterator

from intel_agent.doctor.finding import Finding, Severity
from intel_agent.doctor.node import Node
from intel_agent.publish.probe import unusable

_CDI_DIRECTORIES = frozenset({"/etc/cdi", "/run/cdi", "/var/run/cdi"})
_CONFINED = "container_t"
_EVERYBODY = stat.S_IROTH | stat.S_IWOTH
_SEE = "in a pod, mount the host's {0} to {1} (the chart does), and run with --root"


def trees(node: Node) -> Iterator[Finding]:
    for directory, inside in ((node.host.sys, "bus"), (node.host.dev, ".")):
        if not directory.exists(inside):
            name = node.host.kernel_path(directory)
            remedy = _SEE.format(name, f"/host{name}")
            evidence = f"{directory.path}{'' if inside == '.' else f'/{inside}'} is not there"
            yield Finding(Severity.ERROR, name, "the node's devices cannot be seen", evidence, remedy)


def selinux(node: Node) -> Iterator[Finding]:
    if (node.host.sys / "fs/selinux").optional_text("enforce") != "1":
        return  # without SELinux the next file cannot be read
    context = (node.proc.optional_text("self/attr/current") or "").strip("\0")
    if _CONFINED in context.split(":"):
        yield Finding(
            Severity.ERROR,
            "SELinux",
            f"{_CONFINED} may use neither kubelet's sockets nor its directories",
            f"/proc/self/attr/current: {context}; /sys/fs/selinux/enforce: 1",
            "Helm value seLinux.type: container_device_plugin_t",
        )


def cdi(node: Node) -> Iterator[Finding]:
    users = sorted(
        name
        for name, found in node.inventory.found.items()
        if node.kinds[name].cdi != "none" or any(each.edits.needs_cdi for each in found.devices)
    )
    if not users:
        return
    directory = node.config.cdi.directory
    if (problem := unusable(directory, made_later=True)) is not None:
        remedy = "make it a directory that the agent can write; in a pod it must be mounted (the chart does)"
        yield Finding(Severity.ERROR, directory, f"CDI files for {', '.join(users)} cannot be written", problem, remedy)
    elif directory not in _CDI_DIRECTORIES:
        remedy = f"have the runtime look there too (cdi_spec_dirs of containerd and CRI-O), or use {_usual()}"
        problem = f"container runtimes do not look there by themselves; {', '.join(users)} depends on it"
        yield Finding(Severity.WARNING, directory, problem, f"cdi.directory: {directory}", remedy)


def _usual() -> str:
    return " or ".join(sorted(_CDI_DIRECTORIES))


def closed_nodes(node: Node) -> Iterator[Finding]:
    for name, found in node.inventory.found.items():
        closed: dict[tuple[int, int], list[str]] = {}
        for each in (node for device in found.devices for node in device.edits.device_nodes):
            try:
                status = os.stat(f"{node.host.root}{each.name}")
            except OSError:
                continue
            if status.st_mode & _EVERYBODY != _EVERYBODY:
                closed.setdefault((stat.S_IMODE(status.st_mode), status.st_gid), []).append(each.name)
        for (mode, group), names in closed.items():
            shown = ", ".join(dict.fromkeys(names))
            remedy = (
                f"in such pods: securityContext.supplementalGroups: [{group}]"
                if mode & stat.S_IRWXG
                else "a rule of udev that gives them a group and mode 0660"
            )
            remedy += "; or have the runtime do it: device_ownership_from_security_context (containerd, CRI-O)"
            evidence = f"mode {mode:04o}, group {group}: {shown}"
            yield Finding(Severity.NOTE, name, "containers that do not run as root cannot open these", evidence, remedy)
