"""Why FPGAs are not offered, or are and must not be used.

Ids of cases say what the existing device plugin does where it is wrong: most of what is odd ends its process.
"""

import os
import re
from pathlib import Path

import pytest

from intel_agent.inventory import Found
from intel_agent.model import Exclusion, Reason
from intel_agent.simulation.disk import add, materialise, remove
from intel_agent.simulation.fpgas import Fpga as Card
from intel_agent.simulation.fpgas import Port
from intel_agent.simulation.machines import Function, at
from intel_agent.simulation.tree import node
from intel_agent.sysfs import Host, Look

from .fpgas import (
    COMPAT,
    DFL,
    ENGINE,
    INTERFACE,
    NLB0,
    NLB3,
    OPAE,
    OTHER,
    PF,
    PORT,
    PORTS,
    TWO,
    found,
    offered,
    rules,
    text,
)

AFTER = "this is looked at again by itself"


@pytest.mark.parametrize(
    ("tree", "mode", "exclusion"),
    [
        pytest.param(
            DFL.replace("/dev/dfl-port.0 c", "/dev/other.0 c"),
            "af",
            Exclusion(
                PORT,
                "no-node",
                "/dev/dfl-port.0 is not there; expected '235:0'",
                f"check that the agent sees the whole /dev of the host; {AFTER}",
            ),
            id="no node of a port: ends the existing plugin",
        ),
        pytest.param(
            DFL.replace("/dev/dfl-port.0 c 235:0", "/dev/dfl-port.0 c 235:7"),
            "af",
            Exclusion(
                PORT,
                "no-node",
                "/dev/dfl-port.0 has the number 235:7; expected '235:0'",
                f"check that the agent sees the whole /dev of the host; {AFTER}",
            ),
            id="another device's node",
        ),
        pytest.param(
            DFL.replace("/dev/dfl-fme.0 c", "/dev/other.0 c"),
            "regiondevel",
            Exclusion(
                ENGINE["dfl"],
                "no-node",
                "/dev/dfl-fme.0 is not there; expected '236:0'",
                f"check that the agent sees the whole /dev of the host; {AFTER}",
            ),
            id="no node of an engine: ends the existing plugin",
        ),
        pytest.param(
            DFL.replace(f"{PORT}/afu_id = {NLB0}", ""),
            "af",
            Exclusion(PORT, "no-afu-id", "dfl-port.0 has no afu_id", f"load the module dfl-afu; {AFTER}"),
            id="no AFU id: ends the existing plugin",
        ),
        pytest.param(
            re.sub(r"compat_id = .*", "power/control = auto", DFL),
            "region",
            Exclusion(
                ENGINE["dfl"],
                "no-interface-id",
                "dfl-fme.0 has no compat_id",
                f"a card that cannot be programmed in part has none; otherwise look at the kernel log; {AFTER}",
            ),
            id="no interface id: the existing plugin offers region-",
        ),
        pytest.param(
            OPAE.replace(f"{ENGINE['opae']}/pr/interface_id = {INTERFACE}", ""),
            "af",
            Exclusion(
                ENGINE["opae"],
                "no-interface-id",
                "intel-fpga-fme.0 has no interface_id",
                f"a card that cannot be programmed in part has none; otherwise look at the kernel log; {AFTER}",
            ),
            id="no interface id: ends the existing plugin",
        ),
        pytest.param(
            text(Card(PF, 0, 0, INTERFACE, [])),
            "region",
            Exclusion(
                ENGINE["dfl"],
                "no-port",
                "dfl-fme.0 has no port that can be seen here",
                "take back ports that were released, or bind the virtual functions that have them to the driver; "
                f"{AFTER}",
            ),
            id="no port",
        ),
        pytest.param(
            re.sub(r".*(dfl-fme|region1).*\n", "", text(Card(PF, 0, 0, INTERFACE, PORTS[:1]))),
            "af",
            Exclusion(
                PORT,
                "no-engine",
                "no management engine is at 0000:3b:00.0",
                f"bind the card's physical function to the driver of the port; {AFTER}",
            ),
            id="a function alone, as in a virtual machine: ends the existing plugin",
        ),
    ],
)
def test_what_lacks_something_is_left_out_and_harms_no_other(host: Host, mode: str, exclusion: Exclusion) -> None:
    before = list(offered(host, mode))
    assert found(host, mode).exclusions == (exclusion,)

    other = Card(at("0000:af:00.0"), 5, 10, OTHER, [Port(5, 0, NLB3)])
    materialise(text(other), Path(host.root))
    assert list(offered(host, mode)) == [*before, "dfl-port.5" if mode == "af" else "dfl-fme.5"]


