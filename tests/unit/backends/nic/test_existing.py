"""The file of the SR-IOV network device plugin, read as that plugin reads it.

Ids of cases say what that plugin does where the file means nothing.
"""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_agent.backends.nic import Nic
from intel_agent.backends.nic.existing import Json, Reading, read
from intel_agent.backends.nic.pools import Pool
from intel_agent.backends.nic.selectors import Selector
from intel_agent.errors import ConfigError


def of(*entries: Json) -> Reading:
    return read(json.dumps({"resourceList": [*entries]}).encode(), "intel.com")


def entry(selectors: Json, **more: Json) -> Json:
    return {"resourceName": "a", "selectors": selectors, **more}


def selectors(given: Json, **more: Json) -> tuple[Selector, ...]:
    reading = of(entry(given, **more))
    assert reading.problems == ()
    return tuple(each for pool in reading.pools for each in pool.all_selectors)


def remarks(given: Json, **more: Json) -> dict[str, str]:
    return {path.removeprefix("resourceList[0]."): text for path, text in of(entry(given, **more)).warnings}


FILE = """{
  "resourceList": [
    {
      "resourceName": "intel_sriov_netdevice",
      "selectors": {
        "vendors": ["8086"], "devices": ["154c", "10ed", "1889"], "drivers": ["i40evf", "iavf", "ixgbevf"]
      }
    },
    {
      "resourceName": "intel_sriov_dpdk",
      "resourcePrefix": "acme.com",
      "excludeTopology": true,
      "selectors": [
        {"vendors": ["8086"], "drivers": ["vfio-pci"], "pfNames": ["enp0s0f0#0-3,7", "enp2s2f1"]},
        {"PfNames": ["ens9"], "IsRdma": true, "NeedVhostNet": true}
      ],
      "additionalInfo": {"*": {"token": "3e49019f"}, "0000:3b:01.0": {"bw": "1"}}
    },
    {"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": [{"auxTypes": ["sf"], "pfNames": ["ens1#1"]}]},
    {"resourceName": "acc", "deviceType": "accelerator", "selectors": {"devices": ["0d5d"]}}
  ]
}
"""


def test_a_file_means_the_same_as_to_the_existing_plugin() -> None:
    assert read(FILE.encode(), "intel.com") == Reading(
        pools=(
            Pool(
                resource_name="intel_sriov_netdevice",
                selectors=(
                    Selector(
                        vendors=("8086",),
                        devices=("154c", "10ed", "1889"),
                        drivers=("i40evf", "iavf", "ixgbevf"),
                    ),
                ),
            ),
            Pool(
                resource_name="intel_sriov_dpdk",
                resource_prefix="acme.com",
                exclude_topology=True,
                selectors=(
                    Selector(vendors=("8086",), drivers=("vfio-pci",), pf_names=("enp0s0f0#0-3,7", "enp2s2f1")),
                    Selector(pf_names=("ens9",), is_rdma=True, need_vhost_net=True),
                ),
                additional_info={"*": {"token": "3e49019f"}, "0000:3b:01.0": {"bw": "1"}},
            ),
            Pool(
                resource_name="sf",
                device_type="auxNetDevice",
                selectors=(Selector(aux_types=("sf",), pf_names=("ens1#1",)),),
            ),
            Pool(resource_name="acc", device_type="accelerator", selectors=(Selector(devices=("0d5d",)),)),
        ),
        places=(0, 1, 2, 3),
    )


