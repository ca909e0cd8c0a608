"""Nodes on which something is wrong with DSA, IAA, SGX, QAT, DLB, FPGA or Gaudi."""

from collections.abc import Mapping

from .nodes import DSA, IAA, Broken, Says, added, driverless, gone, rebound, unplugged, write

AT_DSA, AT_IAA = "0000:6a:01.0 (8086:0b25)", "0000:6a:02.0 (8086:0cfe)"
BOTH = (driverless(DSA, "dsa0", loaded=True), driverless(IAA, "iax1"))
UNIT = f"{DSA}/dsa0"
QUEUE = "wq0.0 of 0000:6a:01.0"
QAT = "/sys/devices/pci0000:6a/0000:6a:00.0/0000:6b:00.0"
VIRTUAL = "/sys/devices/pci0000:6a/0000:6a:00.0/0000:6b:00.1"
AT_VIRTUAL = "0000:6b:00.1 (8086:4941)"
FPGA, AT_FPGA = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0", "0000:3b:00.0 (8086:09c4)"
GAUDI, AT_GAUDI = "/sys/devices/pci0000:31/0000:31:00.0/0000:33:00.0", "0000:33:00.0 (1da3:1020)"
NO_ENCLAVES = tuple(unplugged(f"/sys/devices/virtual/misc/sgx_{each}") for each in ("enclave", "provision"))


def function(device: str) -> str:
    """Return a co-processor without driver."""
    return f"""
/sys/devices/pci0000:6d/0000:6d:00.0/vendor = 0x8086
/sys/devices/pci0000:6d/0000:6d:00.0/device = {device}
/sys/devices/pci0000:6d/0000:6d:00.0/class = 0x0b4000
/sys/bus/pci/devices/0000:6d:00.0 -> ../../../devices/pci0000:6d/0000:6d:00.0
"""


def left_out(about: str, problem: str, evidence: str, remedy: str, severity: str = "error") -> Says:
    return Says("left-out", severity, about, problem, evidence, remedy)


def unseen(about: str, problem: str, evidence: str, remedy: str) -> Says:
    return Says("unseen", "error", about, problem, evidence, remedy)


def virtual(problem: str, evidence: str, remedy: str) -> Says:
    return left_out(AT_VIRTUAL, f"virtual function of QAT (4xxx){problem}", evidence, remedy)


