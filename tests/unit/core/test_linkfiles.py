"""Links as files: what is written is read, and what is wrong is told with its file."""

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intel_agent import linkfiles
from intel_agent.errors import SysfsError
from intel_agent.links import Interface, Links, VirtualFunction
from intel_agent.simulation import disk
from intel_agent.simulation.machines import netlink

NAMES = st.text(alphabet=string.ascii_letters + string.digits + "-_.:@", min_size=1, max_size=15).filter(
    lambda name: name not in {".", ".."}
)
TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
DEVICES: st.SearchStrategy[str] = st.builds("pci/0000:{:02x}:00.{}".format, st.integers(0, 255), st.integers(0, 7))
FUNCTIONS = st.lists(st.builds(VirtualFunction, st.integers(0, 255), st.sampled_from(["auto", "enable"])), max_size=3)


@st.composite
def all_links(draw: st.DrawFn) -> Links:
    indices = draw(st.lists(st.integers(1, 4000), unique=True, max_size=5))
    names = draw(st.lists(NAMES, unique=True, min_size=len(indices), max_size=len(indices)))
    interface = st.builds(
        Interface,
        st.just(0),
        st.just(""),
        TEXTS,
        st.booleans(),
        TEXTS,
        st.none() | st.booleans(),
        st.frozensets(st.integers(1, 4000), max_size=3),
        st.none() | DEVICES,
        st.none() | TEXTS,
        st.none() | TEXTS,
        FUNCTIONS.map(tuple),
    )
    made = [draw(interface) for _ in indices]
    words = st.dictionaries(DEVICES, TEXTS, max_size=3)
    return Links(
        tuple(
            replace(each, index=index, name=name)
            for index, name, each in zip(sorted(indices), names, made, strict=True)
        ),
        draw(st.frozensets(st.integers(1, 4000), max_size=3)),
        eswitch_modes=draw(words),
        ddp_profiles=draw(words),
        rdma_enabled=draw(st.dictionaries(DEVICES, st.booleans(), max_size=3)),
        vdpa=draw(words),
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(all_links())
def test_a_machine_s_links_are_read_as_they_are_built(tmp_path_factory: pytest.TempPathFactory, links: Links) -> None:
    root = tmp_path_factory.mktemp("node")
    disk.materialise("\n".join(netlink(links)), root)

    assert linkfiles.read(str(root)) == links


def test_a_machine_without_links_has_none(tmp_path: Path) -> None:
    assert linkfiles.read(str(tmp_path)) == Links()


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("interfaces/eth0", "{", "Input data was truncated"),
        ("interfaces/eth0", '{"index": 1}', "missing required field `type`"),
        ("interfaces/eth0", '{"index": 1, "carriers": true}', "found 'carriers'; allowed are above, carrier, device"),
        ("interfaces/eth0", "[]", "Expected `object`, got `array`"),
        ("uplinks", '["eth0"]', r"Expected `int`, got `str` - at `\$.uplinks\[0\]`"),
        ("uplink", "[1]", "found 'uplink'; allowed are ddp_profiles, eswitch_modes"),
    ],
)
def test_mistakes_are_told_with_their_file(tmp_path: Path, path: str, text: str, problem: str) -> None:
    disk.materialise(f"/netlink/{path} = {text}\n", tmp_path)

    with pytest.raises(SysfsError, match=f"^/netlink/{path}: .*{problem}"):
        linkfiles.read(str(tmp_path))


def test_what_netlink_tells_of_a_device_goes_with_it(tmp_path: Path) -> None:
    card = "/sys/devices/pci0000:3a/0000:3b:00.0"
    interfaces = (
        Interface(2, "ens1", "ether", up=True, operstate="up", device="pci/0000:3b:00.0"),
        Interface(3, "bond0", "ether", up=True, operstate="up"),
    )
    machine = "\n".join((f"{card}/class = 0x020000", *netlink(Links(interfaces))))
    disk.materialise(machine, tmp_path)

    part = disk.remove(tmp_path, card)
    assert [each.name for each in linkfiles.read(str(tmp_path)).interfaces] == ["bond0"]
    disk.add(tmp_path, part)
    assert linkfiles.read(str(tmp_path)) == Links(interfaces)
    assert str(disk.read(tmp_path)).count("/netlink/interfaces/") == 2