def test_what_it_means_is_what_the_section_allows() -> None:
    made, said = Nic(config_file="/x").with_file(FILE.encode())

    assert made.problems() == {}
    assert (made.config_file, said) == ("", ())
    assert [each.name(made.resource_prefix) for each in made.pools] == [
        "intel.com/intel_sriov_netdevice",
        "acme.com/intel_sriov_dpdk",
        "intel.com/sf",
        "intel.com/acc",
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param('{"RESOURCElist": [{"resourcename": "a", "SELECTORS": {}}]}', ["a"], id="names in any case"),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "resourceName": "b", "selectors": {}}]}', ["b"], id="twice"
        ),
        pytest.param(
            '{"resourceList": [{"ResourceName": "a", "resourceName": "b", "ResourceName": "c", "selectors": {}}]}',
            ["c"],
            id="twice in another case",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "resourcePrefix": null, "selectors": {}}]}', ["a"], id="null"
        ),
        pytest.param('{"resourceList": [{"resourceName": "a", "selectors": [null]}]}', ["a"], id="null as a selector"),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "deviceType": "", "selectors": {}}]}', ["a"], id="no type"
        ),
        pytest.param('\n{"resourceList"\t:\r\n[]}', [], id="white space"),
        pytest.param("null", [], id="nothing"),
    ],
)
def test_jsons_rules_are_those_of_go(text: str, names: list[str]) -> None:
    reading = read(text.encode(), "intel.com")

    assert [each.resource_name for each in reading.pools] == names
    assert reading.problems == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('{"resourceList": [],}', ("line 1", "found no JSON"), id="a comma too many"),
        pytest.param("{\n# x\n}", ("line 2", "found no JSON"), id="a comment"),
        pytest.param("", ("line 1", "found no JSON"), id="empty"),
        pytest.param("{} {}", ("line 1", "found no JSON"), id="two documents"),
        pytest.param('{"a": NaN}', ("", "found NaN, which is no JSON"), id="NaN"),
        pytest.param("[" * 100_000, ("", "found too many objects inside each other"), id="deep"),
        pytest.param("[]", ("", "found []; allowed an object"), id="a list"),
        pytest.param('{"resourceList": {}}', ("resourceList", "found {}; allowed a list"), id="no list"),
        pytest.param('{"resourceList": [5]}', ("resourceList[0]", "found 5; allowed an object"), id="no entry"),
        pytest.param(
            '{"resourceList": [{"resourceName": 5}]}',
            ("resourceList[0].resourceName", "found 5; allowed a text"),
            id="a number as a name",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "excludeTopology": "yes"}]}',
            ("resourceList[0].excludeTopology", 'found "yes"; allowed true or false'),
            id="a text as a switch",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "additionalInfo": {"*": {"a": 1}}}]}',
            ("resourceList[0].additionalInfo.*.a", "found 1; allowed a text"),
            id="a number as info",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "deviceType": "netdevice", "selectors": {}}]}',
            (
                "resourceList[0].deviceType",
                'found "netdevice"; allowed one of netDevice, accelerator, auxNetDevice',
            ),
            id="a type in another case",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a.b", "selectors": {}}]}',
            (
                "resourceList[0].resourceName",
                'found the name "a.b"; allowed letters, digits, - and _, at most 63, a letter or digit at the ends',
            ),
            id="a name with a dot",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "selectors": {"isRdma": true, "vdpaType": "vhost"}}]}',
            (
                "resourceList[0].selectors[0].vdpaType",
                "cannot be given together with isRdma: write two selectors",
            ),
            id="RDMA and vDPA",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName":"a","deviceType":"auxNetDevice","selectors":{"auxTypes":["x"]}}]}',
            ("resourceList[0].selectors[0].auxTypes[0]", 'found "x"; allowed sf'),
            id="another auxiliary type",
        ),
        pytest.param(
            '{"resourceList": [{"resourceName": "a", "deviceType": "auxNetDevice", "selectors": {}}]}',
            ("resourceList[0].selectors[0].auxTypes", "found nothing; allowed [sf]"),
            id="no auxiliary type",
        ),
    ],
)
def test_a_file_that_the_existing_plugin_ends_with_is_refused(text: str, problem: tuple[str, str]) -> None:
    reading = read(text.encode(), "intel.com")

    assert [(path, said[: len(problem[1])]) for path, said in reading.problems] == [problem]


def test_a_name_that_is_given_twice_is_refused_with_its_entry() -> None:
    reading = of(entry(None), entry({}), entry({}, resourcePrefix="acme.com"), entry({}))

    assert reading.problems == (
        ("resourceList[3].resourceName", "found intel.com/a again, first in resourceList[1]; allowed once"),
    )


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        pytest.param(None, "selectors", "found none; allowed one or more", id="no selectors (Go: a crash)"),
        pytest.param([], "selectors", "found an empty list; allowed one or more", id="an empty list"),
        pytest.param("all", "selectors", 'found "all"; allowed an object', id="a text"),
        pytest.param({"vendors": "8086"}, "selectors.vendors", 'found "8086"; allowed a list', id="a text for a list"),
        pytest.param([{}, {"vendors": [8086]}], "selectors[1].vendors[0]", "found 8086; allowed a text", id="a number"),
        pytest.param(
            {"isRdma": "true"}, "selectors.isRdma", 'found "true"; allowed true or false', id="a text for a switch"
        ),
    ],
)
def test_an_entry_whose_selectors_cannot_be_read_is_left_out_alone(given: Json, path: str, said: str) -> None:
    reading = of(entry(given), {"resourceName": "b", "selectors": {}})

    assert [each.resource_name for each in reading.pools] == ["b"]
    assert reading.places == (1,)
    assert reading.problems == ()
    where, text = reading.warnings[0]
    assert (where, text[: len(said)]) == (f"resourceList[0].{path}", said)
    assert text.endswith("; the resource is left out")


