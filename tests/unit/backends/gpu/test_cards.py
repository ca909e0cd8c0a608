"""Which cards are offered, and as what.

Ids of cases here and beside say what the existing Go plugin does where it is wrong.
"""

from pathlib import Path

import msgspec
import pytest

from intel_agent.allocation import SHARES, PolicyName
from intel_agent.backends.gpu import Gpu
from intel_agent.inventory import Found
from intel_agent.model import ContainerEdits, Device
from intel_agent.simulation.disk import add, change, materialise, remove
from intel_agent.simulation.tree import parse
from intel_agent.sysfs import Host

from .cards import CARD, FIRST, TWO, card, found, ids, mount, node


@pytest.mark.parametrize("tree", [CARD])
def test_offers_a_card_with_its_nodes_and_links(host: Host) -> None:
    assert found(host, Gpu(shared_dev_num=3)) == Found(
        devices=(
            Device(
                id="card1",
                resource="gpu.intel.com/xe",
                sysfs_path=FIRST,
                edits=ContainerEdits(
                    device_nodes=(node("dri/card1"), node("dri/renderD129")),
                    mounts=(mount("dri/by-path/pci-0000:01:00.0-card"), mount("dri/by-path/pci-0000:01:00.0-render")),
                ),
                cdi_name="card1",
                shares=3,
                numa_nodes=(1,),
                attributes={
                    "pciAddress": "0000:01:00.0",
                    "deviceId": "0x56c0",
                    "driver": "xe",
                    "model": "Data Center GPU Flex 170",
                    "family": "Data Center GPU Flex",
                    "discrete": "true",
                },
            ),
        )
    )


@pytest.mark.parametrize("tree", [card(1)])
def test_has_the_ids_that_kubelet_knows_from_the_go_plugin(host: Host) -> None:
    (device,) = found(host, Gpu(shared_dev_num=2)).devices

    assert device.ids == ("card1-0", "card1-1")


@pytest.mark.parametrize("tree", [card(10) + card(2) + card(1)])
def test_orders_cards_by_number(host: Host) -> None:
    assert ids(host) == ["card1", "card2", "card10"]


@pytest.mark.parametrize("tree", [TWO])
def test_each_driver_is_a_resource(host: Host) -> None:
    assert [(each.id, each.resource) for each in found(host).devices] == [
        ("card1", "gpu.intel.com/xe"),
        ("card2", "gpu.intel.com/i915"),
    ]


@pytest.mark.parametrize(
    ("tree", "numa_nodes"),
    [
        pytest.param(CARD.replace("numa_node = 1", "numa_node = -1"), (), id="-1 means that the kernel does not know"),
        pytest.param(CARD.replace("numa_node = 1", "numa_node = 0"), (0,), id="0 without local_cpulist (Go: no hint)"),
        pytest.param(CARD.replace(f"{FIRST}/numa_node = 1", ""), (), id="a kernel without NUMA"),
    ],
)
def test_says_the_numa_node_only_when_it_is_known(host: Host, numa_nodes: tuple[int, ...]) -> None:
    assert [each.numa_nodes for each in found(host).devices] == [numa_nodes]


@pytest.mark.parametrize("tree", [CARD + f"{FIRST}/sriov_numvfs = 0"])
def test_a_physical_function_without_virtual_ones_is_offered(host: Host) -> None:
    assert ids(host) == ["card1"]


@pytest.mark.parametrize("tree", [CARD + f"{FIRST}/physfn -> ../0000:00:02.0\n"])
def test_a_virtual_function_names_its_physical_one(host: Host) -> None:
    assert found(host).devices[0].attributes["physicalFunction"] == "0000:00:02.0"


@pytest.mark.parametrize("policy", ["none", "balanced", "packed"])
def test_the_policy_holds_for_all_resources(policy: PolicyName) -> None:
    gpu = msgspec.convert({"preferredAllocationPolicy": policy}, Gpu)

    assert {gpu.policy(f"gpu.intel.com/{name}") for name in ("i915", "xe", "monitoring")} == {SHARES[policy]}


def test_follows_unplugging_plugging_and_virtual_functions(tmp_path: Path) -> None:
    """More than two changes: the third one is where the Go plugin's scan loop blocks for ever."""
    materialise(TWO + f"{FIRST}/sriov_numvfs = 0", tmp_path)
    host = Host(str(tmp_path), "/on/host")
    seen = [ids(host)]
    for _ in range(3):
        part = remove(tmp_path, FIRST)
        seen.append(ids(host))
        add(tmp_path, part)
        seen.append(ids(host))
    change(tmp_path, f"{FIRST}/sriov_numvfs", "1")
    add(tmp_path, parse(card(3, "0000:01:00.1")))
    seen.append(ids(host))

    assert seen == [["card1", "card2"], *[["card2"], ["card1", "card2"]] * 3, ["card2", "card3"]]