@pytest.mark.parametrize(
    ("tree", "excluded"),
    [
        pytest.param(
            TWO.replace(f"{PF}/class = 0x120000", f"{PF}/class = 0x0b4000"),
            {"dfl-fme.0": "pci-class", "dfl-port.0": "pci-class", "dfl-port.1": "pci-class"},
            id="another class: ends the existing plugin",
        ),
        pytest.param(
            re.sub(r"/sys/bus/pci/.*0000:3b.*\n", "", TWO)
            .replace("0000:3b:00.0", "platform-card")
            .replace("0000:3a:00.0", "bus"),
            dict.fromkeys(("dfl-fme.0", "dfl-port.0", "dfl-port.1"), "no-pci-function"),
            id="not on PCI: ends the existing plugin",
        ),
        pytest.param(
            TWO.replace(f"{PORT}/afu_id = {NLB0}", f"{PORT}/afu_id = {NLB0.upper()}"),
            {"dfl-port.0": "unreadable"},
            id="an odd AFU id: the existing plugin offers it under another name",
        ),
        pytest.param(
            TWO.replace(f"{PORT}/afu_id = {NLB0}", f"{PORT}/afu_id = unparsable"),
            {"dfl-port.0": "unreadable"},
            id="no AFU id",
        ),
        pytest.param(
            TWO.replace(f"{PORT}/afu_id = {NLB0}", f"{PORT}/afu_id ="),
            {"dfl-port.0": "unreadable"},
            id="an empty AFU id: ends the existing plugin",
        ),
        pytest.param(
            TWO.replace(f"{COMPAT} = {INTERFACE}", f"{COMPAT} = {OTHER}"),
            {"dfl-fme.0": "unreadable", "dfl-port.0": "unreadable", "dfl-port.1": "unreadable"},
            id="regions that disagree",
        ),
        pytest.param(
            TWO.replace(f"{COMPAT} = {INTERFACE}", f"{COMPAT} = {INTERFACE[:31]}"),
            {"dfl-fme.0": "unreadable", "dfl-port.0": "unreadable", "dfl-port.1": "unreadable"},
            id="a short interface id",
        ),
        pytest.param(
            re.sub(r"(/sys/class/fpga_region/region0 ->) .*", r"\1 ../gone", TWO),
            {"region0": "unreadable", "0000:3b:00.0": "no-unit"},
            id="a device that leads nowhere: ends the existing plugin",
        ),
        pytest.param(
            re.sub(r"(/sys/class/fpga_region/region0) .*", r"\1/\n", TWO),
            {"region0": "unreadable", "0000:3b:00.0": "no-unit"},
            id="a device that is no link",
        ),
        pytest.param(
            TWO.replace(f"{PF}/device = 0x09c4", f"{PF}/device ="),
            {"dfl-port.0": "unreadable", "dfl-port.1": "unreadable"},
            id="no device id: ends the existing plugin",
        ),
        pytest.param(
            TWO.replace("/dev/dfl-port.0 c 235:0", "/dev/dfl-port.0 = text"),
            {"dfl-port.0": "unreadable"},
            id="no device node",
        ),
    ],
)
def test_what_is_odd_is_named_and_harms_no_other(host: Host, excluded: dict[str, str]) -> None:
    assert rules(host) == excluded
    lost = {"dfl-port.0", "dfl-port.1"} if "region0" in excluded else excluded.keys()
    assert list(offered(host)) == sorted({"dfl-port.0", "dfl-port.1", "dfl-port.2"} - lost)


@pytest.mark.parametrize("tree", [DFL.replace(f"{COMPAT} = {INTERFACE}", f"{COMPAT}_none = 0")])
def test_one_region_that_tells_the_interface_is_enough(host: Host) -> None:
    """The kernel makes a region for each port; the existing plugin finds no interface id unless there is just one."""
    assert len(found(host).devices) == 2
    assert found(host).exclusions == ()


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(DFL.replace("region0", "regionX"), id="region without a number"),
        pytest.param(OPAE.replace("intel-fpga-dev.0", "intel-fpga-devX0"), id="a dot is a dot: not so before"),
        pytest.param(
            OPAE.replace("intel-fpga-port.", "intel-fpga-portX").replace("-fme.", "-fmeX"), id="of ports, too"
        ),
    ],
)
def test_other_things_of_the_class_are_none_of_ours(host: Host) -> None:
    assert found(host).devices == ()
    assert set(rules(host).values()) <= {"no-unit"}


