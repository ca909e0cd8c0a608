"""What rules for single devices cost: 50 rules applied to 2,000 devices, which are found anew each time."""

import json
import statistics
import time
from collections.abc import Sequence

from intel_agent.agent import calm_collector
from intel_agent.inventory import Found
from intel_agent.model import NO_EDITS, Device
from intel_agent.rules import Kind, Match, Rule, applied

DEVICES, RULES, REPETITIONS = 2000, 50, 50
KIND = Kind("devices.gpu", lambda _: True)


def address(number: int) -> str:
    return f"{number // 256:04x}:{number % 256:02x}:00.0"


def found() -> Found:
    return Found(
        tuple(
            Device(
                id=f"card{number}",
                resource="gpu.intel.com/xe",
                sysfs_path=f"/sys/devices/pci0000:00/{address(number)}",
                edits=NO_EDITS,
                cdi_name=f"card{number}",
                shares=1,
                numa_nodes=(number % 2,),
                attributes={"pciAddress": address(number), "driver": "xe", "model": f"Model {number % 100}"},
            )
            for number in range(DEVICES)
        )
    )


LISTS: dict[str, Sequence[Rule]] = {
    "one card each, by its address": [
        Rule(match=Match(pci_address=address(number)), shares=2) for number in range(RULES)
    ],
    "some cards each, by patterns of name, model and address": [
        Rule(match=Match(name=f"card{number}*", model="Model*", pci_address="*:00.0"), shares=2)
        for number in range(RULES)
    ],
    "none, by patterns of name and model": [
        Rule(match=Match(name=f"*x{number}*", model=f"*{number}x*"), hide=True) for number in range(RULES)
    ],
    "all by the last": [
        *(Rule(match=Match(driver=f"i{number}", numa_node=1), hide=True) for number in range(RULES - 1)),
        Rule(match=Match(), shares=10, resource="shared", prefer_last=True),
    ],
}


def main() -> None:
    calm_collector()
    for what, rules in LISTS.items():
        times: list[float] = []
        for _ in range(REPETITIONS):
            look = found()
            began = time.thread_time()
            applied(rules, look, KIND)
            times.append((time.thread_time() - began) * 1000)
        median, worst = statistics.median(times), max(times)
        print(json.dumps({"rules mean": what, "median ms": round(median, 1), "worst ms": round(worst, 1)}))


if __name__ == "__main__":
    main()
