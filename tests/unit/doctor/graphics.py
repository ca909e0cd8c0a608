"""Nodes on which something is wrong with GPUs and NPUs, or their drivers."""

from collections.abc import Mapping

from .nodes import FLEX, Broken, Says, added, driverless, gone, rebound, write

CARD = "drm/card0 drm/renderD128 xe.mei-gscfi.15104"
AT = "0000:3b:00.0 (8086:56c0)"
OTHER = "0000:bb:00.0 (8086:56c0)"
NO_DRIVER = "Data Center GPU Flex 170: no driver is bound"
I915 = gone("/sys/bus/pci/drivers/i915")
NPU = "/sys/devices/pci0000:00/0000:00:0b.0"
AT_NPU = "0000:00:0b.0 (8086:7d1d)"
VIRTUAL = "/sys/devices/pci0000:aa/0000:aa:00.0/0000:ab:00."


def left_out(problem: str, evidence: str, remedy: str, about: str = AT, severity: str = "error") -> Says:
    return Says("left-out", severity, about, problem, evidence, remedy)


def flex(evidence: str, remedy: str) -> tuple[Says, ...]:
    return (left_out(NO_DRIVER, evidence, remedy),)


NODES: Mapping[str, Broken] = {
    "GPU whose driver is not loaded": Broken(
        changes=(driverless(FLEX, CARD), I915),
        says=flex("/sys/bus/pci/devices/0000:3b:00.0/driver is not there", "load xe or i915: modprobe xe"),
    ),
    "GPU that its driver did not take": Broken(
        changes=(driverless(FLEX, CARD, loaded=True),),
        says=flex("/sys/bus/pci/drivers/xe is there and has not taken it", "Above 4G Decoding"),
    ),
    "GPU of a family that is not known": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), write(f"{FLEX}/device", "0xffff")),
        says=(
            left_out(
                "GPU of a family not known here: no driver is bound",
                "drivers/xe is there and has not taken it",
                "force_probe",
                "0000:3b:00.0 (8086:ffff)",
            ),
        ),
    ),
    "GPU meant for another driver": Broken(
        changes=(driverless(FLEX, CARD), write(f"{FLEX}/driver_override", "pci-stub")),
        says=flex("/sys/bus/pci/devices/0000:3b:00.0/driver_override: pci-stub", "echo > /sys/bus/pci/devices/"),
    ),
    "GPU while drivers take nothing by themselves": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), write("/sys/bus/pci/drivers_autoprobe", "0")),
        says=flex("drivers_autoprobe: 0", "echo 0000:3b:00.0 > /sys/bus/pci/drivers_probe"),
    ),
    "GPU drivers kept away by modprobe.d": Broken(
        changes=(
            driverless(FLEX, CARD),
            I915,
            write("/etc/modprobe.d/none.conf", "# no graphics\nblacklist xe # here\ninstall i915 /bin/false"),
        ),
        says=flex("/etc/modprobe.d/none.conf: blacklist xe", "take xe and i915 out of there, then modprobe xe or i915"),
    ),
    "GPU drivers kept away by the command line": Broken(
        changes=(driverless(FLEX, CARD), I915, write("/proc/cmdline", "quiet modprobe.blacklist=i915,xe")),
        says=flex("/proc/cmdline: modprobe.blacklist=i915,xe", "take xe and i915 out of there"),
    ),
    "GPU without modesetting": Broken(
        changes=(driverless(FLEX, CARD), I915, write("/proc/cmdline", "quiet nomodeset")),
        says=flex("/proc/cmdline: nomodeset", "take nomodeset off the kernel's command line"),
    ),
    "GPU on a kernel without its modules": Broken(
        changes=(
            driverless(FLEX, CARD),
            I915,
            write("/proc/sys/kernel/osrelease", "6.1.0-18-cloud"),
            write("/lib/modules/6.1.0-18-cloud/modules.dep", "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz"),
        ),
        says=flex("/lib/modules/6.1.0-18-cloud/modules.dep: no xe or i915", "a kernel that has xe or i915"),
    ),
    "GPU on a kernel that has its modules": Broken(
        changes=(
            driverless(FLEX, CARD),
            I915,
            write("/proc/sys/kernel/osrelease", "6.8.0"),
            write(
                "/lib/modules/6.8.0/modules.dep", "kernel/drivers/gpu/drm/xe/xe.ko.zst: kernel/drivers/gpu/drm/drm.ko"
            ),
        ),
        says=flex("nor is /sys/bus/pci/drivers/xe or i915", "modprobe xe"),
    ),
    "GPU whose firmware is missing": Broken(
        changes=(
            driverless(FLEX, CARD, loaded=True),
            write(
                "/dev/kmsg",
                "6,1,1,-;usb 1-1: new device\n SUBSYSTEM=usb\n"
                "3,412,88,-;xe 0000:3b:00.0: Direct firmware load for xe/dg2_guc_70.bin failed with error -2",
            ),
        ),
        says=(
            *flex("has not taken it", "missing firmware"),
            Says(
                "firmware",
                "warning",
                "0000:3b:00.0",
                "its firmware is missing",
                "kernel log: xe 0000:3b:00.0: Direct firmware load for xe/dg2_guc_70.bin failed with error -2",
                "install the package with xe/dg2_guc_70.bin",
            ),
        ),
    ),
    "GPU that another driver has": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), rebound(FLEX, "pci-stub")),
        says=(left_out("is not offered: driver", "driver 'pci-stub'", "bind it to i915 or xe for containers"),),
    ),
    "GPU for virtual machines without its node": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), rebound(FLEX, "vfio-pci")),
        says=(left_out("is not offered: no-node", "neither /dev/vfio/20 with /dev/vfio/vfio", "the whole /dev"),),
    ),
    "GPU that waits for firmware": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), rebound(FLEX, "xe"), write(f"{FLEX}/survivability_mode", "1")),
        says=(left_out("is not offered: survivability", "it is in survivability mode", "flash its firmware"),),
    ),
    "GPU without a card": Broken(
        changes=(driverless(FLEX, CARD, loaded=True), rebound(FLEX, "xe")),
        says=(left_out("is not offered: no-card", "driver xe made no card of it", "look at the kernel log"),),
    ),
    "GPU without its render node": Broken(
        changes=(gone("/dev/dri/renderD128"),),
        says=(
            left_out(
                "is offered without a part of it: node-missing",
                "/dev/dri/renderD128 is not there",
                "nothing removes device files",
                "renderD128 of 0000:3b:00.0",
                "warning",
            ),
            left_out(
                "this belongs to no device of gpu: by-path",
                "it leads to '/dev/dri/renderD128', no node of this card",
                "udev makes these links",
                "/dev/dri/by-path/pci-0000:3b:00.0-render",
                "warning",
            ),
        ),
    ),
    "GPU that cannot be read": Broken(
        changes=(gone(f"{FLEX}/vendor"), added(f"{FLEX}/vendor/")),
        says=(left_out("a device of gpu is not offered: unreadable", "is a directory", "kernel log", "0000:3b:00.0"),),
    ),
    "GPU with a narrow link": Broken(
        changes=(write(f"{FLEX}/current_link_width", "4"), write(f"{FLEX}/max_link_width", "16")),
        says=(
            Says(
                "unhealthy",
                "warning",
                "card0 of gpu.intel.com/xe",
                "it is not well: link-width",
                "has 4 of 16 lanes: reseat the card",
                "Reseat the card",
            ),
        ),
    ),
    "GPUs denied": Broken(
        devices='{gpu: {denyIDs: ["0x56c0"]}}',
        says=(
            Says(
                "nothing-offered",
                "warning",
                "gpu",
                "nothing is offered of 2",
                "denied: 0x56c0 is in denyIDs",
                "take it out of devices.gpu.denyIDs",
            ),
        ),
    ),
    "GPUs not allowed": Broken(
        devices='{gpu: {allowIDs: ["0x0bd5"]}}',
        says=(
            Says(
                "nothing-offered",
                "warning",
                "gpu",
                "nothing is offered of 2",
                "0x56c0 is not in allowIDs",
                "add it to devices.gpu.allowIDs",
            ),
        ),
    ),
    "GPU hidden by a rule": Broken(
        devices="{gpu: {rules: [{match: {name: card0}, hide: true}]}}",
        says=(
            left_out(
                "is not offered: hidden",
                "devices.gpu.rules[0] hides card0",
                "change devices.gpu.rules[0]",
                severity="note",
            ),
        ),
    ),
    "GPU reserved by a rule": Broken(
        devices="{gpu: {rules: [{match: {name: card0}, reserve: true}]}}",
        says=(
            Says(
                "unhealthy",
                "note",
                "card0 of gpu.intel.com/xe",
                "it is offered as Unhealthy: reserved",
                "devices.gpu.rules[0] keeps it from containers",
                "Take the rule away",
            ),
        ),
    ),
    "GPUs switched off": Broken(
        devices="{gpu: {enabled: false}}",
        says=(
            Says(
                "disabled",
                "note",
                "gpu",
                "the section is switched off, and there is hardware",
                "devices.gpu.enabled: false; 0000:3b:00.0, 0000:bb:00.0",
                "Helm value devices.gpu.enabled",
            ),
        ),
    ),
    "GPU hidden for its virtual functions": Broken(
        changes=(write(f"{FLEX}/sriov_numvfs", "2"),),
        says=(
            left_out(
                "is not offered: has-virtual-functions", "2 virtual functions are enabled", "write 0", severity="note"
            ),
        ),
    ),
    "rule for a GPU that is not there": Broken(
        devices="{gpu: {rules: [{match: {name: card9}, hide: true}]}}",
        says=(
            Says(
                "rule-ignored",
                "warning",
                "devices.gpu.rules[0]",
                "does nothing",
                "matches no device",
                "intel-agent devices",
            ),
        ),
    ),
    "virtual GPU without driver": Broken(
        machine="gpu-server",
        changes=(
            driverless("/sys/devices/pci0000:ba/0000:ba:00.0/0000:bb:00.1", "drm/card5 drm/renderD133", loaded=True),
        ),
        says=(left_out("Arc Pro B50: no driver", "drivers/xe is there", "drivers_probe", "0000:bb:00.1 (8086:e212)"),),
    ),
    "virtual GPUs without an IOMMU": Broken(
        machine="gpu-server",
        changes=(gone("/sys/kernel/iommu_groups"), *(gone(f"{VIRTUAL}{number}/iommu_group") for number in (1, 2, 3))),
        says=(
            left_out(
                "Arc Pro B70 is not offered: no-iommu-group",
                "it has no iommu_group",
                "BIOS: VT-d",
                "0000:ab:00.1 (8086:e223), 0000:ab:00.2 (8086:e223), 0000:ab:00.3 (8086:e223)",
            ),
            Says(
                "iommu",
                "error",
                "IOMMU",
                "0000:ab:00.1, 0000:ab:00.2, 0000:ab:00.3 cannot be given",
                "/sys/kernel/iommu_groups is empty",
                "intel_iommu=on",
            ),
        ),
    ),
    "NPU without driver": Broken(
        machine="laptop",
        changes=(driverless(NPU, "accel/accel0"),),
        says=(
            left_out("NPU of Core Ultra Series 2 (H): no driver", "drivers/intel_vpu", "modprobe intel_vpu", AT_NPU),
        ),
    ),
    "NPU of which nothing was made": Broken(
        machine="laptop",
        changes=(driverless(NPU, "accel/accel0", loaded=True), rebound(NPU, "intel_vpu")),
        says=(left_out("is not offered: no-accel", "driver intel_vpu made no", "its firmware is missing", AT_NPU),),
    ),
    "NPU without its node": Broken(
        machine="laptop",
        changes=(gone("/dev/accel/accel0"),),
        says=(left_out("is not offered: no-node", "/dev/accel/accel0 is not there", "the whole /dev", AT_NPU),),
    ),
    "NPU whose id is not known": Broken(
        machine="laptop",
        changes=(driverless(NPU, "accel/accel0"), write(f"{NPU}/device", "0xabcd")),
        says=(
            Says(
                "unknown-id",
                "warning",
                "0000:00:0b.0 (8086:abcd)",
                "this id is not known here",
                "class 0x120000, driver none",
                "update the agent",
            ),
        ),
    ),
    "NPU that two sections offer": Broken(
        machine="laptop",
        devices="{nic: {pools: [{resource: intel.com/x, deviceType: accelerator, selectors: {drivers: [intel_vpu]}}]}}",
        says=(
            Says(
                "offered-twice",
                "error",
                NPU,
                "devices.npu and devices.nic both offer it",
                "accel0 of npu.intel.com/accel, 0000:00:0b.0 of intel.com/x",
                "switch one of them off",
            ),
        ),
    ),
}