NODES: Mapping[str, Broken] = {
    "DSA and IAA without driver": Broken(
        changes=BOTH,
        says=(
            unseen(AT_DSA, "DSA accelerator: no driver is bound", "/sys/bus/pci/drivers/idxd", "modprobe idxd"),
            unseen(AT_IAA, "IAA accelerator: no driver is bound", "/sys/bus/pci/drivers/idxd", "modprobe idxd"),
        ),
    ),
    "idxd kept away on the command line": Broken(
        changes=(*BOTH, write("/proc/cmdline", "root=/dev/sda1 module_blacklist=nouveau,idxd quiet")),
        says=(
            unseen(AT_DSA, "no driver", "/proc/cmdline: module_blacklist=nouveau,idxd", "take idxd out of there"),
            unseen(AT_IAA, "no driver", "/proc/cmdline: module_blacklist=nouveau,idxd", "take idxd out of there"),
        ),
    ),
    "DSA that another driver has": Broken(
        changes=(driverless(DSA, "dsa0", loaded=True), rebound(DSA, "uio_pci_generic")),
        says=(
            unseen(AT_DSA, "nothing was made of this DSA accelerator", "/driver: uio_pci_generic", "bind it to idxd"),
        ),
    ),
    "DSA of which idxd made nothing": Broken(
        changes=(driverless(DSA, "dsa0", loaded=True), rebound(DSA, "idxd")),
        says=(unseen(AT_DSA, "nothing was made of", "/driver: idxd", "look for 0000:6a:01.0 in the kernel log"),),
    ),
    "DSA that vfio-pci has": Broken(
        changes=(driverless(DSA, "dsa0", loaded=True), rebound(DSA, "vfio-pci")),
        says=(left_out(AT_DSA, "is not offered: driver", "vfio-pci", "set devices.dsa.driver to vfio-pci"),),
    ),
    "DSA meant for user space that idxd has": Broken(
        devices="{dsa: {driver: vfio-pci}}",
        says=(
            left_out(AT_DSA, "is not offered: driver", "its driver is idxd", "modprobe vfio-pci disable_denylist=1"),
        ),
    ),
    "DSA switched off": Broken(
        changes=(write(f"{UNIT}/state", "disabled"),),
        says=(
            Says(
                "nothing-offered",
                "warning",
                "dsa",
                "nothing is offered of 1",
                "not-enabled: dsa0 is 'disabled'",
                "configure and enable it, for example with accel-config",
            ),
        ),
    ),
    "DSA that halted": Broken(
        changes=(write(f"{UNIT}/state", "halted"),),
        says=tuple(
            Says(
                "unhealthy",
                "error",
                f"wq-user-{mode}-wq0.{number} of dsa.intel.com/wq-user-{mode}",
                "it is offered as Unhealthy: halted",
                "dsa0 is halted",
                "The kernel log says whether a driver reset, a function reset or a reboot is needed",
            )
            for number, mode in enumerate(("shared", "dedicated", "dedicated"))
        ),
    ),
    "DSA without address spaces": Broken(
        changes=(write(f"{UNIT}/pasid_enabled", "0"),),
        says=(
            Says(
                "address-spaces",
                "warning",
                "dsa0 of 0000:6a:01.0",
                "queues of mode shared cannot be enabled",
                "dsa0/pasid_enabled: 0",
                "intel_iommu=on,sm_on",
            ),
        ),
    ),
    "DSA without queues": Broken(
        changes=tuple(gone(f"{UNIT}/wq0.{number}") for number in range(3)),
        says=(left_out("dsa0 of 0000:6a:01.0", "is not offered: no-queues", "has no work queues", "kernel log"),),
    ),
    "queue switched off": Broken(
        changes=(write(f"{UNIT}/wq0.0/state", "disabled"),),
        says=(left_out(QUEUE, "is not offered: not-enabled", "wq0.0 is 'disabled'", "accel-config", "note"),),
    ),
    "queue of the kernel": Broken(
        changes=(write(f"{UNIT}/wq0.0/type", "kernel"),),
        says=(left_out(QUEUE, "is not offered: queue-type", "type is 'kernel'", "only queues of type user", "note"),),
    ),
    "queue of an odd mode": Broken(
        changes=(write(f"{UNIT}/wq0.0/mode", "odd"),),
        says=(left_out(QUEUE, "is not offered: queue-mode", "mode is 'odd'", "shared or dedicated with accel-config"),),
    ),
    "queue without its node": Broken(
        changes=(gone("/dev/dsa/wq0.0"),),
        says=(left_out(QUEUE, "is not offered: no-node", "/dev/dsa/wq0.0 is not there", "the whole /dev of the host"),),
    ),
    "queue without its link": Broken(
        changes=(gone("/dev/char/238:0"),),
        says=(left_out(QUEUE, "is not offered: no-char-link", "/dev/char/238:0 is not there", "udev makes this link"),),
    ),
    "queue that cannot be read": Broken(
        changes=(gone(f"{UNIT}/wq0.0/state"),),
        says=(left_out(QUEUE, "is not offered: unreadable", "state: no such file or directory", "kernel log"),),
    ),
    "SGX with one node": Broken(
        changes=(gone("/dev/sgx_provision"),),
        says=(
            left_out(
                "/sys/devices/virtual/misc/sgx_enclave, /sys/devices/virtual/misc/sgx_provision",
                "a device of sgx is not offered: no-node",
                "/dev/sgx_provision not there",
                "nothing removes device files",
            ),
        ),
    ),
    "SGX with locked launch control": Broken(
        changes=(*NO_ENCLAVES, write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sgx aes")),
        says=(
            Says(
                "sgx", "error", "SGX", "launch control is locked", "flag sgx without sgx_lc", "BIOS: SGX launch control"
            ),
        ),
    ),
    "SGX without memory": Broken(
        changes=(*NO_ENCLAVES, write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sgx sgx_lc aes")),
        says=(Says("sgx", "error", "SGX", "has made no devices", "/proc/cpuinfo: flags sgx and sgx_lc", "PRMRR size"),),
    ),
    "SGX switched off on the command line": Broken(
        changes=(*NO_ENCLAVES, write("/proc/cmdline", "quiet nosgx")),
        says=(Says("sgx", "note", "SGX", "SGX is switched off", "/proc/cmdline: nosgx", "take nosgx off"),),
    ),
    "SGX for nobody": Broken(
        devices="{sgx: {enclaveLimit: 0}}",
        says=(
            left_out(
                "/sys/devices/virtual/misc/sgx_enclave",
                "limit",
                "enclaveLimit is 0",
                "set devices.sgx.enclaveLimit",
                "note",
            ),
        ),
    ),
    "SGX without UEFI": Broken(
        devices="{sgx: {dcapInfraResources: true}}",
        says=(
            left_out("/sys/class/misc/sgx_provision", "no-efi", "efivars is not there", "start the machine by UEFI"),
        ),
    ),
    "QAT whose physical function has no driver": Broken(
        machine="qat",
        changes=(rebound(QAT, None),),
        says=(
            left_out(
                ", ".join(
                    f"0000:6b:0{each} (8086:4941)" for each in (*(f"0.{number}" for number in range(1, 8)), "1.0")
                ),
                "is not offered: physical-driver",
                "its physical function 0000:6b:00.0 has no driver",
                "modprobe $(cat /sys/bus/pci/devices/0000:6b:00.0/modalias)",
            ),
        ),
    ),
    "QAT with one function unbound": Broken(
        machine="qat",
        changes=(rebound(VIRTUAL, None),),
        says=(
            virtual(": no driver is bound", "it has no driver", "echo vfio-pci > /sys/bus/pci/devices/0000:6b:00.1/"),
        ),
    ),
    "QAT with one function of the kernel": Broken(
        machine="qat",
        changes=(rebound(VIRTUAL, "4xxxvf"),),
        says=(virtual(" is not offered: driver", "its driver is 4xxxvf", "0000:6b:00.1/driver/unbind"),),
    ),
    "QAT function without its node": Broken(
        machine="qat",
        changes=(gone("/dev/vfio/51"), gone("/dev/vfio/devices")),
        says=(
            virtual(" is not offered: no-node", "neither /dev/vfio/51 with /dev/vfio/vfio nor a cdev", "whole /dev"),
        ),
    ),
    "QAT function that shares a group": Broken(
        machine="qat",
        changes=(
            added(
                "/sys/kernel/iommu_groups/51/devices/0000:b1:00.0 -> "
                "../../../../devices/pci0000:b0/0000:b0:00.0/0000:b1:00.0"
            ),
        ),
        says=(virtual(" is not offered: shared-iommu-group", "IOMMU group 51 has 0000:b1:00.0, too", "ACS"),),
    ),
    "QAT without virtual functions of the kind": Broken(
        machine="qat",
        devices="{qat: {kernelVfDrivers: [c6xxvf]}}",
        says=(
            Says(
                "nothing-offered",
                "warning",
                "qat",
                "nothing is offered of 19",
                "no-virtual-functions: none of its 16 virtual functions is enabled",
                "add it to devices.qat.kernelVfDrivers",
            ),
        ),
    ),
    "DLB without driver": Broken(
        changes=(added(function("0x2710")),),
        says=(
            left_out("0000:6d:00.0 (8086:2710)", "Dynamic Load Balancer: no driver", "drivers/dlb2", "modprobe dlb2"),
        ),
    ),
    "DLB's node without a DLB": Broken(
        changes=(added("/dev/dlb7 c 236:7"),),
        says=(left_out("/dev/dlb7", "no-device", "nothing in /sys/class/dlb2", "remove the file", "warning"),),
    ),
    "accelerator whose id is not known": Broken(
        changes=(added(function("0x4950")),),
        says=(
            Says(
                "unknown-id", "warning", "0000:6d:00.0 (8086:4950)", "not known", "class 0x0b4000", "update the agent"
            ),
        ),
    ),
    "FPGA without driver": Broken(
        machine="fpga",
        changes=(driverless(FPGA, "fpga_region"),),
        says=(left_out(AT_FPGA, "FPGA card PAC with Arria 10 GX: no driver", "drivers/dfl-pci", "modprobe dfl_pci"),),
    ),
    "FPGA port without its node": Broken(
        machine="fpga",
        changes=(gone("/dev/dfl-port.0"),),
        says=(left_out("dfl-port.0 of 0000:3b:00.0", "no-node", "/dev/dfl-port.0 is not there", "the whole /dev"),),
    ),
    "Gaudi that its driver did not take": Broken(
        machine="gaudi",
        changes=(driverless(GAUDI, "accel/accel0 accel/accel_controlD0 infiniband_verbs", loaded=True),),
        says=(left_out(AT_GAUDI, "Gaudi2: no driver is bound", "drivers/habanalabs is there", "kernel log"),),
    ),
    "Gaudi without its node": Broken(
        machine="gaudi",
        changes=(gone("/dev/accel/accel0"),),
        says=(left_out(AT_GAUDI, "Gaudi2 is not offered: no-node", "/dev/accel/accel0 not there", "the whole /dev"),),
    ),
}
