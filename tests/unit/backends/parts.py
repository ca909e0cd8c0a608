"""The accelerators of a machine on which nothing is odd, one part each."""

from dataclasses import dataclass

ROOT = "/sys/devices/pci0000:00"


@dataclass(frozen=True)
class Part:
    """One accelerator of the sound machine: how its ids begin, what paths of it contain, by what it is found."""

    prefix: str
    marks: tuple[str, ...]
    found_by: tuple[str, ...]
    tree: str

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(line.split()[0] for line in self.tree.split("\n") if line)


def _card(number: int) -> Part:
    address = f"0000:0{number}:00.0"
    function = f"{ROOT}/{address}"
    return Part(
        f"card{number}",
        (address, f"/drm/card{number}"),
        (f"/sys/class/drm/card{number}",),
        f"""
/sys/class/drm/card{number} -> ../../devices/pci0000:00/{address}/drm/card{number}
{function}/vendor = 0x8086
{function}/device = 0x56c0
{function}/class = 0x030000
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
{function}/numa_node = 0
{function}/sriov_numvfs = 0
{function}/driver -> ../../../bus/pci/drivers/xe
{function}/xe.mei-gsc.1/mei/mei{number}/dev = 241:{number}
{function}/drm/card{number}/dev = 226:{number}
{function}/drm/renderD{128 + number}/dev = 226:{128 + number}
/dev/dri/card{number} c 226:{number}
/dev/dri/renderD{128 + number} c 226:{128 + number}
/dev/dri/by-path/pci-{address}-card -> ../card{number}
/dev/dri/by-path/pci-{address}-render -> ../renderD{128 + number}
/dev/mei{number} c 241:{number}
""",
    )


def _virtual_card() -> Part:
    address = "0000:20:00.0"
    function = f"{ROOT}/{address}"
    return Part(
        address,
        (address, "/iommu_groups/51"),
        (f"/sys/bus/pci/devices/{address}", f"{function}/class"),
        f"""
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
{function}/class = 0x038000
{function}/vendor = 0x8086
{function}/device = 0x56c0
{function}/numa_node = 0
{function}/sriov_numvfs = 0
{function}/driver -> ../../../bus/pci/drivers/vfio-pci
{function}/iommu_group -> ../../../kernel/iommu_groups/51
/sys/kernel/iommu_groups/51/name = identity
/sys/kernel/iommu_groups/51/devices/{address} -> ../../../../devices/pci0000:00/{address}
/dev/vfio/51 c 240:51
""",
    )


def _queue(kind: str, number: int) -> Part:
    address = f"0000:1{number}:00.0"
    unit = f"{ROOT}/{address}/{kind}{number}"
    return Part(
        f"wq-user-shared-wq{number}.0",
        (address, f"/{kind}{number}"),
        (f"/sys/bus/dsa/devices/{kind}{number}",),
        f"""
/sys/bus/dsa/devices/{kind}{number} -> ../../../devices/pci0000:00/{address}/{kind}{number}
{ROOT}/{address}/numa_node = 0
{unit}/state = enabled
{unit}/wq{number}.0/state = enabled
{unit}/wq{number}.0/mode = shared
{unit}/wq{number}.0/type = user
{unit}/wq{number}.0/name = app
/dev/{kind}/wq{number}.0 c 238:{number}
/dev/char/238:{number} -> ../{kind}/wq{number}.0
""",
    )


def _fpga(number: int) -> Part:
    address = f"0000:2{number}:00.0"
    region = f"{ROOT}/{address}/fpga_region/region{number}"
    engine = f"{region}/dfl-fme.{number}"
    return Part(
        "dfl-",
        (address, f"/region{number}"),
        (f"/sys/class/fpga_region/region{number}",),
        f"""
/sys/class/fpga_region/region{number} -> ../../devices/pci0000:00/{address}/fpga_region/region{number}
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
{ROOT}/{address}/vendor = 0x8086
{ROOT}/{address}/device = 0x09c4
{ROOT}/{address}/class = 0x120000
{ROOT}/{address}/numa_node = 0
{ROOT}/{address}/driver -> ../../../bus/pci/drivers/dfl-pci
{engine}/dev = 236:{number}
{engine}/dfl-fme-region.1/fpga_region/region1{number}/compat_id = ce48969398f05f33946d560708be108a
{region}/dfl-port.{number}/dev = 235:{number}
{region}/dfl-port.{number}/afu_id = d8424dc4a4a3c413f89e433683f9040b
/dev/dfl-fme.{number} c 236:{number}
/dev/dfl-port.{number} c 235:{number}
""",
    )


def _npu(number: int) -> Part:
    address = f"0000:2{number}:00.0"
    function = f"{ROOT}/{address}"
    return Part(
        f"accel{number}",
        (address, f"/accel{number}"),
        (f"/sys/class/accel/accel{number}",),
        f"""
/sys/class/accel/accel{number} -> ../../devices/pci0000:00/{address}/accel/accel{number}
{function}/accel/accel{number}/dev = 261:{number}
{function}/vendor = 0x8086
{function}/device = 0x7d1d
{function}/class = 0x120000
{function}/numa_node = 0
{function}/driver -> ../../../bus/pci/drivers/intel_vpu
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
/dev/accel/accel{number} c 261:{number}
""",
    )


