"""What the section of the configuration may say, and which cards its lists choose."""

import msgspec
import pytest

from intel_agent.backends.gpu import Gpu
from intel_agent.sysfs import Host

from .cards import TWO, card, found


@pytest.mark.parametrize(
    ("section", "tree", "expected"),
    [
        pytest.param({"allowIDs": ["0x56c0"]}, TWO, {"card1": None, "card2": "not-allowed"}, id="allow"),
        pytest.param({"denyIDs": ["0x56c0"]}, TWO, {"card1": "denied", "card2": None}, id="deny"),
        pytest.param({"allowIDs": "0x56C0, 0x4905"}, TWO, {"card1": None, "card2": None}, id="comma list, upper case"),
        pytest.param(
            {"allowIDs": ["0x56c0"]},
            card(1, device="0x56c1") + card(2, device="0x6c00"),
            {"card1": "not-allowed", "card2": "not-allowed"},
            id="ids are compared as a whole (Go: 0x56c passes for 0x56c0)",
        ),
        pytest.param(
            {"denyIDs": ["0x56c0"]},
            card(1, device="") + card(2),
            {"card1": "unreadable", "card2": "denied"},
            id="an empty file is no id (Go: part of every list)",
        ),
        pytest.param(
            {"allowIDs": ["0x56c0"]},
            card(1, device=""),
            {"card1": "unreadable"},
            id="an empty file is never allowed (Go: always)",
        ),
        pytest.param(
            {"allowIDs": ["0x56c0"]}, card(1, device="0x56c0  "), {"card1": None}, id="white space (Go: refused)"
        ),
        pytest.param({"allowIDs": []}, TWO, {"card1": None, "card2": None}, id="nothing means all"),
        pytest.param({"allowIDs": ""}, TWO, {"card1": None, "card2": None}, id="nothing as text means all"),
    ],
)
def test_lists_choose_by_device_id(section: dict[str, object], host: Host, expected: dict[str, str | None]) -> None:
    gpu = msgspec.convert(section, Gpu)
    seen = found(host, gpu)
    offered: dict[str, str | None] = {each.id: None for each in seen.devices}
    refused = {f"card{int(each.path[-7:-5], 16)}": each.rule for each in seen.exclusions}

    assert offered | refused == expected


@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ({"allowIDs": ["0x56c0", "0x56C1"]}, {}),
        ({"denyIDs": " 0x56c0 , 0x56c1 "}, {}),
        ({"allowIDs": "", "denyIDs": "0x56c0"}, {}),
        ({"allowIDs": 0x56C0}, {"allowIDs": '22208 is a number: quote the id, for example "0x56c0"'}),
        ({"denyIDs": [0x0BDA]}, {"denyIDs": '3034 is a number: quote the id, for example "0x0bda"'}),
        (
            {"allowIDs": "0x56c0,"},
            {"allowIDs": "'' is not a PCI device id like \"0x56c0\" (0x and four hexadecimal digits)"},
        ),
        (
            {"allowIDs": ["56c0", 1]},
            {
                "allowIDs": "'56c0' is not a PCI device id like \"0x56c0\" (0x and four hexadecimal digits); "
                '1 is a number: quote the id, for example "0x0001"'
            },
        ),
        (
            {"allowIDs": ["0x56c0"], "denyIDs": ["0x56c1"]},
            {"denyIDs": "cannot be given together with allowIDs: keep one of them"},
        ),
    ],
)
def test_lists_are_checked(section: dict[str, object], problems: dict[str, str]) -> None:
    assert msgspec.convert(section, Gpu).problems() == problems


def test_the_schema_asks_for_text() -> None:
    schema = msgspec.json.schema(Gpu)["$defs"]["Gpu"]["properties"]

    for key in ("allowIDs", "denyIDs"):
        assert schema[key]["type"] == ["array", "string"]
        assert schema[key]["anyOf"][0]["items"]["type"] == "string"


@pytest.mark.parametrize(
    "section",
    [
        {"sharedDevNum": 0},
        {"sharedDevNum": 10_001},
        {"monitoringMode": "both"},
        pytest.param({"bypathMode": "some"}, id="bypathMode (Go: single)"),
    ],
)
def test_values_out_of_range_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Gpu)
