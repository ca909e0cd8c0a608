"""What may stand in `devices.nic`. Ids of cases say what the SR-IOV network device plugin does."""

import msgspec
import pytest
from unit.backends.nic.card import pool

from intel_agent.backends.nic import Nic
from intel_agent.config import Config, parse
from intel_agent.errors import ConfigError

NAME = "letters, digits, - and _, at most 63, a letter or digit at the ends"
DOMAIN = "a domain in lower case that is not Kubernetes' own"


def problems(*pools: dict[str, object], **section: object) -> dict[str, str]:
    return msgspec.convert({"pools": pools, **section}, Nic).problems()


def plain(**keys: object) -> dict[str, object]:
    """Return a pool without the name that `pool` gives."""
    return {"selectors": {}, **keys}


def resource(pool: dict[str, object], **section: object) -> str:
    nic = msgspec.convert({"pools": [pool], **section}, Nic)
    assert nic.problems() == {}
    return nic.pools[0].name(nic.resource_prefix)


def test_a_resource_has_its_name_in_one_piece_or_in_two() -> None:
    assert [
        resource(plain(resource="intel.com/e810")),
        resource(plain(resourceName="e810")),
        resource(plain(resourceName="e810"), resourcePrefix="acme.com"),
        resource(plain(resourceName="e810", resourcePrefix="example.com"), resourcePrefix="acme.com"),
        resource(plain(resourceName="sriov-net_A")),
    ] == ["intel.com/e810", "intel.com/e810", "acme.com/e810", "example.com/e810", "intel.com/sriov-net_A"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            plain(),
            {"pools[0].resource": 'found no name; allowed a resource like "intel.com/e810", or resourceName'},
            id="no name",
        ),
        pytest.param(
            plain(resource="intel.com/a", resourceName="a"),
            {"pools[0].resource": "cannot be given together with resourceName or resourcePrefix: it has both in it"},
            id="both",
        ),
        pytest.param(
            plain(resource="e810"),
            {"pools[0].resource": 'found "e810"; allowed a prefix and a name, as in "intel.com/e810"'},
            id="no prefix",
        ),
        pytest.param(
            plain(resourceName="a.b"),
            {"pools[0].resourceName": f'found the name "a.b"; allowed {NAME}'},
            id="a dot (Go: the same)",
        ),
        pytest.param(
            plain(resourceName="-a"),
            {"pools[0].resourceName": f'found the name "-a"; allowed {NAME}'},
            id="a hyphen in front (Go: kubelet refuses it)",
        ),
        pytest.param(
            plain(resourceName="a", resourcePrefix="Acme.com"),
            {"pools[0].resourcePrefix": f'found the prefix "Acme.com"; allowed {DOMAIN}'},
            id="a prefix in upper case (Go: kubelet refuses it)",
        ),
        pytest.param(
            plain(resource="kubernetes.io/a"),
            {"pools[0].resource": f'found the prefix "kubernetes.io"; allowed {DOMAIN}'},
            id="Kubernetes' own prefix (Go: kubelet refuses it)",
        ),
        pytest.param(
            plain(resource=f"intel.com/{'a' * 60}"),
            {"pools[0].resource": "found 69 bytes of prefix and name; allowed 68, as they name a socket"},
            id="a name that is too long for a socket (Go: ends)",
        ),
        pytest.param(
            pool(selectors=[]),
            {"pools[0].selectors": "found none; allowed one or more ({} selects every device of the type)"},
            id="an empty list (Go: the pool is left out)",
        ),
        pytest.param(
            pool(selectors={"drivers": ["x"], "vendors": ["x"]}),
            {
                "pools[0].selectors.vendors[0]": 'found "x"; allowed four hexadecimal digits in lower case, without 0x',
            },
            id="a selector that is no list has its own place",
        ),
    ],
)
def test_what_cannot_be_a_pool_is_refused(given: dict[str, object], expected: dict[str, str]) -> None:
    assert problems(given) == expected


def test_a_name_can_be_given_once() -> None:
    assert problems(pool(), plain(resourceName="y"), plain(resourceName="x"), plain(resource="acme.com/x")) == {
        "pools[2].resourceName": "found intel.com/x again, first in pools[0]; allowed once"
    }


