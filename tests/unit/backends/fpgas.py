"""FPGAs for tests: their cards, and what is found of them."""

import msgspec

from intel_agent.backends.fpga import Fpga
from intel_agent.inventory import Found
from intel_agent.model import DeviceNode
from intel_agent.simulation.fpgas import Fpga as Card
from intel_agent.simulation.fpgas import Port
from intel_agent.simulation.machines import at
from intel_agent.sysfs import Host

INTERFACE, OTHER = "ce48969398f05f33946d560708be108a", "bfac4d851ee856fe8c95865ce1bbaa2d"
NLB0, NLB3 = "d8424dc4a4a3c413f89e433683f9040b", "f7df405cbd7acf7222f144b0b93acd18"
ONES = "f" * 32
REGION = f"fpga.intel.com/region-{INTERFACE}"

PF = at("0000:3b:00.0", "0000:3a:00.0")
VFS = [at(f"0000:3b:00.{place}", "0000:3a:00.0") for place in (1, 2)]
PORTS = [Port(0, 0, NLB0), Port(1, 1, NLB3)]


def text(*cards: Card) -> str:
    return "".join(f"{line}\n" for card in cards for line in card.lines())


DFL = text(Card(PF, 0, 0, INTERFACE, PORTS, numa=1))
OPAE = text(Card(PF, 0, 0, INTERFACE, PORTS, numa=1, driver="opae"))
VIRTUAL = text(Card(PF, 0, 0, INTERFACE, PORTS[:1], [(VFS[0], Port(10, 1, NLB3)), (VFS[1], Port(9, 2, NLB3))]))
TWO = DFL + text(Card(at("0000:af:00.0"), 1, 3, OTHER, [Port(2, 0, NLB3)]))

ENGINE = {"dfl": f"{PF}/fpga_region/region0/dfl-fme.0", "opae": f"{PF}/fpga/intel-fpga-dev.0/intel-fpga-fme.0"}
PORT = f"{PF}/fpga_region/region0/dfl-port.0"
COMPAT = f"{ENGINE['dfl']}/dfl-fme-region.1/fpga_region/region1/compat_id"


def found(host: Host, mode: str = "af", **section: object) -> Found:
    return Found.of(msgspec.convert({"mode": mode, **section}, Fpga).discover(host))


def offered(host: Host, mode: str = "af") -> dict[str, str]:
    return {each.id: each.resource for each in found(host, mode).devices}


def rules(host: Host, mode: str = "af") -> dict[str, str]:
    return {each.path.rpartition("/")[2]: each.rule for each in found(host, mode).exclusions}


def nodes(*names: str) -> tuple[DeviceNode, ...]:
    return tuple(DeviceNode(f"/dev/{name}", f"/on/host/dev/{name}", "rw") for name in names)