@pytest.mark.parametrize(
    "tree", ["/sys/class/fpga_region/region0 -> ../../devices/soc/region0\n/sys/devices/soc/region0/name = of\n"]
)
def test_a_region_without_units_is_another_sort_of_fpga(host: Host) -> None:
    assert found(host) == Found()


def test_two_engines_at_one_function_are_not_guessed_at(host: Host) -> None:
    materialise(DFL, Path(host.root))
    engine = Path(host.root + ENGINE["dfl"]).with_name("dfl-fme.9")
    engine.mkdir()

    assert rules(host) == {"dfl-fme.0": "engines", "dfl-fme.9": "engines"}


def function(identity: str, driver: str | None, pci_class: str = "120000") -> str:
    lines = Function(PF, identity, driver, pci_class).lines()
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("tree", "exclusions"),
    [
        pytest.param(
            function("8086:09c4", None),
            [("driver", "no driver", f"bind it to one of: dfl-pci, intel-fpga-pci; {AFTER}")],
            id="no driver",
        ),
        pytest.param(
            function("8086:0b2c", "vfio-pci"),
            [("driver", "driver 'vfio-pci'", f"bind it to one of: dfl-pci, intel-fpga-pci; {AFTER}")],
            id="a virtual machine's",
        ),
        pytest.param(
            function("1c2c:1000", "dfl-pci"),
            [("no-unit", "driver dfl-pci made neither port nor engine of it", f"look at the kernel log; {AFTER}")],
            id="a driver that failed",
        ),
        pytest.param(function("8086:7d1d", "intel_vpu"), [], id="an NPU is of the same class"),
        pytest.param(function("8086:0b2b", None, "0b4000"), [], id="another class"),
    ],
)
def test_a_card_that_no_driver_serves_is_named(host: Host, exclusions: list[tuple[str, str, str]]) -> None:
    assert found(host) == Found(exclusions=tuple(Exclusion(PF, *each) for each in exclusions))


def test_a_bus_that_cannot_be_listed_is_named_and_cards_are_offered(host: Host) -> None:
    materialise(re.sub(r"/sys/bus/pci/.*\n", "", DFL), Path(host.root))
    bus = Path(host.root, "sys/bus/pci")
    bus.mkdir(parents=True, exist_ok=True)
    (bus / "devices").write_text("no directory")

    assert len(found(host).devices) == 2
    assert rules(host) == {"devices": "unreadable"}


@pytest.mark.parametrize("tree", [DFL])
@pytest.mark.parametrize(
    ("mode", "path", "unreadable"),
    [
        pytest.param("af", f"{PORT}/afu_id", {"dfl-port.0"}, id="a port in reset"),
        pytest.param("af", COMPAT, {"dfl-port.0", "dfl-port.1"}, id="an engine"),
        pytest.param("region", COMPAT, {"dfl-fme.0"}, id="the engine of a region"),
        pytest.param("region", f"{PORT}/afu_id", frozenset[str](), id="what is programmed does not matter to a region"),
    ],
)
def test_what_cannot_be_read_any_more_stays_and_is_unhealthy(
    host: Host, mode: str, path: str, unreadable: set[str]
) -> None:
    before = found(host, mode)
    os.unlink(host.root + path)
    os.symlink("/proc/self/mem", host.root + path)  # reading there is EIO

    after = found(host, mode).after(before)

    assert {each.id for each in after.devices} == {each.id for each in before.devices}
    faulty = {each.id for each in after.devices if {fault.reason for fault in each.faults} == {Reason.UNREADABLE}}
    assert faulty == unreadable


@pytest.mark.parametrize("tree", [TWO])
def test_an_engine_in_quarantine_keeps_nobody_else_waiting(host: Host) -> None:
    look = Look(quarantined={ENGINE["dfl"]: "an earlier read has not come back"})

    assert list(offered(host.looking(look))) == ["dfl-port.2"]
    assert set(rules(host.looking(look)).values()) == {"unreadable"}


def test_a_card_that_is_pulled_takes_its_functions_along_and_comes_back(host: Host) -> None:
    root = Path(host.root)
    materialise(node("fpga"), root)
    before = found(host, "region")
    card = remove(root, at("0000:af:00.0", "0000:ae:00.0"))

    assert list(offered(host, "region")) == ["dfl-fme.0"]
    add(root, card)
    assert found(host, "region") == before
