"""Trees that no driver should show."""

import os
import shutil
from pathlib import Path

import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.errors import SysfsError
from intel_agent.model import Exclusion, Health, Reason
from intel_agent.simulation.disk import change, materialise
from intel_agent.sysfs import Host, Look

from .cards import CARD, FIRST, SEE_DEV, TWO, found, ids, node, rules, spoil


@pytest.mark.parametrize("tree", [CARD.replace("/dev/dri/renderD129 c 226:129", "")])
def test_a_card_keeps_the_nodes_that_are_there_and_the_missing_one_is_named(host: Host) -> None:
    seen = found(host)

    assert [each.edits.device_nodes for each in seen.devices] == [(node("dri/card1"),)]
    assert [each.health for each in seen.devices] == [Health.HEALTHY]
    assert Exclusion(f"{FIRST}/drm/renderD129", "node-missing", "/dev/dri/renderD129 is not there", SEE_DEV) in (
        seen.exclusions
    )


@pytest.mark.parametrize(
    "tree", [CARD.replace("/dev/dri/card1 c", "/dev/card1 c").replace("/dri/renderD129 c", "/r c")]
)
def test_a_card_without_any_node_is_not_offered(host: Host) -> None:
    seen = found(host)

    assert seen.devices == ()
    assert Exclusion(FIRST, "no-node", "card1 has no device node in /dev/dri", SEE_DEV) in seen.exclusions


LINK = "/sys/class/drm/card1"


@pytest.mark.parametrize(
    ("what", "how", "where"),
    [
        pytest.param(f"{FIRST}/vendor", "=", FIRST, id="vendor is empty (Go: no card)"),
        pytest.param(f"{FIRST}/vendor", "=8086", FIRST, id="vendor without 0x (Go: no card)"),
        pytest.param(f"{FIRST}/vendor", "absent", FIRST, id="no vendor (Go: no card)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=", FIRST, id="no number of VFs (Go: hidden as if there were some)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=abc", FIRST, id="VFs abc (Go: hidden as if there were some)"),
        pytest.param(f"{FIRST}/sriov_numvfs", "=-1", FIRST, id="VFs -1 (Go: none)"),
        pytest.param(f"{FIRST}/numa_node", "=0-1", FIRST, id="numa_node is no number"),
        pytest.param(f"{FIRST}/numa_node", "=" + "9" * 40, FIRST, id="numa_node beyond 64 bits"),
        pytest.param("/dev/dri/card1", "directory", FIRST, id="node is a directory (Go: handed out)"),
        pytest.param(LINK, "loop", LINK, id="link to itself"),
        pytest.param(LINK, "directory", LINK, id="no link"),
    ],
)
def test_an_odd_card_is_named_and_harms_no_other(tmp_path: Path, what: str, how: str, where: str) -> None:
    materialise(TWO + f"{FIRST}/sriov_numvfs = 0", tmp_path)
    spoil(tmp_path / what[1:], how)
    host = Host(str(tmp_path), "/on/host")

    assert ids(host, Gpu(enable_monitoring=True)) == ["card2", "all"]
    assert rules(host) == {where: "unreadable"}


@pytest.mark.parametrize("tree", [TWO])
def test_a_card_whose_files_cannot_be_read_any_more_stays_as_unreadable(host: Host) -> None:
    before = found(host)
    change(Path(host.root), f"{FIRST}/vendor", "")
    after = found(host).after(before)

    assert {each.id: each.health for each in after.devices} == {"card1": Health.UNHEALTHY, "card2": Health.HEALTHY}
    assert {fault.reason for each in after.devices for fault in each.faults} == {Reason.UNREADABLE}


@pytest.mark.parametrize("tree", [TWO])
def test_a_card_in_quarantine_is_not_touched(host: Host) -> None:
    before = found(host)
    os.unlink(f"{host.root}{FIRST}/vendor")
    os.mkfifo(f"{host.root}{FIRST}/vendor")  # whoever opens it waits for ever
    quarantined = host.looking(Look(quarantined={FIRST: "a read has not come back for 5 s"}))
    after = found(quarantined, Gpu(enable_monitoring=True)).after(before)

    assert {each.id: each.health for each in after.devices} == {
        "card2": Health.HEALTHY,
        "all": Health.HEALTHY,
        "card1": Health.UNHEALTHY,
    }


@pytest.mark.parametrize("tree", [CARD + "/sys/class/drm/card3 -> ../../devices/pci0000:00/0000:01:00.0/drm/card3\n"])
def test_two_cards_of_one_function_are_one(host: Host) -> None:
    os.mkdir(f"{host.root}{FIRST}/drm/card3")

    assert ids(host) == ["card1"]
    assert rules(host) == {"/sys/class/drm/card3": "second-card", f"{FIRST}/drm/card3": "node-missing"}


@pytest.mark.parametrize("tree", [TWO])
def test_a_class_that_cannot_be_listed_is_no_empty_node(host: Host) -> None:
    """The Go plugin removes all resources here."""
    shutil.rmtree(f"{host.root}/sys/class/drm")
    Path(host.root, "sys/class/drm").write_text("")

    with pytest.raises(SysfsError, match="not a directory"):
        found(host)
