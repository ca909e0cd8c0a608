"""pip's settings on this machine, for pip in a container."""

import pytest
from pip_settings import settings


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("", {}),
        ("global.timeout='60'\n", {"timeout": "60"}),
        (":env:.timeout='120'\nglobal.timeout='60'\ninstall.timeout='90'\n", {"timeout": "120"}),
        ("global.timeout='60'\ninstall.timeout='90'\ndownload.timeout='1'\n", {"timeout": "90"}),
        ("global.trusted-host='a\\nb'\n", {"trusted-host": "a b"}),
        (
            "global.index-url='https://u:p=q@index.invalid/simple'\n",
            {"index-url": "https://u:p=q@index.invalid/simple"},
        ),
        (":env:.cert='/etc/ca.pem'\n", {"cert": "/etc/ca.pem"}),
    ],
)
def test_the_nearest_setting_wins(listed: str, found: dict[str, str]) -> None:
    assert settings(listed) == found