@pytest.mark.parametrize(
    ("given", "meant", "said"),
    [
        pytest.param(
            {"vendors": ["0x8086", "8086"]},
            [Selector(vendors=("8086",))],
            {"selectors.vendors[0]": 'found "0x8086", which fits no device'},
            id="an id with 0x (Go: fits nothing, silently)",
        ),
        pytest.param(
            [{"pciAddresses": ["3b:00.0"]}, {"drivers": ["iavf"]}],
            [Selector(drivers=("iavf",))],
            {"selectors[0].pciAddresses[0]": 'found "3b:00.0", which fits no device'},
            id="an address without domain (Go: fits nothing, silently)",
        ),
        pytest.param(
            [{"vdpaType": "vhos"}, {"vdpaType": "vhost"}],
            [Selector(vdpa_type="vhost")],
            {"selectors[0].vdpaType": 'found "vhos", which fits no device; allowed vhost or virtio'},
            id="another vdpaType (Go: fits nothing, silently)",
        ),
        pytest.param(
            {"pfNames": ["a#0-3,x,7", "A", "b#x", "b#1", "c#1#2", "#1", "d#5-2,8", "e"]},
            [Selector(pf_names=("a#0-3", "d#8", "e"))],
            {
                "selectors.pfNames[0]": 'found "a#0-3,x,7", which means "a#0-3"',
                "selectors.pfNames[1]": 'found "A"; an item before it decides about A',
                "selectors.pfNames[2]": 'found "b#x", which fits no device',
                "selectors.pfNames[3]": 'found "b#1"; an item before it decides about b',
                "selectors.pfNames[4]": 'found "c#1#2", which fits no device',
                "selectors.pfNames[5]": 'found "#1", which fits no device',
                "selectors.pfNames[6]": 'found "d#5-2,8", which means "d#8"',
            },
            id="malformed numbers (Go: ends at the malformed part)",
        ),
        pytest.param(
            [{"rootDevices": ["0000:3B:00.0#0"]}],
            [Selector(root_devices=("0000:3B:00.0#0",))],
            {},
            id="a physical function in upper case (Go: without regard to case)",
        ),
        pytest.param(
            {"pfName": ["a"], "drivers": ["x"]},
            [Selector(drivers=("x",))],
            {"selectors.pfName": "found an unknown key, which is ignored; did you mean pfNames?"},
            id="a key that is not known (Go: ignored)",
        ),
        pytest.param(
            {"auxTypes": ["sf"], "drivers": ["x"]},
            [Selector(drivers=("x",))],
            {"selectors.auxTypes": "has no effect on deviceType netDevice"},
            id="auxTypes for netDevice (Go: ignored)",
        ),
    ],
)
def test_what_means_nothing_is_said_and_left_out(given: Json, meant: list[Selector], said: dict[str, str]) -> None:
    assert list(selectors(given)) == meant
    assert remarks(given) == said


def test_what_has_no_effect_on_a_type_is_said_and_left_out() -> None:
    given: Json = {"acpiIndexes": ["1"], "linkTypes": ["ether"], "drivers": ["x"], "needVhostNet": True}

    assert selectors(given, deviceType="accelerator") == (Selector(drivers=("x",)),)
    assert set(remarks(given, deviceType="accelerator")) == {
        "selectors.acpiIndexes",
        "selectors.linkTypes",
        "selectors.needVhostNet",
    }


def test_a_resource_that_no_device_fits_is_left_out() -> None:
    reading = of(entry({"vendors": ["0x8086"]}), {"resourceName": "b", "selectors": {}, "comment": "x"})

    assert [each.resource_name for each in reading.pools] == ["b"]
    assert reading.warnings == (
        ("resourceList[0].selectors.vendors[0]", 'found "0x8086", which fits no device'),
        ("resourceList[0].selectors", "no selector fits any device; the resource is left out"),
        ("resourceList[1].comment", "found an unknown key, which is ignored"),
    )


def test_resources_with_one_variable_are_said() -> None:
    reading = of(entry({}), {"resourceName": "A", "selectors": {}})

    assert [each.resource_name for each in reading.pools] == ["a", "A"]
    assert reading.warnings == (
        (
            "resourceList[1].resourceName",
            "found intel.com/A beside intel.com/a: both would be PCIDEVICE_INTEL_COM_A in containers",
        ),
    )


def test_problems_are_raised_with_their_places() -> None:
    with pytest.raises(ConfigError) as caught:
        Nic(config_file="/x").with_file(
            b'{"resourceList": [{"resourceName": "a", "selectors": {}, "deviceType": "x"}]}'
        )

    assert caught.value.problems == [
        'resourceList[0].deviceType: found "x"; allowed one of netDevice, accelerator, auxNetDevice'
    ]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(["", "sf", "a#1", "8086", "netDevice"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceList", "resourceName", "selectors", "pfNames", "vendors", "auxTypes", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {"resourceName": st.sampled_from(["a", "b", "c-d"]), "selectors": ANY},
    optional={"deviceType": st.sampled_from(["netDevice", "accelerator", "auxNetDevice"]), "additionalInfo": ANY},
)


@given(st.lists(ENTRIES, max_size=3).map(lambda entries: {"resourceList": entries}) | ANY)
def test_any_data_are_pools_that_the_section_allows_or_an_expected_error(data: Json) -> None:
    reading = read(json.dumps(data).encode(), "intel.com")
    if not reading.problems:
        assert msgspec.convert(msgspec.to_builtins(Nic(pools=reading.pools)), Nic).problems() == {}


@given(st.binary(max_size=40))
def test_any_bytes_are_a_file_or_an_expected_error(content: bytes) -> None:
    assert isinstance(read(content, "intel.com"), Reading)
