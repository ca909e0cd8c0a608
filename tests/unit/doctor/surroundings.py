"""Nodes on which something is wrong around the devices: the kernel, the pod, the configuration."""

from collections.abc import Mapping

from .nodes import Broken, Says, added, gone, mode, write

POOL = "{nic: {pools: [{resource: intel.com/e810, selectors: {drivers: [iavf]}}]}}"
HEAD = "Inter-|   Receive\n face |bytes    packets errs\n"

NODES: Mapping[str, Broken] = {
    "no /sys": Broken(
        changes=(gone("/sys"),),
        says=(
            Says(
                "trees",
                "error",
                "/sys",
                "cannot be seen",
                "/sys/bus is not there",
                "mount the host's /sys to /host/sys",
            ),
        ),
    ),
    "no /dev": Broken(
        machine="empty",
        changes=(gone("/dev"),),
        says=(
            Says("trees", "error", "/dev", "cannot be seen", "/dev is not there", "mount the host's /dev to /host/dev"),
        ),
    ),
    "a bus that cannot be used by a kind": Broken(
        machine="empty",
        changes=(gone("/sys/class/drm"), write("/sys/class/drm", "no directory")),
        says=(Says("failed", "error", "gpu", "devices of gpu cannot be looked at", "class/drm: not a directory", ""),),
    ),
    "user namespace": Broken(
        changes=(write("/proc/self/uid_map", "         0     100000      65536"),),
        says=(
            Says(
                "user-namespace",
                "warning",
                "user namespace",
                "messages of the kernel do not arrive",
                "/proc/self/uid_map: 0 100000 65536",
                "hostUsers: true",
            ),
        ),
    ),
    "a network of its own": Broken(
        machine="nic-host",
        devices=POOL,
        changes=(write("/proc/self/net/dev", f"{HEAD}    lo:  0 0 0\n  eth0:  0 0 0"),),
        says=(
            Says(
                "network-namespace",
                "error",
                "network namespace",
                "another network namespace, where nic hears nothing of interfaces",
                "/proc/self/net/dev: eth0, lo; /sys/class/net: ",
                "hostNetwork: true",
            ),
        ),
    ),
    "SELinux": Broken(
        changes=(
            write("/proc/self/attr/current", "system_u:system_r:container_t:s0:c1,c2"),
            write("/sys/fs/selinux/enforce", "1"),
        ),
        says=(
            Says(
                "selinux",
                "error",
                "SELinux",
                "container_t may use neither kubelet's sockets",
                "/proc/self/attr/current: system_u:system_r:container_t:s0:c1,c2",
                "seLinux.type: container_device_plugin_t",
            ),
        ),
    ),
    "control groups of version 1": Broken(
        changes=(added("/sys/fs/cgroup/devices/"),),
        says=(
            Says(
                "control-groups", "note", "control groups", "version 1", "/sys/fs/cgroup/devices", "failCgroupV1: false"
            ),
        ),
    ),
    "nodes for a group": Broken(
        changes=(mode("/dev/dri/renderD128", 0o660),),
        says=(
            Says(
                "closed-nodes",
                "note",
                "gpu",
                "containers that do not run as root cannot open these",
                "mode 0660, group ",
                "supplementalGroups",
            ),
        ),
    ),
    "nodes for root": Broken(
        changes=(mode("/dev/dri/renderD128", 0o600),),
        says=(Says("closed-nodes", "note", "gpu", "cannot open these", "/dev/dri/renderD128", "a rule of udev"),),
    ),
    "CDI where nobody looks": Broken(
        devices="{gpu: {cdi: both}}",
        sections={"cdi": {"directory": "/srv/cdi"}},
        says=(
            Says(
                "cdi-directory", "warning", "/srv/cdi", "gpu depends on it", "cdi.directory: /srv/cdi", "cdi_spec_dirs"
            ),
        ),
    ),
    "CDI where nobody can write": Broken(
        devices="{gpu: {cdi: names}}",
        sections={"cdi": {"directory": "/dev/null"}},
        says=(
            Says("cdi-directory", "error", "/dev/null", "CDI files for gpu", "is not a directory", "must be mounted"),
        ),
    ),
    "labels that are not known": Broken(
        sections={
            "nodeOverrides": [{"selector": {"matchLabels": {"type": "flex"}}, "devices": {"gpu": {"sharedDevNum": 2}}}]
        },
        says=(
            Says(
                "overrides",
                "warning",
                "nodeOverrides",
                "it is not known which of them mean this node",
                "nodeOverrides: 1; the state directory remembers",
                "labels",
            ),
        ),
    ),
    "a file that is not there": Broken(
        devices="{nic: {configFile: /nowhere/config.json}}",
        says=(
            Says(
                "configuration-file", "error", "/nowhere/config.json", "cannot be used", "no such file", "mend the file"
            ),
        ),
    ),
}