def test_resources_whose_variables_would_be_one_are_refused() -> None:
    """Upstream: a container with both sees one of them."""
    assert problems(pool(), plain(resource="intel.com/X")) == {
        "pools[1].resource": "found intel.com/X beside intel.com/x: both would be PCIDEVICE_INTEL_COM_X in containers"
    }


def test_the_common_prefix_is_a_domain() -> None:
    assert problems(resourcePrefix="kubernetes.io") == {
        "resourcePrefix": f'found the prefix "kubernetes.io"; allowed {DOMAIN}'
    }


FILE = """
devices:
  nic:
    pools:
      - resource: intel.com/a
        deviceType: netdevice
        selectors:
          - vendors: [8086]
          - pfName: [x]
            vdpaType: vhos
      - resourceName: b
"""
ODD = """
devices:
  nic:
    pools:
      - resourceName: b
        selectors:
          - pfNames: [
              "ens1f0#0-3",
              "ens1f0#x"]
      - {resource: b, selectors: {isRdma: true, vdpaType: vhost}}
"""


KEYS = (
    "vendors, devices, drivers, pciAddresses, acpiIndexes, pfNames, rootDevices, linkTypes, ddpProfiles, pKeys, "
    "isRdma, needVhostNet, vdpaType, auxTypes"
)
SAID_OF_FILE = """
f:6: devices.nic.pools[0].deviceType: found "netdevice"; allowed one of accelerator, auxNetDevice, netDevice; did you
 mean netDevice?
f:8: devices.nic.pools[0].selectors[0].vendors[0]: found 8086; allowed a text; write it in quotes: "8086"
f:9: devices.nic.pools[0].selectors[1].pfName: found an unknown key; allowed KEYS; did you mean pfNames?
f:10: devices.nic.pools[0].selectors[1].vdpaType: found "vhos"; allowed one of "", vhost, virtio; did you mean vhost?
f:11: devices.nic.pools[1]: found no selectors; allowed a list, each item a section; or a section
"""
SAID_OF_ODD = """
f:9: devices.nic.pools[0].selectors[0].pfNames[1]: found "ens1f0#x"; 'x' is neither a number nor a range like "0-3"
f:10: devices.nic.pools[1].resource: found "b"; allowed a prefix and a name, as in "intel.com/b"
f:10: devices.nic.pools[1].selectors.vdpaType: cannot be given together with isRdma: write two selectors
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(FILE, SAID_OF_FILE, id="types (Go: left out, ignored, or a crash)"),
        pytest.param(ODD, SAID_OF_ODD, id="meaning"),
    ],
)
def test_everything_is_said_at_once_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")

    assert caught.value.problems == said.strip().replace("\n ", " ").replace("KEYS", KEYS).splitlines()


def test_the_kind_is_there_as_soon_as_it_has_pools() -> None:
    pools = {"devices": {"nic": {"pools": [pool()]}}}

    assert "nic" not in [each.name for each in Config().devices.backends]
    assert "nic" in [each.name for each in msgspec.convert(pools, Config).devices.backends]


def test_nodes_can_have_pools_of_their_own() -> None:
    text = """
devices: {nic: {pools: [{resource: intel.com/a, selectors: {}}]}}
nodeOverrides:
  - selector: {matchLabels: {card: e810}}
    devices: {nic: {pools: [{resource: intel.com/b, selectors: [{vendors: ["8086"]}]}]}}
"""
    loaded = parse(text, "f")

    assert [each.resource for each in loaded.config.devices.nic.pools] == ["intel.com/a"]
    assert [each.resource for each in loaded.on_node({"card": "e810"}).config.devices.nic.pools] == ["intel.com/b"]


def test_what_is_wrong_with_pools_of_nodes_is_said() -> None:
    text = """
nodeOverrides:
  - selector: {}
    devices:
      nic:
        pools:
          - {resource: b, selectors: {}}
"""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")

    allowed = 'allowed a prefix and a name, as in "intel.com/b"'
    assert caught.value.problems == [f'f:7: nodeOverrides[0].devices.nic.pools[0].resource: found "b"; {allowed}']