def _balancer(number: int) -> Part:
    address = f"0000:3{number}:00.0"
    function = f"{ROOT}/{address}"
    return Part(
        f"/dev/dlb{number}",
        (address, f"/dlb{number}"),
        (f"/sys/class/dlb2/dlb{number}",),
        f"""
/sys/class/dlb2/dlb{number} -> ../../devices/pci0000:00/{address}/dlb2/dlb{number}
{function}/dlb2/dlb{number}/dev = 234:{number}
{function}/device = 0x2710
{function}/class = 0x0b4000
{function}/sriov_numvfs = 0
{function}/numa_node = 0
{function}/driver -> ../../../bus/pci/drivers/dlb2
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
/dev/dlb{number} c 234:{number}
""",
    )


def _gaudi(number: int) -> Part:
    address = f"0000:4{number}:00.0"
    function = f"{ROOT}/{address}"
    return Part(
        address,
        (address, f"/accel{number}"),
        (f"/sys/class/accel/accel{number}",),
        f"""
/sys/class/accel/accel{number} -> ../../devices/pci0000:00/{address}/accel/accel{number}
{function}/accel/accel{number}/device -> ../..
{function}/vendor = 0x1da3
{function}/device = 0x1020
{function}/class = 0x120000
{function}/numa_node = 0
{function}/status = Operational
{function}/module_id = 3
{function}/driver -> ../../../bus/pci/drivers/habanalabs
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
/sys/bus/pci/drivers/habanalabs/{address} -> ../../../../devices/pci0000:00/{address}
/dev/accel/accel{number} c 261:{number}
/dev/accel/accel_controlD{number} c 261:{128 + number}
""",
    )


def _network_function(number: int) -> Part:
    address = f"0000:5{number}:00.1"
    function = f"{ROOT}/{address}"
    return Part(
        address,
        (address, f"/{number}"),
        (f"/sys/bus/pci/devices/{address}",),
        f"""
/sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}
{function}/vendor = 0x8086
{function}/device = 0x1889
{function}/class = 0x020000
{function}/numa_node = 0
{function}/sriov_numvfs = 0
{function}/driver -> ../../../bus/pci/drivers/vfio-pci
{function}/iommu_group -> ../../../kernel/iommu_groups/{number}
/sys/kernel/iommu_groups/{number}/devices/{address} -> ../../../../devices/pci0000:00/{address}
/dev/vfio/{number} c 240:{number}
""",
    )


def _function(number: int) -> Part:
    address = f"0000:3{number}:00"
    physical, function = f"{ROOT}/{address}.0", f"{ROOT}/{address}.1"
    return Part(
        f"{address}.1",
        (address,),
        (f"/sys/bus/pci/devices/{address}.1",),
        f"""
/sys/bus/pci/devices/{address}.1 -> ../../../devices/pci0000:00/{address}.1
{function}/vendor = 0x8086
{function}/device = 0x4941
{function}/class = 0x0b4000
{function}/numa_node = 0
{function}/driver -> ../../../bus/pci/drivers/vfio-pci
{function}/iommu_group -> ../../../kernel/iommu_groups/7{number}
{function}/physfn -> ../{address}.0
/sys/bus/pci/devices/{address}.0 -> ../../../devices/pci0000:00/{address}.0
{physical}/vendor = 0x8086
{physical}/device = 0x4940
{physical}/class = 0x0b4000
{physical}/driver -> ../../../bus/pci/drivers/4xxx
{physical}/sriov_numvfs = 1
{physical}/qat/state = up
{physical}/qat/cfg_services = dc
/sys/kernel/debug/qat_4xxx_{address}.0/dev_cfg = [GENERAL]\\nServicesEnabled = dc
/sys/kernel/iommu_groups/7{number}/devices/{address}.1 -> ../../../../devices/pci0000:00/{address}.1
/dev/vfio/7{number} c 240:7{number}
""",
    )


VFIO = "/dev/vfio/vfio c 10:196"
"""What all functions need: spoiled, it harms all of them."""

ENCLAVES = Part(
    "sgx-",
    ("/sgx_",),
    (),
    """
/sys/devices/virtual/misc/sgx_enclave/dev = 10:125
/sys/devices/virtual/misc/sgx_provision/dev = 10:126
/dev/sgx_enclave c 10:125
/dev/sgx_provision c 10:126
""",
)
QUEUES = (_queue("dsa", 3), _queue("dsa", 4), _queue("iax", 5))
FUNCTIONS = (_function(7), _function(8), _network_function(1), _network_function(2))
OTHERS = (_fpga(6), _npu(9), _balancer(0), _gaudi(8))
PARTS = (_card(1), _card(2), _virtual_card(), *QUEUES, ENCLAVES, *FUNCTIONS, *OTHERS)
